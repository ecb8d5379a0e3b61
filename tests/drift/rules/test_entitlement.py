"""Entitlements: who has access, against who should."""

from __future__ import annotations

import pytest

from tests.drift.rules.test_dunning_state import written_off
from tests.drift.world import make_world


def test_access_of_a_written_off_account_is_found() -> None:
    world = written_off(make_world())
    assert world.found() == []

    for row in world.tables["entitlements"]:
        row["active"] = True
    assert world.found() == [("late", "ENT_ON_WHEN_SUSPENDED", None)]


def test_no_access_of_an_account_that_pays_is_found() -> None:
    world = make_world()
    for row in world.tables["entitlements"]:
        row["active"] = row["account_id"] != "paid"
    assert world.found() == [("paid", "ENT_OFF_WHEN_GOOD", None)]

    world.drop("entitlements", account_id="paid")
    assert world.found() == [("paid", "ENT_OFF_WHEN_GOOD", None)]


def test_nobody_expects_access_without_a_subscription_or_an_active_account() -> None:
    world = make_world()
    world.drop("entitlements", account_id="paid")
    world.row("accounts", "paid")["status"] = "suspended"
    assert world.found() == []

    world.row("accounts", "paid")["status"] = "active"
    world.row("stripe_subscriptions", "sub_cus_paid")["status"] = "canceled"
    assert world.found() == []


def test_features_that_are_not_the_plans_are_found_one_by_one() -> None:
    world = make_world()
    world.drop("entitlements", account_id="paid", feature="seats")
    world.add("entitlements", account_id="paid", feature="sso", active=True)

    assert world.found() == [("paid", "ENT_PLAN_MISMATCH", "seats"), ("paid", "ENT_PLAN_MISMATCH", "sso")]


@pytest.mark.parametrize("plan", ["unheard_of", None])
def test_a_plan_that_nobody_knows_cannot_be_compared(plan: str | None) -> None:
    world = make_world()
    world.row("accounts", "paid")["plan_code"] = plan

    assert world.found() == []


def test_an_entitlement_that_cannot_be_read_is_a_broken_row_and_no_access_finding() -> None:
    world = make_world()
    for row in world.tables["entitlements"]:
        row["active"] = None if row["account_id"] == "paid" else row["active"]

    assert world.found() == [("paid", "SRC_CONTRACT", "paid/api"), ("paid", "SRC_CONTRACT", "paid/seats")]
