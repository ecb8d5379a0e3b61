"""Invoices: both views of every account's invoices, in one frame with one set of names.

The Stripe view holds Stripe's invoices of the customers that map to an account; the internal view holds
billing_prod's. Each row says which view it is, what was its status at `as_of`, what it still owes, and whether that
is owed. From here on no rule needs to know where an invoice came from, unless the rule itself says so.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.as_of import status_at
from trueup.contract.vocabulary import ENDED_SUBSCRIPTIONS, FORGIVEN_REASONS, NEVER_STARTED_SUBSCRIPTIONS
from trueup.engine.facts import Facts
from trueup.engine.money import internal_money, stripe_money, tolerance
from trueup.engine.policy import Policy


def invoices(facts: Facts) -> pl.LazyFrame:
    """One row per account, view and invoice: the columns of `_COLUMNS`, subscription_status, is_owed, `_judgements`."""
    in_stripe = _stripe_view(facts).join(stripe_money(facts), on="invoice_id", how="left", validate="m:1")
    in_books = _internal_view(facts).join(internal_money(facts), on="invoice_id", how="left", validate="1:1")
    subscriptions = facts["stripe_subscriptions"].select("subscription_id", subscription_status="status")
    return (
        pl.concat([in_stripe.select(_COLUMNS), in_books.select(_COLUMNS)])
        .join(subscriptions, on="subscription_id", how="left", validate="m:1")
        .with_columns(
            outstanding=_outstanding(), reversal_at=pl.when(pl.col("status") == "paid").then(pl.col("reversal_at"))
        )
        .with_columns(is_owed=_is_owed(facts.policy))
        .with_columns(**_judgements())
    )


def _stripe_view(facts: Facts) -> pl.LazyFrame:
    internal_id = (
        facts["invoices"]
        .filter(pl.col("stripe_invoice_id").is_not_null())
        .group_by(invoice_id="stripe_invoice_id")
        .agg(internal_invoice_id=pl.col("invoice_id").min())
    )
    return (
        facts["stripe_invoices"]
        .join(facts.mapping, on="customer_id", how="inner")
        .join(internal_id, on="invoice_id", how="left", validate="m:1")
        .with_columns(
            status_at(facts.as_of).alias("status"),
            view=pl.lit("stripe"),
            stripe_invoice_id="invoice_id",
            object_id="invoice_id",
            is_deciding=pl.lit(value=True),
        )
    )


def _internal_view(facts: Facts) -> pl.LazyFrame:
    nothing = pl.lit(None, pl.String())
    return facts["invoices"].with_columns(
        status_at(facts.as_of).alias("status"),
        view=pl.lit("internal"),
        internal_invoice_id="invoice_id",
        object_id=pl.coalesce("stripe_invoice_id", "invoice_id"),
        is_deciding=pl.col("stripe_invoice_id").is_null(),
        customer_id=nothing,
        subscription_id="stripe_subscription_id",
        attempted=pl.lit(None, pl.Boolean()),
        auto_advance=pl.lit(None, pl.Boolean()),
        next_payment_attempt_at=pl.lit(None, pl.Datetime("us", "UTC")),
        default_payment_method_id=nothing,
        default_source_id=nothing,
        livemode=pl.lit(None, pl.Boolean()),
    )


_COLUMNS: Final = (
    "account_id",
    "view",
    "invoice_id",
    "stripe_invoice_id",
    "internal_invoice_id",
    "object_id",
    "is_deciding",
    "customer_id",
    "subscription_id",
    "billing_reason",
    "collection_method",
    "status",
    "uncollectible_reason",
    "currency",
    "amount_due",
    "amount_paid",
    "due_at",
    "finalized_at",
    "uncollectible_at",
    "attempted",
    "auto_advance",
    "next_payment_attempt_at",
    "default_payment_method_id",
    "default_source_id",
    "livemode",
    "base",
    "paid",
    "refunded",
    "lost",
    "credited",
    "reversal",
    "reversal_at",
)


def _outstanding() -> pl.Expr:
    """Base for an open or uncollectible invoice, reversal for a paid one, nothing for a draft or a void one."""
    return (
        pl.when(pl.col("status").is_in(["open", "uncollectible"]))
        .then(pl.col("base"))
        .when(pl.col("status") == "paid")
        .then(pl.col("reversal"))
        .otherwise(0)
        .fill_null(0)
    )


def _is_owed(policy: Policy) -> pl.Expr:
    """The customer owes it: something is outstanding, and no reason lets them off."""
    is_forgiven = (pl.col("status") == "uncollectible") & pl.col("uncollectible_reason").is_in(FORGIVEN_REASONS)
    never_started = (pl.col("billing_reason") == "subscription_create") & pl.col("subscription_status").is_in(
        NEVER_STARTED_SUBSCRIPTIONS
    )
    is_excluded = pl.lit(policy.ended_subscription == "exclude") & has_subscription_ended()
    is_other_mode = pl.col("livemode") != policy.livemode
    lets_off = [reason.fill_null(value=False) for reason in (is_forgiven, never_started, is_excluded, is_other_mode)]
    return (pl.col("outstanding") > tolerance(policy)) & ~pl.any_horizontal(lets_off)


def has_subscription_ended() -> pl.Expr:
    """Its subscription, if it has one, came to an end."""
    return pl.col("subscription_status").is_in(ENDED_SUBSCRIPTIONS).fill_null(value=False)


def _judgements() -> dict[str, pl.Expr]:
    return {
        "is_charged_off": (pl.col("status") == "uncollectible") & pl.col("is_owed"),
        "is_reopened": (pl.col("status") == "paid") & pl.col("is_owed"),
        "is_open": (pl.col("status") == "open").fill_null(value=False),
        "is_automatic": (pl.col("collection_method") == "charge_automatically").fill_null(value=False),
    }
