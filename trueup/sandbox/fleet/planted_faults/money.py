"""Planted faults of the money group: invoices, payments, refunds and disputes on which the two views differ."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.sandbox.fleet import ids
from trueup.sandbox.fleet.planted_faults.fleet_editor import FleetEditor, PlantedFault, found, of


def missing_internal(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The ledger never got the invoice; its charge, written by another, is there."""
    editor.drop("invoices", of(chosen, "invoice_id", "bill_id"))
    return [
        found(chosen, "INV_MISSING_INTERNAL", "stripe_invoice_id"),
        found(chosen.drop_nulls("charge_id"), "CHG_ORPHAN_INVOICE", "charge_id", is_consequence=True),
    ]


def missing_stripe(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The ledger names an invoice that Stripe does not have."""
    ghosts = chosen.with_columns(ghost_id=ids.dated("in", chosen["bill_at"], editor.rng))
    rows = ghosts.select(
        "account_id",
        invoice_id="inv_ghost_" + pl.col("account_id"),
        stripe_invoice_id="ghost_id",
        billing_reason=pl.lit("manual"),
        status=pl.lit("paid"),
        collection_method=pl.lit("charge_automatically"),
        currency="bill_currency",
        amount_due="bill_amount",
        amount_paid="bill_amount",
        attempt_count=pl.lit(0),
        finalized_at="bill_at",
        paid_at="bill_paid_at",
        effective_at="bill_at",
        updated_at="bill_paid_at",
        version=pl.lit(2),
    )
    editor.add("invoices", rows)
    return [found(ghosts, "INV_MISSING_STRIPE", "ghost_id")]


def paid_in_stripe_only(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The customer paid and the ledger's invoice is still open."""
    unpaid(editor, chosen)
    return [found(chosen, "INV_PAID_STRIPE_OPEN_INTERNAL", "stripe_invoice_id")]


def unpaid(editor: FleetEditor, chosen: pl.DataFrame) -> None:
    """The ledger's invoice as it was before it was paid."""
    editor.set("invoices", of(chosen, "invoice_id", "bill_id"), status="open", amount_paid=0, paid_at=None)


def paid_in_ledger_only(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The ledger believes that an invoice was paid which Stripe is still collecting."""
    paid_at = pl.lit(editor.as_of - timedelta(hours=9))
    is_bill = of(chosen, "invoice_id", "bill_id")
    editor.set("invoices", is_bill, status="paid", amount_paid=pl.col("amount_due"), paid_at=paid_at)
    return [found(chosen, "INV_OPEN_STRIPE_PAID_INTERNAL", "stripe_invoice_id")]


def status_mismatch(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Void in Stripe, still open in the ledger."""
    editor.set("invoices", of(chosen, "invoice_id", "bill_id"), status="open", voided_at=None)
    return [found(chosen, "INV_STATUS_MISMATCH", "stripe_invoice_id")]


def amount_mismatch(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Both say open, and not the same amount."""
    editor.set("invoices", of(chosen, "invoice_id", "bill_id"), amount_due=pl.col("amount_due") + 500)
    return [found(chosen, "INV_AMOUNT_MISMATCH", "stripe_invoice_id")]


def currency_mismatch(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The same amount in another currency."""
    other = pl.when(pl.col("currency") == "chf").then(pl.lit("sek")).otherwise(pl.lit("chf"))
    editor.set("invoices", of(chosen, "invoice_id", "bill_id"), currency=other)
    return [found(chosen, "INV_CURRENCY_MISMATCH", "stripe_invoice_id")]


def double_charge(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The customer paid the same invoice twice, and both sides know."""
    again = extra_payment(editor, chosen)
    payment = again.select(
        invoice_payment_id=ids.dated("inpay", again["again_at"], editor.rng),
        invoice_id="stripe_invoice_id",
        status=pl.lit("paid"),
        amount_paid="bill_amount",
        amount_requested="bill_amount",
        currency="bill_currency",
        created_at="again_at",
        paid_at="again_at",
        payment_type=pl.lit("payment_intent"),
        payment_intent_id="again_intent_id",
        livemode=pl.lit(True),
    )
    editor.add("stripe_invoice_payments", payment)
    ours = again.select(
        "account_id",
        charge_id="chg_again_" + pl.col("account_id"),
        invoice_id="bill_id",
        stripe_charge_id="again_charge_id",
        amount="bill_amount",
        amount_refunded=pl.lit(0),
        currency="bill_currency",
        status=pl.lit("succeeded"),
        trigger=pl.lit("manual"),
        attempted_at="again_at",
        effective_at="again_at",
        updated_at="again_at",
        version=pl.lit(1),
    )
    editor.add("charges", ours)
    return [found(chosen, "PAY_DOUBLE_CHARGE", "stripe_invoice_id")]


def unlinked_payment(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Money came in, for nothing that anyone can name."""
    again = extra_payment(editor, chosen)
    return [found(again, "PAY_UNLINKED", "again_charge_id")]


def extra_payment(editor: FleetEditor, chosen: pl.DataFrame) -> pl.DataFrame:
    """One more payment in Stripe, of the latest bill's amount, two days ago: `again_*` names it."""
    at = pl.Series([editor.as_of - timedelta(days=2)] * len(chosen), dtype=pl.Datetime("us", "UTC"))
    again = chosen.with_columns(
        again_at=at,
        again_charge_id=ids.dated("ch", at, editor.rng),
        again_intent_id=ids.dated("pi", at, editor.rng),
    )
    editor.add(
        "stripe_payment_intents",
        again.select(
            "customer_id",
            payment_intent_id="again_intent_id",
            status=pl.lit("succeeded"),
            amount="bill_amount",
            currency="bill_currency",
            created_at="again_at",
            latest_charge_id="again_charge_id",
            payment_method_id="pm_id",
            payment_method_type="pm_type",
            livemode=pl.lit(True),
        ),
    )
    editor.add(
        "stripe_charges",
        again.select(
            "customer_id",
            charge_id="again_charge_id",
            payment_intent_id="again_intent_id",
            status=pl.lit("succeeded"),
            amount="bill_amount",
            amount_refunded=pl.lit(0),
            currency="bill_currency",
            created_at="again_at",
            payment_method_id="pm_id",
            payment_method_type="pm_type",
            livemode=pl.lit(True),
        ),
    )
    return again


def unrecorded_charge(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Stripe charged the invoice and the ledger has no such charge."""
    editor.drop("charges", of(chosen, "charge_id"))
    return [found(chosen, "PAY_UNRECORDED", "stripe_charge_id")]


def unrecorded_refund(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Stripe gave money back and the ledger does not know."""
    editor.set("charges", of(chosen, "charge_id"), amount_refunded=0)
    return [found(chosen, "REFUND_UNRECORDED", "stripe_charge_id")]


def no_credit_note(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Money went back and no credit note says why."""
    without_credit_notes(editor, chosen)
    return [found(chosen, "REFUND_NO_CREDIT_NOTE", "stripe_invoice_id")]


def without_credit_notes(editor: FleetEditor, chosen: pl.DataFrame) -> None:
    """The latest bill's credit notes, gone from both sides."""
    editor.drop("credit_notes", of(chosen, "invoice_id", "bill_id"))
    editor.drop("stripe_credit_notes", of(chosen, "invoice_id", "stripe_invoice_id"))


def lost_dispute(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The bank took the money back; the invoice still says paid."""
    without_credit_notes(editor, chosen)
    return [found(chosen, "DISPUTE_LOST_UNRESOLVED", "stripe_invoice_id")]


def duplicate_period(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A period billed a second time, a day later: both invoices are paid, in Stripe and in the ledger."""
    later = timedelta(days=1)
    is_bill = of(chosen, "invoice_id", "stripe_invoice_id")
    editor.set("stripe_invoices", is_bill, billing_reason="subscription_cycle")
    editor.set("invoices", of(chosen, "invoice_id", "bill_id"), billing_reason="subscription_cycle")
    second_id = pl.col("stripe_invoice_id") + "second"
    again = chosen.with_columns(second_id=second_id)
    theirs = editor.frames["stripe_invoices"].filter(is_bill)
    ours = editor.frames["invoices"].filter(of(chosen, "invoice_id", "bill_id"))
    editor.add(
        "stripe_invoices",
        theirs.with_columns(
            invoice_id=pl.col("invoice_id") + "second",
            created_at=pl.col("created_at") + later,
            metadata_invoice_id=pl.lit(None, pl.String),
        ),
    )
    editor.add(
        "invoices",
        ours.with_columns(invoice_id=pl.col("invoice_id") + "_second", stripe_invoice_id=second_id),
    )
    return [found(again, "INV_DUPLICATE_PERIOD", "second_id")]


def orphan_charge(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A charge of the ledger for an invoice that nobody has."""
    orphans = chosen.with_columns(orphan_id="chg_orphan_" + pl.col("account_id"))
    editor.add(
        "charges",
        orphans.select(
            "account_id",
            charge_id="orphan_id",
            invoice_id="inv_gone_" + pl.col("account_id"),
            amount="bill_amount",
            amount_refunded=pl.lit(0),
            currency="bill_currency",
            status=pl.lit("succeeded"),
            trigger=pl.lit("manual"),
            attempted_at="bill_paid_at",
            effective_at="bill_paid_at",
            updated_at="bill_paid_at",
            version=pl.lit(1),
        ),
    )
    return [found(orphans, "CHG_ORPHAN_INVOICE", "orphan_id")]


PLANTED_FAULTS: Final = (
    PlantedFault("INV_MISSING_INTERNAL", 25, missing_internal),
    PlantedFault("INV_MISSING_STRIPE", 6, missing_stripe),
    PlantedFault("INV_PAID_STRIPE_OPEN_INTERNAL", 60, paid_in_stripe_only),
    PlantedFault("INV_OPEN_STRIPE_PAID_INTERNAL", 12, paid_in_ledger_only, ("retrying",)),
    PlantedFault("INV_STATUS_MISMATCH", 15, status_mismatch, ("void",)),
    PlantedFault("INV_AMOUNT_MISMATCH", 15, amount_mismatch, ("retrying", "final_notice")),
    PlantedFault("INV_CURRENCY_MISMATCH", 4, currency_mismatch),
    PlantedFault("INV_DUPLICATE_PERIOD", 6, duplicate_period),
    PlantedFault("CHG_ORPHAN_INVOICE", 6, orphan_charge),
    PlantedFault("PAY_DOUBLE_CHARGE", 10, double_charge),
    PlantedFault("PAY_UNLINKED", 10, unlinked_payment),
    PlantedFault("PAY_UNRECORDED", 25, unrecorded_charge),
    PlantedFault("REFUND_UNRECORDED", 12, unrecorded_refund, ("refunded", "partly_refunded")),
    PlantedFault("REFUND_NO_CREDIT_NOTE", 12, no_credit_note, ("refunded", "partly_refunded")),
    PlantedFault("DISPUTE_LOST_UNRESOLVED", 8, lost_dispute, ("dispute_lost_lately",)),
)
