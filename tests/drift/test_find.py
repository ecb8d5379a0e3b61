"""What all findings share: roots, settling, suppression, the events and snapshots behind them."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl

from tests.drift.rules.test_dunning_state import store
from tests.drift.world import NOW, READ_AT, days_ago, make_world
from trueup.drift import CODES
from trueup.drift.find import RULES

NO_RULE_OF_THEIR_OWN = {
    "SRC_STALE",
    "SRC_PARTIAL",
    "MIRROR_DRIFT",
    "EVT_STUCK_MOOT",
    "EVT_GAP",
    "EVT_CONFLICT",
    "EVT_HORIZON",
}


def test_every_code_has_one_rule() -> None:
    assert set(RULES) | NO_RULE_OF_THEIR_OWN == set(CODES)


def test_one_stale_webhook_is_one_story() -> None:
    world = store(make_world(), "paid", "suspended")
    world.row("invoices", "inv_paid_1").update(status="open", paid_at=None, amount_paid=0)
    world.drop("charges", charge_id="chg_paid_1")
    world.row("subs_account", "paid")["bad_debt"] = True
    world.stuck_event("evt_1", "paid")

    findings = world.findings()

    assert findings.filter("is_root").select("account_id", "code").rows() == [("paid", "INV_PAID_STRIPE_OPEN_INTERNAL")]
    consequences = findings.filter(~pl.col("is_root"))
    assert consequences["code"].to_list() == [
        "DUN_STUCK_AFTER_PAYMENT",
        "EVT_STUCK",
        "FLAG_BAD_DEBT_STALE",
        "PAY_UNRECORDED",
    ]
    assert consequences["caused_by"].unique().to_list() == ["INV_PAID_STRIPE_OPEN_INTERNAL"]


def test_ties_between_roots_go_by_severity_then_code_then_object() -> None:
    world = make_world()
    world.drop("charges", charge_id="chg_late_1")  # S2
    world.drop("charges", charge_id="chg_late_2a")  # S2, a larger id
    assert world.findings().filter("is_root")["object_id"].to_list() == ["ch_late_1"]

    world.row("invoices", "inv_late_2")["amount_paid"] = 500  # S1
    assert world.findings().filter("is_root")["code"].to_list() == ["INV_AMOUNT_MISMATCH"]


def test_findings_of_no_account_are_each_their_own_root() -> None:
    world = make_world()
    for name in ("one", "two"):
        world.subscription(f"cus_{name}")

    findings = world.findings()

    assert findings["code"].to_list() == ["MAP_ORPHAN_CUSTOMER"] * 2
    assert findings["is_root"].all()


def test_a_row_written_a_moment_before_it_was_read_is_settling() -> None:
    world = store(make_world(), "paid", "retrying")
    read_at = READ_AT["subs_dunning"]
    for age, is_settling in (
        (timedelta(minutes=4), True),
        (timedelta(minutes=6), False),
        (-timedelta(minutes=1), False),
    ):
        world.row("subs_dunning", "paid")["updated_at"] = read_at - age

        assert world.findings()["is_settling"].to_list() == [is_settling]


def test_settling_is_told_by_the_tables_that_the_finding_is_about() -> None:
    world = store(make_world(), "paid", "retrying")
    world.row("accounts", "paid")["updated_at"] = READ_AT["cf_prod"] - timedelta(minutes=1)
    world.row("subs_dunning", "late")["updated_at"] = READ_AT["subs_dunning"] - timedelta(minutes=1)

    assert world.findings()["is_settling"].to_list() == [False]


def test_an_event_settles_by_its_own_row() -> None:
    world = make_world()
    world.stuck_event("evt_1", "paid", updated_at=READ_AT["subs_dunning"] - timedelta(minutes=1))
    world.stuck_event("evt_2", "paid", updated_at=days_ago(1))

    assert world.findings()["is_settling"].to_list() == [True, False]


def test_a_store_that_was_not_read_whole_suppresses_what_depends_on_it() -> None:
    world = store(make_world(), "paid", "retrying")
    world.row("stripe_customers", "cus_paid")["metadata_account_id"] = "late"

    findings = world.findings(broken={"billing_prod": "SRC_STALE"})

    assert findings.select("account_id", "code", "object_id", "severity", "is_suppressed").rows() == [
        ("paid", "DUN_STUCK_AFTER_PAYMENT", None, "S1", True),
        ("paid", "MAP_METADATA_MISMATCH", "cus_paid", "S2", False),
        (None, "SRC_STALE", "billing_prod", "none", False),
    ]


def test_a_finding_names_the_instants_at_which_its_stores_were_read() -> None:
    world = make_world()
    world.row("stripe_customers", "cus_paid")["metadata_account_id"] = "late"

    (row,) = world.findings().to_dicts()

    assert row["stores"] == ["subs_customer", "stripe"]
    assert json.loads(row["snapshot"]) == {
        "stripe": "2026-11-20T12:00:30+00:00",
        "subs_customer": "2026-11-20T12:00:30+00:00",
    }


def test_a_finding_names_the_provider_events_behind_it() -> None:
    world = store(make_world(), "late", "suspended")
    world.row("invoices", "inv_paid_1").update(status="open", paid_at=None, amount_paid=0)
    for event, about in (
        ("evt_1", "in_late_2"),
        ("evt_2", "ch_late_2a"),
        ("evt_3", "cus_late"),
        ("evt_4", "in_paid_1"),
    ):
        world.add("stripe_events", event_id=event, type="x", created_at=days_ago(1), object_id=about, livemode=True)

    findings = world.findings()

    assert findings.select("code", "event_ids").rows() == [
        ("DUN_EARLY_SUSPENSION", ["evt_1", "evt_2", "evt_3"]),
        ("INV_PAID_STRIPE_OPEN_INTERNAL", ["evt_4"]),
    ]


def test_all_broken_values_of_one_object_are_one_finding() -> None:
    world = make_world()
    world.row("invoices", "inv_paid_1").update(amount_due=-5, currency="xxz")
    world.row("accounts", "paid")["currency"] = "xxz"
    world.row("subs_account", "paid")["updated_by"] = "me"

    findings = world.findings()

    assert findings.select("account_id", "code", "object_id", "stores", "owner").rows() == [
        ("paid", "SRC_CONTRACT", "inv_paid_1", ["billing_prod"], "A2 invoices"),
        ("paid", "SRC_CONTRACT", "paid", ["cf_prod", "subs_account"], "A1 accounts, A1 profiles"),
    ]
    violations = json.loads(findings["observed"][0])["violations"]
    assert {(violation["column"], violation["value"]) for violation in violations} == {
        ("amount_due", "-5"),
        ("currency", "(a code, 3 characters, #fa7e03)"),
    }


def test_a_later_fact_is_no_finding_yet() -> None:
    world = make_world()
    world.invoice("paid", "tomorrow", at=NOW + timedelta(days=1))
    world.drop("invoices", invoice_id="inv_tomorrow")

    assert world.found() == []
