"""The columnar rules and the row-by-row model find the same disagreements, and the same roots.

Two readings of docs/contract/FINDINGS.md, written apart. The stores are filled at random around the engine's answers,
so that about half of every table agrees; a failure names the account and what only one of the two found.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from tests.drift.populated import populate
from tests.model.findings import disagreements
from tests.strategies import World, make_world, worlds
from trueup.contract import sweep
from trueup.contract.schemas import STORES
from trueup.drift import find
from trueup.drift.codes import CODES
from trueup.engine.engine import compute
from trueup.engine.policy import parse_policy
from trueup.sandbox.fleet import make_fleet

IDENTITY = ("account_id", "code", "object_id")
COMPARED = ("account_id", "code", "object_id", "severity", "is_root", "caused_by")
ACCOUNTS_PER_WORLD = 300
SEEDS = range(8)
NOT_MODELLED = {"SRC_STALE", "SRC_PARTIAL", "MIRROR_DRIFT", "EVT_GAP", "EVT_CONFLICT", "EVT_HORIZON"}
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

Finding = tuple[Any, ...]


@pytest.mark.parametrize("seed", SEEDS)
def test_rules_and_model_find_the_same(seed: int) -> None:
    ours, second = both(populate(make_world(seed, ACCOUNTS_PER_WORLD)))

    assert only_one_found(ours, second) == []


def test_rules_and_model_find_the_same_of_a_planted_fleet() -> None:
    fleet = make_fleet(600, 200, 3, NOON)
    snapshot = {name: frame.lazy() for name, frame in fleet.frames.items()}

    ours, second = both(World(3, parse_policy({}), NOON, snapshot))

    assert only_one_found(ours, second) == []


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(accounts=40))
def test_rules_and_model_find_the_same_in_worlds_that_hypothesis_draws(world: World) -> None:
    ours, second = both(populate(world))

    assert only_one_found(ours, second) == []


def test_these_worlds_reach_every_code() -> None:
    found = [finding for seed in (0, 1) for finding in both(populate(make_world(seed, ACCOUNTS_PER_WORLD)))[1]]

    assert {code for _, code, *_ in found} == set(CODES) - NOT_MODELLED


def test_the_comparison_sees_a_difference() -> None:
    finding = ("acct", "DUN_ORPHAN", None, "S4", True, None)

    assert only_one_found([finding], []) == [("rules", finding)]
    assert only_one_found([], [finding]) == [("model", finding)]
    assert only_one_found([finding], [finding, finding]) == [("model", finding)]


def both(world: World) -> tuple[list[Finding], list[Finding]]:
    """What the rules find and what the model finds in the same swept rows."""
    swept = sweep(world.snapshot, as_of=world.as_of, livemode=world.policy.livemode)
    judged = compute(swept.frames, world.policy, world.as_of, violations=swept.violations)
    read_at = dict.fromkeys(STORES, world.as_of + timedelta(minutes=1))
    ours = find(judged, world.policy, world.as_of, violations=swept.violations, observed_at=read_at)
    second = disagreements(swept.frames, world.policy, world.as_of, violations=swept.violations.to_dicts())
    assert stakes_that_differ(ours, second) == []
    return ours.select(COMPARED).rows(), [tuple(row[column] for column in COMPARED) for row in second]


def stakes_that_differ(ours: pl.DataFrame, second: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Findings of both whose amount at stake is not one that the model allows."""
    allowed = {tuple(row[column] for column in IDENTITY): row["at_stake"] for row in second}
    rows = ours.select(*IDENTITY, "at_stake_minor", "at_stake_currency").rows()
    stakes = [(row[:3], None if row[3] is None else row[3:]) for row in rows]
    return [(who, stake, allowed[who]) for who, stake in stakes if who in allowed and stake not in allowed[who]]


def only_one_found(ours: list[Finding], second: list[Finding]) -> list[tuple[str, Finding]]:
    rules, model = Counter(ours), Counter(second)
    sides = (("rules", rules - model), ("model", model - rules))
    return sorted(((side, finding) for side, more in sides for finding in more), key=str)
