"""Planted faults of the retry and mandate group: wrong or missing attempts, and changed mandates."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.sandbox.fleet import ids
from trueup.sandbox.fleet.planted_faults.fleet_editor import FleetEditor, PlantedFault, found, of


def stalled(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The retry of some days ago was never made: the archetype is the fault."""
    del editor
    return [found(chosen, "RETRY_SCHEDULE_STALLED", "stripe_invoice_id")]


def retried_after_hard_decline(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A stolen card was charged again: the archetype is the fault."""
    del editor
    return [found(chosen, "RETRY_ON_HARD_DECLINE", "stripe_invoice_id")]


def two_owners(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Our schedule and Stripe's own retries are both about to charge one invoice."""
    is_next = of(chosen, "invoice_id", "bill_id") & (pl.col("status") == "scheduled")
    editor.set("schedules", is_next, owner="internal")
    rows = chosen.select(invoice_id="stripe_invoice_id", next_payment_attempt_at="bill_retry_at")
    editor.set_each("stripe_invoices", "invoice_id", rows)
    return [found(chosen, "RETRY_DOUBLE_OWNER", "stripe_invoice_id")]


def retry_of_settled(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A retry is still scheduled for an invoice that was paid."""
    schedule_again(editor, chosen)
    return [found(chosen, "RETRY_ON_SETTLED", "stripe_invoice_id")]


def schedule_again(editor: FleetEditor, chosen: pl.DataFrame) -> None:
    """One more scheduled retry of the latest bill, three days from now."""
    rows = chosen.select(
        "account_id",
        schedule_id="sch_again_" + pl.col("account_id"),
        invoice_id="bill_id",
        attempt_number=pl.col("charge_k") + 2,
        retry_at=pl.lit(editor.as_of + timedelta(days=3)),
        owner=pl.lit("internal"),
        status=pl.lit("scheduled"),
        updated_at="bill_at",
        version=pl.lit(1),
    )
    editor.add("schedules", rows)


def never_tried(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """An invoice was finalised and nobody charged it: the archetype is the fault."""
    del editor
    return [found(chosen, "NO_ATTEMPT_MADE", "stripe_invoice_id")]


def unknown_decline(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A decline code that the policy's table does not have: the archetype is the fault."""
    del editor
    return [found(chosen, "DECLINE_CODE_UNMAPPED", "stripe_charge_id")]


def mandate_changed(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The bank revoked a mandate and we did not hear of it; or it was accepted and we still wait."""
    revoked, accepted = chosen[::2], chosen[1::2]
    editor.set("stripe_mandates", of(revoked, "mandate_id"), status="inactive")
    editor.set("subs_mandate", of(accepted, "stripe_mandate_id", "mandate_id"), status="pending")
    return [found(chosen, "MAN_STATUS_MISMATCH", "mandate_id")]


def mandate_missing(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A debit is under way and we know of no mandate for it."""
    editor.drop("subs_mandate", of(chosen))
    return [found(chosen, "MAN_MISSING", "stripe_invoice_id")]


def second_subscription(editor: FleetEditor, chosen: pl.DataFrame) -> pl.DataFrame:
    """One more active subscription of the same customer to the same price."""
    rows = chosen.select(
        "customer_id",
        subscription_id=ids.dated("sub", chosen["bill_at"], editor.rng),
        like="subscription_id",
    )
    first = editor.frames["stripe_subscriptions"].drop("customer_id")
    copied = rows.join(first, left_on="like", right_on="subscription_id", how="left", validate="1:1").drop("like")
    editor.add("stripe_subscriptions", copied)
    return rows


PLANTED_FAULTS: Final = (
    PlantedFault("RETRY_SCHEDULE_STALLED", 25, stalled, ("stalled",)),
    PlantedFault("RETRY_ON_HARD_DECLINE", 6, retried_after_hard_decline, ("retried_after_hard_decline",)),
    PlantedFault("RETRY_DOUBLE_OWNER", 8, two_owners, ("retrying", "final_notice")),
    PlantedFault("RETRY_ON_SETTLED", 20, retry_of_settled),
    PlantedFault("NO_ATTEMPT_MADE", 10, never_tried, ("never_tried",)),
    PlantedFault("DECLINE_CODE_UNMAPPED", 4, unknown_decline, ("unknown_decline",), is_counted=False),
    PlantedFault("MAN_STATUS_MISMATCH", 30, mandate_changed, ("good_with_mandate",)),
    PlantedFault("MAN_MISSING", 5, mandate_missing, ("in_flight_fresh", "in_flight")),
)
