"""Payments: the attempts to collect an invoice, in both views, and the roads from an invoice to its payments.

Stripe ties an invoice to its payments by invoice payments alone, each naming a charge or a payment intent.
billing_prod's charges name their invoice themselves. Either way an attempt comes out once per provider id. What a
failed attempt means is in `decline.py`; what attempts add up to is in `clock.py`.
"""

from __future__ import annotations

import polars as pl

from trueup.contract.schemas import Snapshot
from trueup.engine.decline import with_decline
from trueup.engine.policy import Policy


def stripe_links(facts: Snapshot) -> pl.LazyFrame:
    """invoice_id, charge_id: which charges were made for which Stripe invoice, each pair once."""
    payments = facts["stripe_invoice_payments"].filter(pl.col("invoice_id").is_not_null())
    direct = payments.select("invoice_id", "charge_id").drop_nulls()
    through_intent = (
        payments.select("invoice_id", "payment_intent_id")
        .drop_nulls()
        .unique()
        .join(
            facts["stripe_charges"].select("payment_intent_id", "charge_id").drop_nulls(),
            on="payment_intent_id",
            how="inner",
        )
        .select("invoice_id", "charge_id")
    )
    return pl.concat([direct, through_intent]).unique()


def internal_charges(facts: Snapshot) -> pl.LazyFrame:
    """billing_prod's charges, one per invoice and provider id: of several, the smallest charge_id."""
    provider_id = pl.coalesce("stripe_charge_id", "charge_id")
    return (
        facts["charges"]
        .with_columns(provider_id=provider_id)
        .sort("charge_id")
        .unique(["invoice_id", "provider_id"], keep="first", maintain_order=True)
    )


def stripe_attempts(facts: Snapshot, links: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Attempts by Stripe invoice: invoice_id and the columns of `_ATTEMPT`."""
    triggers = (
        facts["charges"]
        .filter(pl.col("stripe_charge_id").is_not_null())
        .sort("charge_id")
        .unique("stripe_charge_id", keep="first", maintain_order=True)
        .select("stripe_charge_id", "trigger")
    )
    made = (
        links.join(facts["stripe_charges"], on="charge_id", how="inner", validate="m:1")
        .with_columns(stripe_charge_id="charge_id", attempted_at="created_at")
        .join(triggers, on="stripe_charge_id", how="left", validate="m:1")
        .with_columns(pl.col("trigger").fill_null("scheduled"))
    )
    return with_decline(made, policy).select("invoice_id", *_ATTEMPT)


def internal_attempts(recorded: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Attempts by internal invoice: invoice_id and the columns of `_ATTEMPT`. They name no payment method.

    `recorded` is `internal_charges`.
    """
    nothing = pl.lit(None, pl.String())
    made = recorded.with_columns(payment_method_id=nothing, network_advice_code=nothing, failure_code=nothing)
    return with_decline(made, policy).select("invoice_id", *_ATTEMPT)


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
)


def counts(reversal_at: str = "reversal_at") -> pl.Expr:
    """A failed attempt that uses up a cycle: made by the machine, not undone by a gateway, and after any reversal."""
    return (
        (pl.col("status") == "failed")
        & pl.col("trigger").is_in(["initial", "scheduled"])
        & (pl.col("decline_class") != "gateway")
        & (pl.col("attempted_at") > pl.col(reversal_at)).fill_null(value=True)
    ).fill_null(value=False)
