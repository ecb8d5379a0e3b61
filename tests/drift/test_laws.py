"""Laws of the findings: nothing stops them, order changes nothing, and a row per account, code and object."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.anything import NOON, any_snapshot
from tests.strategies import World, make_world, worlds
from trueup.contract import sweep
from trueup.contract.schemas import FINDINGS, STORES, Snapshot
from trueup.drift import find, implied, store_matrix
from trueup.engine.engine import Judged, compute
from trueup.engine.policy import Policy, parse_policy


def everything(snapshot: Snapshot, policy: Policy, as_of: datetime) -> tuple[Judged, pl.DataFrame]:
    swept = sweep(snapshot, as_of=as_of, livemode=policy.livemode)
    judged = compute(swept.frames, policy, as_of, violations=swept.violations)
    read_at = dict.fromkeys(STORES, as_of + timedelta(minutes=1))
    return judged, find(judged, policy, as_of, violations=swept.violations, observed_at=read_at)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_snapshot(most_tables=12, most_rows=4))
def test_no_row_whatever_it_holds_stops_an_audit(snapshot: Snapshot) -> None:
    policy = parse_policy({"reopen_on_refund": "uncovered", "reopen_on_lost_dispute": True})

    judged, findings = everything(snapshot, policy, NOON)

    assert dict(findings.schema) == FINDINGS
    assert findings.select("account_id", "code", "object_id").is_unique().all()
    assert store_matrix(implied(judged)).height == len(STORES) ** 2


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(accounts=60))
def test_every_account_with_findings_has_one_root(world: World) -> None:
    _, findings = everything(world.snapshot, world.policy, world.as_of)

    roots = findings.drop_nulls("account_id").group_by("account_id").agg(pl.col("is_root").sum())["is_root"]
    assert roots.eq(1).all()
    assert findings.filter(pl.col("is_root") == pl.col("caused_by").is_not_null()).is_empty()


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(accounts=60))
def test_an_indeterminate_account_has_no_finding_about_its_state_flag_or_access(world: World) -> None:
    judged, findings = everything(world.snapshot, world.policy, world.as_of)

    unsure = judged.desired.filter(pl.col("quality") == "indeterminate")
    about_state = findings.filter(pl.col("code").str.contains("^(DUN|FLAG|ENT)_|^DISPUTE_OPEN"))
    assert about_state.join(unsure, on="account_id", how="semi").is_empty()


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), order=st.integers(0, 99))
def test_the_order_of_rows_changes_no_finding(seed: int, order: int) -> None:
    world = make_world(seed, 80)
    shuffled = {
        name: frame.collect().sample(fraction=1, shuffle=True, seed=order).lazy()
        for name, frame in world.snapshot.items()
    }

    _, findings = everything(world.snapshot, world.policy, world.as_of)
    _, again = everything(shuffled, world.policy, world.as_of)

    assert again.equals(findings)
