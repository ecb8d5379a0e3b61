"""As of: what was known at an instant.

An object or row that was created, or took effect, after `as_of` does not exist for the run. What carries no date (a
default payment method, a subscription's status, an exemption) is taken as it is now. How a status follows from its
transitions is here too; what a status means for money is not.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import polars as pl

from trueup.contract.schemas import Snapshot

# Table → the columns that say when a row came to be. A null says nothing and leaves the row in.
EFFECTIVE_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "accounts": ("created_at",),
    "entitlements": ("granted_at",),
    "invoices": ("effective_at",),
    "charges": ("attempted_at", "effective_at"),
    "credit_notes": ("created_at",),
    "subs_customer": ("created_at",),
    "subs_stuck_events": ("received_at",),
    "stripe_customers": ("created_at",),
    "stripe_subscriptions": ("created_at",),
    "stripe_invoices": ("created_at", "effective_at"),
    "stripe_invoice_payments": ("created_at",),
    "stripe_payment_intents": ("created_at",),
    "stripe_charges": ("created_at",),
    "stripe_refunds": ("created_at",),
    "stripe_disputes": ("created_at",),
    "stripe_credit_notes": ("created_at", "effective_at"),
    "stripe_events": ("created_at",),
}


def known_at(snapshot: Snapshot, as_of: datetime) -> dict[str, pl.LazyFrame]:
    """The snapshot without what came to be after `as_of`. Instruments stay: they count as having come at `as_of`."""
    return {name: frame.filter(_has_come(name, as_of)) for name, frame in snapshot.items()}


def _has_come(name: str, as_of: datetime) -> pl.Expr:
    come = [(pl.col(column) <= as_of).fill_null(value=True) for column in EFFECTIVE_COLUMNS.get(name, ())]
    return pl.all_horizontal(pl.lit(value=True), *come)


def status_at(as_of: datetime) -> pl.Expr:
    """An invoice's status from its transitions; the stored one where it never had any."""
    happened = {
        status: (pl.col(column) <= as_of).fill_null(value=False)
        for status, column in (
            ("void", "voided_at"),
            ("paid", "paid_at"),
            ("uncollectible", "uncollectible_at"),
            ("open", "finalized_at"),
        )
    }
    from_transitions = pl.coalesce(
        *(pl.when(has_happened).then(pl.lit(status)) for status, has_happened in happened.items()), pl.lit("draft")
    )
    never_moved = pl.all_horizontal(
        pl.col(column).is_null() for column in ("voided_at", "paid_at", "uncollectible_at", "finalized_at")
    )
    return pl.when(never_moved).then(pl.col("status")).otherwise(from_transitions)
