"""Scenarios: one root fault, and the other disagreements that follow from it.

These are common in the field. Each lists its root first; the others are planted with it and marked as consequences.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.sandbox.fleet.planted_faults.dunning import copy_state, store, suspended_early
from trueup.sandbox.fleet.planted_faults.entitlements import switch_off
from trueup.sandbox.fleet.planted_faults.events import add_event
from trueup.sandbox.fleet.planted_faults.fleet_editor import FleetEditor, PlantedFault, found, of
from trueup.sandbox.fleet.planted_faults.identity import active_subscriptions, with_second_customer
from trueup.sandbox.fleet.planted_faults.money import unpaid, unrecorded_charge, unrecorded_refund, without_credit_notes
from trueup.sandbox.fleet.planted_faults.retries import schedule_again
from trueup.sandbox.fleet.planted_faults.subscriptions import priced


def lost_webhook(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The customer paid while retries ran; `invoice.paid` never arrived, so nothing on our side moved."""
    unpaid(editor, chosen)
    unrecorded_charge(editor, chosen)
    schedule_again(editor, chosen)
    store(editor, chosen, "retrying", attempts=2)
    copy_state(editor, chosen, "retrying")
    eventful = add_event(editor, chosen, "invoice.paid", status="stuck")
    return [
        found(chosen, "INV_PAID_STRIPE_OPEN_INTERNAL", "stripe_invoice_id"),
        follows(chosen, "PAY_UNRECORDED", "stripe_charge_id"),
        follows(chosen, "RETRY_ON_SETTLED", "stripe_invoice_id"),
        follows(chosen, "DUN_STUCK_AFTER_PAYMENT"),
        follows(chosen, "DUN_LEDGER_COPY_MISMATCH"),
        follows(eventful, "EVT_STUCK", "event_id"),
    ]


def still_locked_out(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The customer paid after suspension; the ledger knows, and access never came back."""
    store(editor, chosen, "suspended", attempts=4)
    copy_state(editor, chosen, "suspended")
    switch_off(editor, chosen)
    return [
        found(chosen, "DUN_STUCK_AFTER_PAYMENT"),
        follows(chosen, "DUN_LEDGER_COPY_MISMATCH"),
        follows(chosen, "ENT_OFF_WHEN_GOOD"),
    ]


def bad_debt_that_paid(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Given up, and then it paid: state, flag, copy and access all still say bad debt."""
    store(editor, chosen, "bad_debt", attempts=4)
    copy_state(editor, chosen, "bad_debt")
    switch_off(editor, chosen)
    editor.set("subs_account", of(chosen), bad_debt=True, updated_by="A3")
    return [
        found(chosen, "DUN_STUCK_AFTER_PAYMENT"),
        follows(chosen, "DUN_LEDGER_COPY_MISMATCH"),
        follows(chosen, "FLAG_BAD_DEBT_STALE"),
        follows(chosen, "ENT_OFF_WHEN_GOOD"),
    ]


def locked_out_early(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Suspended with attempts left, and access went with it."""
    switch_off(editor, chosen)
    return [*suspended_early(editor, chosen), follows(chosen, "ENT_OFF_WHEN_GOOD")]


def never_dunned(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The first failure was never heard: neither the state nor its copy was written."""
    editor.drop("subs_dunning", of(chosen))
    editor.drop("dunning_states", of(chosen))
    return [found(chosen, "DUN_NOT_STARTED"), follows(chosen, "DUN_LEDGER_COPY_MISMATCH")]


def silent_refund(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Money was given back in Stripe's dashboard, and nobody told the ledger."""
    without_credit_notes(editor, chosen)
    return [
        *unrecorded_refund(editor, chosen),
        follows(chosen, "REFUND_NO_CREDIT_NOTE", "stripe_invoice_id"),
    ]


def bought_twice(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Checkout did not know the customer: a second one bought the same plan again."""
    second = with_second_customer(editor, chosen)
    first = editor.frames["stripe_subscriptions"].select("subscription_id", "price_ids")
    prices = second.join(first, on="subscription_id", how="left", validate="1:1", maintain_order="left")
    editor.add(
        "stripe_subscriptions", active_subscriptions(editor, prices.select("price_ids", customer_id="new_customer_id"))
    )
    return [found(chosen, "MAP_DUPLICATE_CUSTOMER"), follows(priced(chosen), "SUB_DUPLICATE_ACTIVE", "price")]


def follows(chosen: pl.DataFrame, code: str, about: str | None = None) -> pl.DataFrame:
    """The same findings, marked as consequences of the root."""
    return found(chosen, code, about, is_consequence=True)


PLANTED_FAULTS: Final = (
    PlantedFault("lost_webhook", 80, lost_webhook, ("paid_while_retrying",)),
    PlantedFault("still_locked_out", 25, still_locked_out, ("paid_after_suspension",)),
    PlantedFault("bad_debt_that_paid", 15, bad_debt_that_paid, ("paid_after_bad_debt",)),
    PlantedFault("locked_out_early", 12, locked_out_early, ("retrying", "final_notice")),
    PlantedFault("never_dunned", 20, never_dunned, ("grace", "retrying", "hard_decline")),
    PlantedFault("silent_refund", 10, silent_refund, ("refunded",)),
    PlantedFault("bought_twice", 6, bought_twice),
)
