"""Payments: the attempts to collect an invoice, in both views.

Stripe ties an invoice to its payments by invoice payments alone, each naming a charge or a payment intent
(`Facts.stripe_links`). billing_prod's charges name their invoice themselves (`Facts.internal_charges`). Either way an
attempt comes out once per provider id. What a failed attempt means is in `decline.py`; what attempts add up to is in
`clock.py`.
"""

from __future__ import annotations

import polars as pl

from trueup.engine.decline import with_decline
from trueup.engine.facts import Facts


def stripe_attempts(facts: Facts) -> pl.LazyFrame:
    """Attempts by Stripe invoice: invoice_id and the columns of `_ATTEMPT`."""
    triggers = (
        facts["charges"]
        .filter(pl.col("stripe_charge_id").is_not_null())
        .sort("charge_id")
        .unique("stripe_charge_id", keep="first", maintain_order=True)
        .select("stripe_charge_id", "trigger")
    )
    made = (
        facts.stripe_links.join(facts["stripe_charges"], on="charge_id", how="inner", validate="m:1")
        .with_columns(stripe_charge_id="charge_id", attempted_at="created_at")
        .join(triggers, on="stripe_charge_id", how="left", validate="m:1")
        .with_columns(pl.col("trigger").fill_null("scheduled"))
    )
    return with_decline(made, facts.policy).select("invoice_id", *_ATTEMPT)


def internal_attempts(facts: Facts) -> pl.LazyFrame:
    """Attempts by internal invoice: invoice_id and the columns of `_ATTEMPT`. They name no payment method."""
    nothing = pl.lit(None, pl.String())
    made = facts.internal_charges.with_columns(
        payment_method_id=nothing, network_advice_code=nothing, failure_code=nothing
    )
    return with_decline(made, facts.policy).select("invoice_id", *_ATTEMPT)


_ATTEMPT = (
    "charge_id",
    "stripe_charge_id",
    "payment_method_id",
    "attempted_at",
    "status",
    "amount",
    "trigger",
    "decline_class",
    "deciding_code",
    "decline_code",
    "has_code",
    "has_known_code",
    "has_expiry_code",
)


def counts(reversal_at: str = "reversal_at") -> pl.Expr:
    """A failed attempt that uses up a cycle: made by the machine, not undone by a gateway, and after any reversal."""
    return (
        (pl.col("status") == "failed")
        & pl.col("trigger").is_in(["initial", "scheduled"])
        & (pl.col("decline_class") != "gateway")
        & (pl.col("attempted_at") > pl.col(reversal_at)).fill_null(value=True)
    ).fill_null(value=False)
