"""The tracked number is never a lie: a subset has a series of its own, and a run that could not see leaves a gap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest

from pipelines.instance import open_instance
from tests.pipelines.conftest import Lab
from trueup.stores.settings import load_settings

FLEET, SELECTION = dg.AssetKey("disagreements"), dg.AssetKey(["selection", "disagreements"])


def test_a_subset_leaves_the_fleets_number_and_checks_as_they_are(lab: Lab) -> None:
    lab.trueup("audit")
    number, check = numbers(FLEET), failing_groups()
    lab.trueup("audit", "--accounts", "acc_00000001,acc_00000002")

    assert number == [30]
    assert numbers(FLEET) == number
    assert failing_groups() == check != set()
    assert latest(SELECTION)["scope"] == "accounts:2"
    assert latest(SELECTION)["wholeness"] == "whole"


def test_a_fleet_that_could_not_be_read_whole_leaves_a_gap_and_its_checks_cannot_tell(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.trueup("audit")
    monkeypatch.setenv("TRUEUP_STRIPE_API_KEY", "sk_test_wrong")
    code, audited = lab.answer("audit")

    assert code == 4
    assert audited["wholeness"] == "not whole: stripe SRC_PARTIAL"
    assert numbers(FLEET) == [30, "cannot tell: not whole: stripe SRC_PARTIAL"]
    money = evaluation("no_root_is_in_money")
    assert (money.passed, money.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert str(money.description).startswith("Cannot tell")
    assert not evaluation("disagreements_do_not_rise").passed
    _, report = lab.answer("report")
    assert [run["broken"] for run in report["runs"]] == ["", "stripe SRC_PARTIAL"]


def test_a_dry_run_is_no_materialization(lab: Lab) -> None:
    _, planned = lab.answer("plan")
    key = lab.home / "kim.pem"
    lab.trueup("keys", "new", "--name", "kim", "--identity", "kim", "--out", str(key))
    lab.trueup("approve", planned["plan_id"], "--key", str(key))
    assert lab.trueup("apply", planned["plan_id"], "--dry-run") == 0

    with open_instance(load_settings()) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("applied_corrections")) is None
        observed = instance.fetch_observations(dg.AssetKey("applied_corrections"), limit=1).records
    assert observed


def numbers(asset: dg.AssetKey) -> list[Any]:
    """The tracked number of each materialization, oldest first."""
    with open_instance(load_settings()) as instance:
        records = instance.fetch_materializations(asset, limit=10).records
    return [record.asset_materialization.metadata["accounts_disagreeing"].value for record in reversed(records)]  # type: ignore[union-attr]


def latest(asset: dg.AssetKey) -> Mapping[str, Any]:
    with open_instance(load_settings()) as instance:
        event = instance.get_latest_materialization_event(asset)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def evaluation(check: str) -> dg.AssetCheckEvaluation:
    with open_instance(load_settings()) as instance:
        key = dg.AssetCheckKey(FLEET, check)
        [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    evaluated = record.event.get_dagster_event().asset_check_evaluation_data
    assert evaluated is not None
    return evaluated


def failing_groups() -> set[str]:
    groups = ("money", "dunning", "identity", "event")
    return {group for group in groups if not evaluation(f"no_root_is_in_{group}").passed}
