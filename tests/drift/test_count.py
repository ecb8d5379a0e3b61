"""Counting disagreeing accounts, and confirming them by a second look."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from tests.drift.rules.test_dunning_state import store
from tests.drift.world import READ_AT, World, days_ago, make_world
from trueup.drift import by_code, confirm, disagreeing_accounts


def spoilt() -> World:
    world = store(make_world(), "paid", "suspended")
    world.row("subs_account", "paid")["bad_debt"] = True
    world.drop("charges", charge_id="chg_late_1")
    return world


def test_accounts_are_counted_once_and_only_if_something_is_wrong() -> None:
    world = spoilt()
    world.stuck_event("evt_moot", None)
    store(world, "ghost", "suspended")  # S4

    findings = world.findings()

    assert findings.height == 5
    assert disagreeing_accounts(findings) == 2


def test_settling_and_suppressed_findings_are_shown_and_not_counted() -> None:
    world = store(make_world(), "paid", "suspended")
    assert disagreeing_accounts(world.findings(broken={"stripe": "SRC_PARTIAL"})) == 0

    world.row("subs_dunning", "paid")["updated_at"] = READ_AT["subs_dunning"] - timedelta(minutes=1)
    findings = world.findings()
    assert disagreeing_accounts(findings) == 0
    assert by_code(findings).select("code", "accounts", "findings", "settling").rows() == [
        ("DUN_STUCK_AFTER_PAYMENT", 0, 1, 1)
    ]


def test_codes_come_in_the_order_of_the_contract() -> None:
    assert by_code(spoilt().findings())["code"].to_list() == [
        "PAY_UNRECORDED",
        "DUN_STUCK_AFTER_PAYMENT",
        "FLAG_BAD_DEBT_STALE",
    ]


def test_what_is_gone_at_the_second_look_was_never_there_and_what_is_new_waits() -> None:
    first = spoilt()
    second = spoilt()
    second.row("subs_account", "paid")["bad_debt"] = False
    second.row("invoices", "inv_late_2")["amount_paid"] = 1

    confirmed = confirm(first.findings(), second.findings())

    assert confirmed.select("account_id", "code", "is_root").rows() == [
        ("late", "PAY_UNRECORDED", True),
        ("paid", "DUN_STUCK_AFTER_PAYMENT", True),
    ]


def test_a_consequence_becomes_the_root_when_its_root_is_not_confirmed() -> None:
    first = store(make_world(), "paid", "suspended")
    first.row("invoices", "inv_paid_1")["amount_due"] = 900
    first.row("invoices", "inv_paid_1").update(status="open", paid_at=None, amount_paid=0)
    second = store(make_world(), "paid", "suspended")
    assert first.findings().filter("is_root")["code"].to_list() == ["INV_PAID_STRIPE_OPEN_INTERNAL"]

    confirmed = confirm(first.findings(), second.findings())

    assert confirmed.select("code", "is_root", "caused_by").rows() == [("DUN_STUCK_AFTER_PAYMENT", True, None)]


def test_a_stuck_event_is_moot_once_nothing_else_is_confirmed() -> None:
    first = store(make_world(), "paid", "suspended")
    first.stuck_event("evt_1", "paid")
    second = make_world()
    second.stuck_event("evt_1", "paid")

    confirmed = confirm(first.findings(), second.findings())

    assert confirmed.select("code", "severity").rows() == [("EVT_STUCK_MOOT", "S4")]


def test_findings_of_no_account_outlive_a_look_at_accounts_but_orphans_are_looked_at() -> None:
    first = make_world()
    first.stuck_event("evt_1", None)
    first.subscription("cus_lost")
    looked_again = make_world()

    confirmed = confirm(first.findings(broken={"stripe": "SRC_STALE"}), looked_again.findings())

    assert confirmed["code"].to_list() == ["EVT_STUCK_MOOT", "SRC_STALE"]


def test_the_second_look_tells_the_values() -> None:
    first, second = store(make_world(), "paid", "suspended"), store(make_world(), "paid", "grace")
    second.row("subs_dunning", "paid")["updated_at"] = days_ago(2)

    confirmed = confirm(first.findings(), second.findings())

    assert confirmed["observed"].to_list() == ['{"subs_dunning":{"state":"grace"}}']


def test_a_finding_keeps_the_events_that_only_one_of_the_looks_read() -> None:
    first, second = (spoilt().findings().filter(code="DUN_STUCK_AFTER_PAYMENT") for _ in range(2))
    ids = [
        pl.Series("event_ids", [told], dtype=pl.List(pl.String)) for told in (["evt_2", "evt_1"], ["evt_3", "evt_1"])
    ]

    confirmed = confirm(first.with_columns(ids[0]), second.with_columns(ids[1]))

    assert confirmed["event_ids"].to_list() == [["evt_1", "evt_2", "evt_3"]]
