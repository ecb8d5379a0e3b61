"""What each store implies, and which stores contradict each other."""

from __future__ import annotations

import polars as pl

from tests.drift.rules.test_dunning_state import store, written_off
from tests.drift.world import World, days_ago, make_world
from trueup.drift import implied, store_matrix
from trueup.drift.implied import IMPLIED, MATRIX


def contradictions(world: World) -> set[tuple[str, str]]:
    matrix = store_matrix(implied(world.judged()[0]))
    assert dict(matrix.schema) == MATRIX
    assert matrix.height == 36
    return {(a, b) for a, b in matrix.filter(pl.col("accounts") > 0).select("store_a", "store_b").rows() if a <= b}


def test_each_store_says_its_own() -> None:
    implications = implied(written_off(make_world()).judged()[0])

    assert dict(implications.schema) == IMPLIED
    assert implications.filter(account_id="late").drop("account_id").rows() == [
        (False, "bad_debt", "bad_debt", True, True, "bad_debt", "bad_debt", False)
    ]


def test_stores_that_agree_contradict_nobody() -> None:
    world = make_world()
    world.account("child", parent_account_id="late")
    world.account("exempt")
    world.outside_invoice("exempt", "exempt_1", at=days_ago(90))
    world.row("subs_account", "exempt")["dunning_exempt"] = True
    world.account("bank")
    world.outside_invoice("bank", "bank_1", at=days_ago(20))
    world.customer("bank")
    world.account("idle", status="closed")
    world.drop("entitlements", account_id="idle")
    world.customer("idle")
    world.settle()

    assert contradictions(world) == set()
    assert world.found() == []


def test_a_stored_state_contradicts_both_views_of_the_money() -> None:
    assert contradictions(store(make_world(), "paid", "retrying")) == {
        ("billing_prod", "subs_dunning"),
        ("stripe", "subs_dunning"),
    }


def test_a_flag_and_access_contradict_what_does_not_allow_them() -> None:
    world = make_world()
    world.row("subs_account", "paid")["bad_debt"] = True

    assert contradictions(world) == {
        ("billing_prod", "subs_account"),
        ("cf_prod", "subs_account"),
        ("stripe", "subs_account"),
        ("subs_account", "subs_dunning"),
    }


def test_a_store_may_contradict_its_own_copy() -> None:
    world = make_world()
    world.drop("dunning_states", account_id="late")

    assert contradictions(world) == {("billing_prod", "billing_prod")}


def test_debt_that_no_single_customer_stands_behind_is_a_contradiction() -> None:
    world = make_world()
    world.drop("subs_customer", account_id="late")

    assert ("billing_prod", "subs_customer") in contradictions(world)
