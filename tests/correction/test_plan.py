"""A plan as a value: its id, its manifest, its renderings."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stores.apply.planting import (
    AS_OF,
    changes_of,
    cleared,
    flagged,
    inserted,
    plan_of,
    suspended,
)
from trueup.correction.plan import PlanScope, in_order

MIXED = changes_of(cleared("a0"), flagged("a1"), inserted("a2"), suspended("a3"), flagged("a3"))


@given(st.permutations(range(MIXED.height)))
def test_the_order_of_changes_does_not_matter(order: list[int]) -> None:
    assert plan_of(MIXED[order]).plan_id == plan_of(MIXED).plan_id


def test_when_and_by_which_run_a_plan_was_made_is_not_in_its_id() -> None:
    one = plan_of(MIXED, run_id="run-1", created_at=AS_OF)
    other = plan_of(MIXED, run_id="run-2", created_at=AS_OF + timedelta(hours=1), snapshot={"stripe": AS_OF})

    assert one.plan_id == other.plan_id
    assert one.manifest_hash != other.manifest_hash


@pytest.mark.parametrize(
    "other",
    [
        {"as_of": AS_OF + timedelta(seconds=1)},
        {"policy_version": "p2"},
        {"scope": PlanScope("accounts:1", accounts=("a0",))},
        {"fleet_accounts": 7},
    ],
)
def test_what_a_plan_was_reasoned_from_is_in_its_id(other: dict[str, Any]) -> None:
    assert plan_of(MIXED, **other).plan_id != plan_of(MIXED).plan_id


@pytest.mark.parametrize("column", ["account_id", "before", "after", "row_version", "reason", "table", "key", "column"])
def test_every_column_of_every_change_is_in_its_id(column: str) -> None:
    first = pl.int_range(pl.len()) == 0
    other = pl.lit(99) if column == "row_version" else pl.lit("other")
    spoilt = MIXED.with_columns(pl.when(first).then(other).otherwise(column).alias(column))

    assert plan_of(spoilt).plan_id != plan_of(MIXED).plan_id


def test_the_manifest_counts_what_the_plan_does() -> None:
    manifest = plan_of(MIXED).manifest

    assert manifest["tables"] == {"subs_account": 2, "subs_dunning": 3}
    assert manifest["transitions"] == [
        {"table": "subs_account", "column": "bad_debt", "from": "false", "to": "true", "rows": 2},
        {"table": "subs_dunning", "column": "state", "from": "grace", "to": "good_standing", "rows": 1},
        {"table": "subs_dunning", "column": "state", "from": "grace", "to": "suspended", "rows": 1},
        {"table": "subs_dunning", "column": "state", "from": "null", "to": "retrying", "rows": 1},
    ]
    assert manifest["blast_radius"] == {
        "accounts_changed": 4,
        "share": 0.004,
        "newly_suspended": 1,
        "newly_bad_debt": 2,
        "losing_access": 1,
    }


def test_a_plan_lives_for_a_day() -> None:
    assert plan_of(MIXED, created_at=AS_OF).expires_at == AS_OF + timedelta(hours=24)


def test_an_empty_plan_says_so() -> None:
    plan = plan_of(changes_of())

    assert plan.is_empty
    assert plan.blast_radius.accounts_changed == 0
    assert "is empty" in plan.as_markdown()


def test_one_value_is_shown_as_json_as_rows_and_as_markdown() -> None:
    plan = plan_of(MIXED)
    document = json.loads(plan.as_json())

    assert document["manifest"]["plan_id"] == plan.plan_id
    assert [row["change_id"] for row in document["changes"]] == in_order(MIXED)["change_id"].to_list()
    assert len(plan.rows()) == MIXED.height
    assert plan.rows()[0][1] == "subs_dunning.attempt_count"
    assert "| subs_dunning | state | grace | suspended | 1 |" in plan.as_markdown()
    assert "… and 12 more changes." in plan.as_markdown(limit=MIXED.height - 12)


def test_someone_in_bad_debt_who_is_suspended_loses_nothing_more() -> None:
    row = suspended("a0")[0] | {"before": '"bad_debt"'}
    blast = plan_of(changes_of([row])).blast_radius

    assert (blast.newly_suspended, blast.losing_access) == (0, 0)
