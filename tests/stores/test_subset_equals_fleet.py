"""An account's result does not depend on how much of the fleet was read with it.

A fleet with drift of every kind is judged whole; then by bucket from the lake, and for a list of accounts gathered anew
from real databases and the Stripe sandbox. Desired states and findings must be the same to the last column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import SecretStr

from trueup.audit.gather import gather_scope
from trueup.contract import sweep
from trueup.contract.schemas import STORES, Snapshot
from trueup.drift import find
from trueup.engine.engine import compute
from trueup.engine.policy import load_policy
from trueup.sandbox.fleet import Fleet, load_fleet, make_fleet
from trueup.sandbox.stripe_api import StripeSandbox
from trueup.stores.lake.tables import Lake
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

AS_OF = datetime.now(UTC).replace(microsecond=0)
BUCKETS = 3
OBSERVED = dict.fromkeys(STORES, AS_OF)
Judged = tuple[pl.DataFrame, pl.DataFrame]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    fleet = make_fleet(accounts=500, drift=150, seed=7, as_of=AS_OF)
    return replace(fleet, frames=fleet.frames | {"charges": _filed_under_other_accounts(fleet.frames["charges"])})


def _filed_under_other_accounts(charges: pl.DataFrame) -> pl.DataFrame:
    """Some charges of billing_prod name an account that their invoice does not belong to."""
    is_outside = pl.col("stripe_charge_id").is_null()  # nothing of Stripe's ties it to its invoice
    is_misfiled = (pl.int_range(pl.len()) % 40 == 0) | is_outside
    another = pl.col("account_id").shift(20).fill_null(pl.col("account_id").last())
    return charges.with_columns(account_id=pl.when(is_misfiled).then(another).otherwise("account_id"))


@pytest.fixture(scope="module")
def snapshot(fleet: Fleet) -> Snapshot:
    return {name: frame.lazy() for name, frame in fleet.frames.items()}


@pytest.fixture(scope="module")
def whole(snapshot: Snapshot) -> Judged:
    return judge(snapshot)


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as server:
        yield server


def judge(snapshot: Snapshot) -> Judged:
    """Desired states, and findings without what only says when they were read."""
    policy = load_policy()
    swept = sweep({name: frame.collect().lazy() for name, frame in snapshot.items()}, as_of=AS_OF)
    judged = compute(swept.frames, policy, AS_OF, violations=swept.violations)
    findings = find(judged, policy, AS_OF, violations=swept.violations, observed_at=OBSERVED)
    return judged.desired, findings.drop("snapshot", "is_settling", "first_seen_at", "seen_count")


def reported(judged: Judged, scope: Scope) -> Judged:
    mine = scope.reports_on(pl.col("account_id"), BUCKETS)
    return judged[0].filter(mine), judged[1].filter(mine)


def without_events(judged: Judged) -> Judged:
    """Of a subset only the events that a rule needs are read, so that fewer of them are named as evidence."""
    return judged[0], judged[1].drop("event_ids")


def assert_same(one: Judged, other: Judged) -> None:
    assert_frame_equal(one[0].sort("account_id"), other[0].sort("account_id"))
    order = ["account_id", "code", "object_id"]
    assert_frame_equal(one[1].sort(order), other[1].sort(order))


def test_bucket_by_bucket_is_the_same_as_the_whole_fleet(snapshot: Snapshot, whole: Judged, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.commit("run", snapshot, OBSERVED, Scope.fleet(), BUCKETS)
    scopes = [Scope.of_buckets([bucket]) for bucket in (*range(BUCKETS), -1)]
    parts = [reported(judge(lake.open("run", scope.buckets)), scope) for scope in scopes]

    assert_same(whole, (pl.concat(part[0] for part in parts), pl.concat(part[1] for part in parts)))


def test_a_list_of_accounts_gathered_by_itself_is_the_same_as_in_the_whole_fleet(
    fleet: Fleet, whole: Judged, settings: Settings, sandbox: StripeSandbox, tmp_path: Path
) -> None:
    settings = settings.model_copy(
        update={
            "stripe_api_key": SecretStr(sandbox.api_key),
            "stripe_api_base": sandbox.base_url,
            "stripe_requests_per_second": 10_000.0,
        }
    )
    load_fleet(fleet, settings, sandbox)
    planted = sorted(fleet.planted["account_id"].drop_nulls().unique())
    others = sorted(set(fleet.known["account_id"]) - set(planted))
    scope = Scope.of_accounts([*planted[::2], *others[::10]])
    look = gather_scope(settings, scope, tmp_path / "look")

    assert look.faults() == []
    assert_same(without_events(reported(whole, scope)), without_events(reported(judge(look.snapshot()), scope)))
