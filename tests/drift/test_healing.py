"""Healing: a finding heals only in a run that could have seen it and did not; growing doubt never heals."""

from __future__ import annotations

from random import Random
from typing import Any

import polars as pl
import pytest

from tests.drift.populated import populate
from tests.strategies import World, make_world
from trueup.contract import sweep
from trueup.contract.rules import rules_of
from trueup.contract.schemas import STORES, TABLES
from trueup.contract.sweep import VIOLATIONS
from trueup.drift import find
from trueup.drift.codes import CODES
from trueup.drift.healing import Sight, healed
from trueup.engine.engine import compute

IDENTITY = ["account_id", "code", "object_id"]
ACCOUNTS = 120


def spells(*rows: tuple[str | None, str, str | None]) -> pl.DataFrame:
    stores = [list(CODES[code].stores) for _, code, _ in rows]
    return pl.DataFrame(rows, schema=dict.fromkeys(IDENTITY, pl.String), orient="row").with_columns(
        stores=pl.Series(stores, dtype=pl.List(pl.String))
    )


def broken_row(table: str, account_id: str | None, object_id: str | None = None) -> pl.DataFrame:
    row = {"table": table, "account_id": account_id, "object_id": object_id}
    return pl.DataFrame([row], schema=VIOLATIONS)


PAID = ("a", "INV_PAID_STRIPE_OPEN_INTERNAL", "in_1")
STUCK = ("a", "DUN_STUCK_AFTER_PAYMENT", None)
ACCESS = ("a", "ENT_PLAN_MISMATCH", "api")


def test_what_a_run_could_have_seen_and_did_not_is_healed() -> None:
    assert healed(spells(PAID, STUCK), Sight()).select(IDENTITY).rows() == [PAID, STUCK]


@pytest.mark.parametrize(
    "sight",
    [
        Sight(indeterminate=pl.DataFrame({"account_id": ["a"]})),
        Sight(broken_stores=["stripe"]),
        Sight(violations=broken_row("invoices", "a")),
        Sight(violations=broken_row("stripe_invoices", "b", "in_1")),  # the object, on somebody else's row
        Sight(sighted=pl.DataFrame([PAID], schema=dict.fromkeys(IDENTITY, pl.String), orient="row")),
    ],
    ids=["indeterminate", "store", "row", "object", "sighted"],
)
def test_a_run_that_could_not_see_it_does_not_heal_it(sight: Sight) -> None:
    assert healed(spells(PAID), sight).is_empty()


@pytest.mark.parametrize(
    "sight",
    [
        Sight(indeterminate=pl.DataFrame({"account_id": ["b"]})),
        Sight(broken_stores=["subs_account"]),
        Sight(violations=broken_row("entitlements", "a")),
        Sight(violations=broken_row("invoices", "b")),
    ],
    ids=["account", "store", "table", "row"],
)
def test_doubt_about_something_else_does_not_keep_it_open(sight: Sight) -> None:
    assert healed(spells(PAID), sight).height == 1


def test_what_compares_with_the_engines_answer_depends_on_every_store_and_every_row_of_its_account() -> None:
    assert healed(spells(STUCK, ACCESS), Sight(broken_stores=["subs_account"])).select(IDENTITY).rows() == [ACCESS]
    assert healed(spells(STUCK), Sight(violations=broken_row("subs_mandate", "a"))).is_empty()


def test_no_audit_heals_what_other_runs_find() -> None:
    assert healed(spells((None, "MIRROR_DRIFT", "invoices/3"), (None, "EVT_GAP", "s")), Sight()).is_empty()


@pytest.mark.parametrize("seed", range(4))
def test_growing_doubt_never_heals(seed: int) -> None:
    world = populate(make_world(seed, ACCOUNTS))
    before, _ = audited(world)
    doubtful = with_broken_rows(world, Random(seed))  # noqa: S311 - a seeded world, not a secret
    after, sight = audited(doubtful)

    gone = before.join(after, on=IDENTITY, how="anti", nulls_equal=True)

    assert gone.height > 0  # doubt did hide something
    assert healed(gone, sight).select(IDENTITY).rows() == []


@pytest.mark.parametrize("store", STORES)
def test_a_store_that_cannot_be_read_never_heals(store: str) -> None:
    world = populate(make_world(7, 60))
    before, _ = audited(world)
    empty = {name: frame.head(0) if TABLES[name].store == store else frame for name, frame in world.snapshot.items()}
    after, sight = audited(World(7, world.policy, world.as_of, empty), broken={store: "SRC_PARTIAL"})

    gone = before.join(after, on=IDENTITY, how="anti", nulls_equal=True)

    assert healed(gone, sight).filter(pl.col("account_id").is_not_null()).select(IDENTITY).rows() == []


def audited(world: World, broken: dict[str, str] | None = None) -> tuple[pl.DataFrame, Sight]:
    """What a run over the world finds, and what it cannot see."""
    swept = sweep(world.snapshot, as_of=world.as_of, livemode=world.policy.livemode)
    judged = compute(
        swept.frames, world.policy, world.as_of, violations=swept.violations, broken_stores=tuple(broken or ())
    )
    read_at = dict.fromkeys(STORES, world.as_of)
    found = find(
        judged, world.policy, world.as_of, violations=swept.violations, observed_at=read_at, broken=broken
    ).filter(~pl.col("is_suppressed"))
    indeterminate = judged.desired.filter(pl.col("quality") == "indeterminate").select("account_id")
    return found, Sight(indeterminate, swept.violations, tuple(broken or ()))


def with_broken_rows(world: World, rng: Random) -> World:
    """Some rows of every table with a value that their contract forbids; keys, owners and joins stay."""
    frames = {}
    for name, frame in world.snapshot.items():
        rows = frame.collect().to_dicts()
        column = breakable(name)
        for row in rows if column else ():
            if rng.random() < 0.08:
                row[column] = -1 if isinstance(TABLES[name].columns[str(column)], pl.Int64) else "of no enumeration"
        frames[name] = pl.DataFrame(rows, schema=TABLES[name].schema).lazy()
    return World(world.seed, world.policy, world.as_of, frames)


def breakable(table: str) -> Any:
    """A column that a value can break without hiding whose row it is."""
    kinds = ("unknown_value", "negative_amount", "unknown_currency")
    columns = [rule.column for rule in rules_of(table, None) if rule.id in kinds]
    return columns[0] if columns else None
