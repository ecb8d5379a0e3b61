"""Retries and mandates: each test plants one thing, and finds that and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.drift.world import NOW, World, days_ago, make_world


def schedule(world: World, invoice: str, *, owner: str = "internal", status: str = "scheduled") -> None:
    world.add(
        "schedules",
        schedule_id=f"sch_{invoice}_{owner}",
        account_id=invoice.removeprefix("inv_").split("_")[0],
        invoice_id=invoice,
        attempt_number=3,
        retry_at=NOW + timedelta(days=1),
        owner=owner,
        status=status,
    )


def with_attempts(*days: float) -> World:
    """`late` has failed attempts so many days ago and no others."""
    world = make_world()
    for name in ("late_2a", "late_2b"):
        world.drop("charges", charge_id=f"chg_{name}")
        world.drop("stripe_charges", charge_id=f"ch_{name}")
        world.drop("stripe_invoice_payments", invoice_payment_id=f"inpay_{name}")
    for number, ago in enumerate(days):
        world.attempt("late_2", f"try_{number}", at=days_ago(ago))
    for table in ("invoices", "stripe_invoices"):
        key = "inv_late_2" if table == "invoices" else "in_late_2"
        world.row(table, key)["finalized_at"] = days_ago(max(days, default=4))
    return world.settle()


@pytest.mark.parametrize(("first", "is_found"), [(4.1, True), (3.9, False)])
def test_a_retry_that_is_a_day_overdue_has_stalled(first: float, is_found: bool) -> None:  # noqa: FBT001
    world = with_attempts(first)  # the second attempt is due three days after the first

    assert world.found() == ([("late", "RETRY_SCHEDULE_STALLED", "in_late_2")] if is_found else [])


def test_a_stalled_retry_is_told_at_the_parent_and_not_again_at_its_child() -> None:
    world = with_attempts(4.1)
    world.account("child", parent_account_id="late")

    assert world.settle().found() == [("late", "RETRY_SCHEDULE_STALLED", "in_late_2")]


def test_an_attempt_after_a_hard_decline_on_the_same_card_is_found() -> None:
    world = make_world()
    for table, key in (("stripe_charges", "ch_late_2a"), ("charges", "chg_late_2a")):
        world.row(table, key)["decline_code"] = "stolen_card"

    assert world.settle().found() == [("late", "RETRY_ON_HARD_DECLINE", "in_late_2")]


def test_what_was_tried_on_a_test_invoice_is_nobodys_disagreement() -> None:
    world = make_world()
    world.invoice("late", "test", at=days_ago(9))["livemode"] = False
    for charge, code, ago in (("test_a", "stolen_card", 5), ("test_b", "code_of_tomorrow", 4)):
        world.attempt("test", charge, at=days_ago(ago), code=code).update(livemode=False, payment_method_id="pm_test")

    assert world.found() == []


def test_an_attempt_with_another_card_after_a_hard_decline_is_fine() -> None:
    world = make_world()
    for table, key in (("stripe_charges", "ch_late_2a"), ("charges", "chg_late_2a")):
        world.row(table, key)["decline_code"] = "stolen_card"
    world.row("stripe_charges", "ch_late_2a")["payment_method_id"] = "pm_old"

    assert world.settle().found() == []


def test_a_hard_decline_at_the_last_attempt_is_no_retry() -> None:
    world = make_world()
    for table, key in (("stripe_charges", "ch_late_2b"), ("charges", "chg_late_2b")):
        world.row(table, key)["decline_code"] = "stolen_card"

    assert world.settle().found() == []


def test_two_who_mean_to_retry_one_open_invoice_are_found() -> None:
    world = make_world()
    schedule(world, "inv_late_2")
    assert world.found() == []

    world.row("stripe_invoices", "in_late_2")["next_payment_attempt_at"] = NOW + timedelta(days=2)
    assert world.found() == [("late", "RETRY_DOUBLE_OWNER", "in_late_2")]


@pytest.mark.parametrize(("owner", "status"), [("stripe", "scheduled"), ("internal", "done"), ("internal", "canceled")])
def test_stripes_own_retry_and_one_that_is_over_are_no_second_owner(owner: str, status: str) -> None:
    world = make_world()
    schedule(world, "inv_late_2", owner=owner, status=status)
    world.row("stripe_invoices", "in_late_2")["next_payment_attempt_at"] = NOW + timedelta(days=2)

    assert world.found() == []


def test_a_retry_scheduled_for_a_paid_invoice_is_found() -> None:
    world = make_world()
    schedule(world, "inv_paid_1")

    assert world.found() == [("paid", "RETRY_ON_SETTLED", "in_paid_1")]


def test_a_retry_for_an_invoice_outside_stripe_is_judged_by_the_ledger() -> None:
    world = make_world()
    world.outside_invoice("paid", "paid_bank", at=days_ago(9), status="void", voided_at=days_ago(2))
    schedule(world, "inv_paid_bank")

    assert world.found() == [("paid", "RETRY_ON_SETTLED", "inv_paid_bank")]


def test_an_open_invoice_that_nobody_tried_is_found_after_the_waiting_days() -> None:
    world = make_world()
    world.invoice("paid", "new", at=days_ago(3))  # today is the third day: not yet
    assert world.settle().found() == []

    world.invoice("late", "old", at=days_ago(3) - timedelta(days=1))
    assert world.settle().found() == [("late", "NO_ATTEMPT_MADE", "in_old")]


def test_a_code_that_the_table_does_not_know_is_found_at_its_charge() -> None:
    world = make_world()
    world.row("stripe_charges", "ch_late_2b")["decline_code"] = "moon_in_retrograde"

    assert world.settle().found() == [("late", "DECLINE_CODE_UNMAPPED", "ch_late_2b")]


def test_a_strange_code_in_the_ledger_of_a_stripe_invoice_decides_nothing() -> None:
    world = make_world()
    world.row("charges", "chg_late_2b")["decline_code"] = "moon_in_retrograde"

    assert world.settle().found() == []


@pytest.mark.parametrize(("ours", "stripes", "severity"), [("active", "inactive", "S1"), ("pending", "active", "S3")])
def test_a_mandate_that_we_tell_differently_is_found(ours: str, stripes: str, severity: str) -> None:
    world = make_world()
    world.mandate("paid", "pm_sepa", ours=ours, stripes=stripes)

    assert world.findings().select("account_id", "code", "object_id", "severity").rows() == [
        ("paid", "MAN_STATUS_MISMATCH", "mandate_paid", severity)
    ]


@pytest.mark.parametrize(("kind", "is_found"), [("bacs_debit", True), ("sepa_debit", False)])
def test_a_network_status_is_compared_where_stripe_tells_one(kind: str, is_found: bool) -> None:  # noqa: FBT001
    world = make_world()
    world.mandate("paid", "pm_debit", ours="active", stripes="active", type_=kind)
    world.tables["subs_mandate"][0]["network_status"] = "accepted"
    world.tables["stripe_mandates"][0]["network_status"] = "revoked" if kind == "bacs_debit" else None

    assert world.found() == ([("paid", "MAN_STATUS_MISMATCH", "mandate_paid")] if is_found else [])


def test_a_debit_without_any_mandate_that_we_know_is_found() -> None:
    world = make_world()
    world.row("stripe_payment_methods", "pm_cus_late")["type"] = "sepa_debit"
    assert world.settle().found() == [("late", "MAN_MISSING", "in_late_2")]

    world.mandate("late", "pm_cus_late", ours="active", stripes="active")
    assert world.settle().found() == []
