"""The columnar engine and the row-by-row model agree on every account and every column.

Two readings of docs/contract/DUNNING.md, written apart. Where they differ, one of them is wrong or the text is; the
failure prints the first account on which they part, with every row that is about it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from tests.model import judge
from tests.strategies import World, make_world, random_ladder, worlds
from trueup.contract import sweep
from trueup.contract.schemas import DESIRED, STORES
from trueup.engine.engine import compute

ACCOUNTS_PER_WORLD = 800
COMPARED = [column for column in DESIRED if column not in ("input_hash", "next_change_on")]


@pytest.mark.parametrize("seed", range(26))
def test_engine_and_model_agree_on_a_fleet(seed: int) -> None:
    world = make_world(seed, ACCOUNTS_PER_WORLD)

    assert first_difference(world) is None


@pytest.mark.parametrize("store", STORES)
def test_engine_and_model_agree_when_a_store_was_not_read_whole(store: str) -> None:
    world = make_world(1000 + STORES.index(store), 60)

    assert first_difference(world, broken_stores=frozenset({store})) is None


@pytest.mark.parametrize("seed", range(2000, 2008))
def test_engine_and_model_agree_under_a_ladder_given_as_data(seed: int) -> None:
    world = make_world(seed, 150, ladder=random_ladder(seed))

    assert first_difference(world) is None


def test_engine_and_model_agree_when_mandates_do_not_say_their_type() -> None:
    world = make_world(3000, 400)
    mandates = world.snapshot["stripe_mandates"].with_columns(payment_method_type=pl.lit(None, pl.String()))

    assert first_difference(replace(world, snapshot={**world.snapshot, "stripe_mandates": mandates})) is None


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(accounts=40))
def test_engine_and_model_agree_on_worlds_that_hypothesis_draws(world: World) -> None:
    assert first_difference(world) is None


def first_difference(world: World, *, broken_stores: frozenset[str] = frozenset()) -> str | None:
    """What to read about the first account on which the two part, or nothing."""
    swept = sweep(world.snapshot, as_of=world.as_of, livemode=world.policy.livemode)
    judged = compute(
        swept.frames, world.policy, world.as_of, violations=swept.violations.lazy(), broken_stores=broken_stores
    )
    second = judge(
        swept.frames, world.policy, world.as_of, violations=swept.violations.to_dicts(), broken_stores=broken_stores
    )
    engine = {row["account_id"]: row for row in judged.desired.to_dicts()}
    model = {row["account_id"]: row for row in second}
    if list(engine) != list(model):
        return f"seed {world.seed}: accounts differ: {sorted(set(engine) ^ set(model))[:5]} or their order"
    for account_id, theirs in model.items():
        differing = differences(engine[account_id], theirs)
        if differing:
            return describe(world, account_id, differing)
    return None


def differences(engine: dict[str, Any], model: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Column → what the engine says and what the model says."""
    found = {column: (engine[column], model[column]) for column in COMPARED if engine[column] != model[column]}
    if not is_allowed_change(engine["next_change_on"], model["next_change_on"], is_held_up=model["is_held_up"]):
        found["next_change_on"] = (engine["next_change_on"], model["next_change_on"])
    return found


def is_allowed_change(engine: date | None, model: date | None, *, is_held_up: bool) -> bool:
    """Exactly the day of change; if something holds the clock, a day no later than that one will do."""
    if not is_held_up:
        return engine == model
    return model is None or (engine is not None and engine <= model)


def describe(world: World, account_id: str, differing: dict[str, tuple[Any, Any]]) -> str:
    lines = [f"seed {world.seed}, account {account_id}, as of {world.as_of.isoformat()}"]
    lines += [f"  {column}: engine {ours!r}, model {theirs!r}" for column, (ours, theirs) in differing.items()]
    lines += ["policy:"]
    lines += [
        f"  {name} = {value!r}" for name, value in world.policy.model_dump().items() if not name.startswith("decline")
    ]
    return "\n".join([*lines, "rows:", *rows_about(world, account_id)])


def rows_about(world: World, account_id: str) -> list[str]:
    """Every row that names the account, or something that a row about it names."""
    tables = {name: frame.collect().to_dicts() for name, frame in world.snapshot.items()}
    names = {account_id}
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(4):  # account → customer → invoice → payment → charge
        for table, rows in tables.items():
            found[table] = [row for row in rows if names & ids_of(row)]
        names |= {name for rows in found.values() for row in rows for name in ids_of(row)}
    return [f"  {table}: {shown(row)}" for table, rows in found.items() for row in rows]


def ids_of(row: dict[str, Any]) -> set[str]:
    return {
        value
        for column, value in row.items()
        if isinstance(value, str) and column.endswith("_id") and column != "unreadable"
    }


def shown(row: dict[str, Any]) -> str:
    return ", ".join(f"{column}={value}" for column, value in row.items() if value not in (None, [], "", 0))


def test_the_comparison_sees_a_difference() -> None:
    row = dict.fromkeys(DESIRED) | {"is_held_up": False}
    other = row | {"age_days": 1, "next_change_on": date(2026, 1, 1)}

    assert differences(row, other) == {"age_days": (None, 1), "next_change_on": (None, date(2026, 1, 1))}


def test_the_worlds_are_sound_by_contract() -> None:
    world = make_world(1, 300)

    violations = sweep(world.snapshot, as_of=world.as_of, livemode=world.policy.livemode).violations

    assert set(violations.get_column("column")) <= {"due_at"}
    assert isinstance(violations, pl.DataFrame)
