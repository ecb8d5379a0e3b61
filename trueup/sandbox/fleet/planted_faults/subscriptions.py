"""Planted faults of the subscription group: what Stripe's subscriptions say against their invoices."""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.sandbox.fleet.identify import price_id
from trueup.sandbox.fleet.planted_faults.fleet_editor import FleetEditor, PlantedFault, found, of
from trueup.sandbox.fleet.planted_faults.retries import second_subscription


def status_mismatch(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Past due with nothing to pay; or active while an invoice has used up all its cycles."""
    is_paid = pl.col("state") == "good_standing"
    editor.set("stripe_subscriptions", of(chosen.filter(is_paid), "subscription_id"), status="past_due")
    editor.set("stripe_subscriptions", of(chosen.filter(~is_paid), "subscription_id"), status="active")
    return [found(chosen, "SUB_STATUS_MISMATCH", "subscription_id")]


def still_collecting(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The subscription ended and its open invoice goes on by itself."""
    editor.set("stripe_invoices", of(chosen, "invoice_id", "stripe_invoice_id"), auto_advance=True)
    return [found(chosen, "SUB_CANCELED_STILL_COLLECTING", "subscription_id")]


def duplicate(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The customer pays twice for one thing."""
    second_subscription(editor, chosen)
    return [found(priced(chosen), "SUB_DUPLICATE_ACTIVE", "price")]


def priced(chosen: pl.DataFrame) -> pl.DataFrame:
    """The chosen accounts with the Stripe price of their plan, as `price`."""
    return chosen.with_columns(price=price_id(pl.col("plan_code")))


PLANTED_FAULTS: Final = (
    PlantedFault("SUB_STATUS_MISMATCH", 20, status_mismatch, ("good_monthly", "suspended")),
    PlantedFault("SUB_CANCELED_STILL_COLLECTING", 8, still_collecting, ("subscription_ended",)),
    PlantedFault("SUB_DUPLICATE_ACTIVE", 10, duplicate),
)
