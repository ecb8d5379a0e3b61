"""Fingerprints: a stated hash over stated bytes, the same whatever library reads the rows."""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b

import polars as pl

from tests.drift.world import NOW, World, make_world
from trueup.engine.policy import parse_policy

GOLDEN = "23234a1318317cac5fcd6449df3598c1"


def fingerprint(world: World, account: str) -> str:
    judged, _ = world.judged()
    return str(judged.desired.filter(account_id=account)["input_hash"].item())


def test_the_hash_of_known_facts_is_the_one_that_was_written_down() -> None:
    assert fingerprint(make_world(), "late") == GOLDEN


def test_it_is_blake2b_over_lines_of_text() -> None:
    world = World()
    world.account("alone")
    fields = ["account", "UTC", "\x00", "false", "false", "\x00", "\x00", "\x00", "true", "false", "false"]
    text = "\x1e".join(["\x1f".join(fields), parse_policy({}).version])

    assert fingerprint(world, "alone") == blake2b(text.encode(), digest_size=16).hexdigest()


def test_it_changes_with_a_fact_that_the_answer_is_made_from_and_with_nothing_else() -> None:
    usual = fingerprint(make_world(), "late")
    more, other, policy = make_world(), make_world(), make_world(grace_days=4)
    more.row("stripe_invoices", "in_late_2")["amount_remaining"] = 999
    other.row("subs_dunning", "late")["state"] = "bad_debt"  # what is judged is no input

    assert fingerprint(more, "late") != usual
    assert fingerprint(policy, "late") != usual
    assert fingerprint(other, "late") == usual


def test_neither_the_order_of_rows_nor_the_instant_matters() -> None:
    world = make_world()
    usual = fingerprint(world, "late")
    for rows in world.tables.values():
        rows.reverse()
    later, _ = world.judged(NOW + timedelta(minutes=1))

    assert fingerprint(world, "late") == usual
    assert later.desired.filter(pl.col("account_id") == "late")["input_hash"].item() == usual
