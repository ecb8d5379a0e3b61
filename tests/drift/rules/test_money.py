"""Money: each test makes the ledger and Stripe differ in one thing, and finds that and nothing else."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from tests.drift.world import NOW, World, days_ago, make_world


def without_charges(world: World, name: str) -> None:
    """The ledger forgets the charge as well, so that only the invoice speaks."""
    world.drop("charges", charge_id=f"chg_{name}")
    world.drop("stripe_charges", charge_id=f"ch_{name}")
    world.drop("stripe_invoice_payments", invoice_payment_id=f"inpay_{name}")


@pytest.mark.parametrize("status", ["open", "paid", "void", "uncollectible"])
def test_a_finalized_stripe_invoice_that_the_ledger_does_not_know_is_missing(status: str) -> None:
    world = make_world()
    world.drop("invoices", invoice_id="inv_paid_1")
    without_charges(world, "paid_1")
    at = {"paid": "paid_at", "void": "voided_at", "uncollectible": "uncollectible_at"}
    row = world.row("stripe_invoices", "in_paid_1")
    row.update(status=status, paid_at=None)
    if status in at:
        row[at[status]] = days_ago(40)
    world.settle()

    assert ("paid", "INV_MISSING_INTERNAL", "in_paid_1") in world.found()
    assert {code for _, code, _ in world.found()} <= {"INV_MISSING_INTERNAL", "NO_ATTEMPT_MADE"}


def test_a_draft_is_not_missing_yet() -> None:
    world = make_world()
    world.invoice("paid", "draft", at=days_ago(1))
    world.drop("invoices", invoice_id="inv_draft")
    world.row("stripe_invoices", "in_draft").update(status="draft", finalized_at=None)

    assert world.found() == []


def test_an_invoice_whose_ledger_row_is_broken_is_not_missing() -> None:
    world = make_world()
    world.row("invoices", "inv_paid_1")["status"] = "paidish"

    assert world.found() == [("paid", "SRC_CONTRACT", "inv_paid_1")]


def test_a_stripe_invoice_id_that_stripe_does_not_know_is_missing_there() -> None:
    world = make_world()
    world.drop("stripe_invoices", invoice_id="in_paid_1")
    without_charges(world, "paid_1")

    assert world.found() == [("paid", "INV_MISSING_STRIPE", "in_paid_1")]


def test_an_invoice_whose_stripe_object_is_broken_is_not_missing_there() -> None:
    world = make_world()
    world.row("stripe_invoices", "in_paid_1")["currency"] = "xxz"

    assert world.found() == [("paid", "SRC_CONTRACT", "in_paid_1")]


def test_paid_in_stripe_and_open_with_us_is_the_payment_we_do_not_know() -> None:
    world = make_world()
    world.row("invoices", "inv_paid_1").update(status="open", paid_at=None, amount_paid=0)

    assert world.found() == [("paid", "INV_PAID_STRIPE_OPEN_INTERNAL", "in_paid_1")]


def test_open_in_stripe_and_paid_with_us_is_what_did_not_settle() -> None:
    world = make_world()
    world.row("invoices", "inv_late_2").update(status="paid", paid_at=days_ago(1), amount_paid=1000)

    assert world.found() == [("late", "INV_OPEN_STRIPE_PAID_INTERNAL", "in_late_2")]


@pytest.mark.parametrize(("status", "at"), [("void", "voided_at"), ("uncollectible", "uncollectible_at")])
def test_any_other_pair_of_statuses_is_a_mismatch(status: str, at: str) -> None:
    world = make_world()
    world.row("invoices", "inv_paid_1").update(
        {"status": status, at: days_ago(30), "paid_at": None, "amount_paid": 1000}
    )

    assert world.found() == [("paid", "INV_STATUS_MISMATCH", "in_paid_1")]


def test_statuses_are_compared_as_they_were_at_the_instant_asked_about() -> None:
    world = make_world()
    world.row("invoices", "inv_late_2").update(status="paid", paid_at=NOW + timedelta(hours=1), amount_paid=1000)

    assert world.found() == []


@pytest.mark.parametrize(("paid", "tolerance", "is_found"), [(40, 0, True), (40, 40, False), (41, 40, True)])
def test_amounts_may_differ_by_the_tolerance(paid: int, tolerance: int, is_found: bool) -> None:  # noqa: FBT001
    world = make_world(tolerance_minor={"usd": tolerance})
    world.row("invoices", "inv_late_2")["amount_paid"] = paid

    assert world.found() == ([("late", "INV_AMOUNT_MISMATCH", "in_late_2")] if is_found else [])


def test_amounts_in_different_currencies_are_not_compared() -> None:
    world = make_world()
    world.row("invoices", "inv_late_2").update(currency="jpy", amount_due=77)

    assert world.found() == [("late", "INV_CURRENCY_MISMATCH", "in_late_2")]


def test_an_invoice_paid_twice_is_a_double_charge_until_it_goes_back() -> None:
    world = make_world()
    world.attempt("paid_1", "twice", at=days_ago(39), status="succeeded")

    assert world.found() == [("paid", "PAY_DOUBLE_CHARGE", "in_paid_1")]

    world.refund("twice", 1000, at=days_ago(38), credited=False)
    assert world.found() == []


def test_an_invoice_outside_stripe_is_paid_twice_by_the_ledgers_charges() -> None:
    world = make_world()
    world.outside_invoice("paid", "bank", at=days_ago(20), status="paid", paid_at=days_ago(10))
    world.row("invoices", "inv_bank")["amount_paid"] = 1000
    for name in ("one", "two"):
        world.add(
            "charges",
            charge_id=name,
            account_id="paid",
            invoice_id="inv_bank",
            amount=1000,
            amount_refunded=0,
            currency="usd",
            status="succeeded",
            trigger="manual",
            attempted_at=days_ago(10),
            effective_at=days_ago(10),
        )

    assert world.found() == [("paid", "PAY_DOUBLE_CHARGE", "inv_bank")]


@pytest.mark.parametrize(("age", "is_found"), [(1.01, True), (0.99, False)])
def test_a_charge_on_nothing_is_unlinked_after_a_day(age: float, is_found: bool) -> None:  # noqa: FBT001
    world = make_world()
    charge = {**world.row("stripe_charges", "ch_paid_1"), "charge_id": "ch_odd", "payment_intent_id": "pi_odd"}
    world.tables["stripe_charges"].append({**charge, "created_at": days_ago(age)})

    assert world.found() == ([("paid", "PAY_UNLINKED", "ch_odd")] if is_found else [])


def test_a_charge_on_nothing_that_we_recorded_or_that_failed_is_no_finding() -> None:
    world = make_world()
    charge = {**world.row("stripe_charges", "ch_paid_1"), "payment_intent_id": None, "created_at": days_ago(3)}
    world.tables["stripe_charges"] += [
        {**charge, "charge_id": "ch_known"},
        {**charge, "charge_id": "ch_failed", "status": "failed"},
    ]
    ours = world.row("charges", "chg_paid_1")
    world.tables["charges"].append({**ours, "charge_id": "chg_known", "stripe_charge_id": "ch_known"})

    assert world.found() == []


@pytest.mark.parametrize("charge", ["paid_1", "late_2a"])
def test_a_charge_on_an_invoice_that_we_did_not_record_is_found(charge: str) -> None:
    world = make_world()
    world.drop("charges", charge_id=f"chg_{charge}")

    account = charge.split("_", maxsplit=1)[0]
    assert world.found() == [(account, "PAY_UNRECORDED", f"ch_{charge}")]


def test_a_charge_whose_row_of_ours_is_broken_is_not_unrecorded() -> None:
    world = make_world()
    world.row("charges", "chg_paid_1")["status"] = "worked"

    assert world.found() == [("paid", "SRC_CONTRACT", "chg_paid_1")]


def test_refunded_amounts_that_differ_are_found() -> None:
    world = make_world()
    world.refund("paid_1", 300, at=days_ago(5))
    assert world.found() == []

    world.row("charges", "chg_paid_1")["amount_refunded"] = 0
    assert world.found() == [("paid", "REFUND_UNRECORDED", "ch_paid_1")]


def test_a_refund_that_failed_has_to_be_undone_with_us() -> None:
    world = make_world()
    world.refund("paid_1", 300, at=days_ago(5))
    world.tables["stripe_refunds"][0]["status"] = "failed"

    assert world.found() == [("paid", "REFUND_UNRECORDED", "ch_paid_1")]


def test_a_refund_after_the_instant_asked_about_is_on_neither_side() -> None:
    world = make_world()
    world.refund("paid_1", 300, at=NOW + timedelta(days=1))

    assert world.found() == []


def test_a_later_refund_that_nobody_recorded_takes_only_what_earlier_ones_leave() -> None:
    world = make_world()
    world.refund("paid_1", 600, at=days_ago(5))
    world.refund("paid_1", 300, at=NOW + timedelta(days=1))
    world.tables["stripe_refunds"][1]["refund_id"] = "re_later"
    world.row("charges", "chg_paid_1")["amount_refunded"] = 600  # the later one is not recorded

    assert "REFUND_UNRECORDED" not in [code for _, code, _ in world.found()]


def test_what_is_recorded_without_any_refund_in_stripe_is_dated_by_the_charges_last_write() -> None:
    world = make_world()
    world.row("charges", "chg_paid_1").update(amount_refunded=300, updated_at=NOW + timedelta(hours=1))
    assert "REFUND_UNRECORDED" not in [code for _, code, _ in world.found()]

    world.row("charges", "chg_paid_1")["updated_at"] = days_ago(1)
    assert ("paid", "REFUND_UNRECORDED", "ch_paid_1") in world.found()


def _with_second_invoice_of_a_period(status: str = "paid", period: str = "si_1@100") -> World:
    world = make_world()
    first = world.row("stripe_invoices", "in_paid_1")
    first.update(billing_reason="subscription_cycle", billed_periods=["si_1@100"], subscription_id="sub_cus_paid")
    world.row("invoices", "inv_paid_1")["billing_reason"] = "subscription_cycle"
    again = {**first, "invoice_id": "in_again", "created_at": first["created_at"] + timedelta(days=1)}
    again |= {"billed_periods": [period], "amount_due": 700, "status": status}
    if status == "void":
        again["voided_at"] = days_ago(1)
    world.tables["stripe_invoices"].append(again)
    world.tables["invoices"].append(
        {**world.row("invoices", "inv_paid_1"), "invoice_id": "inv_again", "stripe_invoice_id": "in_again"}
        | {"status": status, "voided_at": again["voided_at"], "amount_due": 700}
    )
    return world


def test_a_period_billed_twice_is_found_on_the_second_invoice() -> None:
    found = _with_second_invoice_of_a_period().findings()

    assert found.filter(pl.col("code") == "INV_DUPLICATE_PERIOD").select(
        "account_id", "object_id", "at_stake_minor", "at_stake_currency"
    ).rows() == [("paid", "in_again", 700, "usd")]


@pytest.mark.parametrize(("status", "period"), [("void", "si_1@100"), ("paid", "si_1@200"), ("paid", "si_2@100")])
def test_a_void_invoice_another_period_and_another_item_bill_nothing_twice(status: str, period: str) -> None:
    assert "INV_DUPLICATE_PERIOD" not in [
        code for _, code, _ in _with_second_invoice_of_a_period(status, period).found()
    ]


def test_without_lines_nobody_can_say_what_an_invoice_bills() -> None:
    world = _with_second_invoice_of_a_period()
    world.row("stripe_invoices", "in_again")["billed_periods"] = None

    assert "INV_DUPLICATE_PERIOD" not in [code for _, code, _ in world.found()]


@pytest.mark.parametrize(("status", "at_stake"), [("succeeded", 1000), ("failed", None)])
def test_a_charge_for_an_invoice_that_nobody_has_is_an_orphan(status: str, at_stake: int | None) -> None:
    world = make_world()
    known = world.row("charges", "chg_paid_1")
    world.tables["charges"].append(
        {**known, "charge_id": "chg_lost", "stripe_charge_id": None, "invoice_id": "inv_lost", "status": status}
    )

    found = world.findings()

    assert found.select("account_id", "code", "object_id", "at_stake_minor").rows() == [
        ("paid", "CHG_ORPHAN_INVOICE", "chg_lost", at_stake)
    ]


def test_a_charge_of_an_invoice_that_takes_effect_later_or_is_broken_is_no_orphan() -> None:
    world = make_world()
    world.row("invoices", "inv_late_2")["effective_at"] = NOW + timedelta(days=3)
    world.row("invoices", "inv_paid_1")["currency"] = "xxz"

    assert "CHG_ORPHAN_INVOICE" not in [code for _, code, _ in world.found()]


def test_an_invoice_of_the_other_mode_is_compared_with_nothing() -> None:
    world = make_world()
    world.row("stripe_invoices", "in_paid_1").update(livemode=False, status="open", paid_at=None, currency="eur")

    assert {code for _, code, _ in world.found()}.isdisjoint({"INV_OPEN_STRIPE_PAID_INTERNAL", "INV_CURRENCY_MISMATCH"})


@pytest.mark.parametrize(("note", "is_found"), [(None, True), (299, True), (300, False)])
def test_a_refund_needs_a_credit_note_as_large(note: int | None, is_found: bool) -> None:  # noqa: FBT001
    world = make_world()
    world.refund("paid_1", 300, at=days_ago(5), credited=False)
    if note is not None:
        world.credit("paid_1", note, at=days_ago(5))

    assert world.found() == ([("paid", "REFUND_NO_CREDIT_NOTE", "in_paid_1")] if is_found else [])


def test_a_void_credit_note_explains_nothing() -> None:
    world = make_world()
    world.refund("paid_1", 300, at=days_ago(5))
    world.row("stripe_credit_notes", "cn_paid_1").update(status="void", voided_at=days_ago(4))

    assert world.found() == [("paid", "REFUND_NO_CREDIT_NOTE", "in_paid_1")]


@pytest.mark.parametrize(("status", "note", "is_found"), [("lost", 0, True), ("lost", 1000, False), ("won", 0, False)])
def test_a_lost_dispute_needs_a_credit_note(status: str, note: int, is_found: bool) -> None:  # noqa: FBT001
    world = make_world()
    world.dispute("paid_1", status, at=days_ago(30), closed_at=days_ago(20))
    if note:
        world.credit("paid_1", note, at=days_ago(15))

    assert world.found() == ([("paid", "DISPUTE_LOST_UNRESOLVED", "in_paid_1")] if is_found else [])


def test_a_credit_note_for_a_refund_does_not_settle_a_dispute_too() -> None:
    world = make_world()
    world.refund("paid_1", 300, at=days_ago(35))
    world.dispute("paid_1", "lost", at=days_ago(30), closed_at=days_ago(20))
    world.tables["stripe_disputes"][0]["amount"] = 300

    assert world.found() == [("paid", "DISPUTE_LOST_UNRESOLVED", "in_paid_1")]
