"""Payment methods: what an invoice would be charged with, and whether it can be.

The effective one is the first that is named of: the invoice's default payment method and source, the subscription's
two, the customer's two. It is unusable (docs/contract/DUNNING.md says dead) when an attempt with it, on any invoice of
the account, failed in a way that trying again cannot change, and none succeeded since. Debits also need an active
mandate. What an unusable method means for the dunning state is decided in `cycles.py`.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from trueup.contract.vocabulary import ACCEPTED_NETWORK_STATUSES, DEBIT_TYPES, NETWORK_STATUS_TYPE
from trueup.engine.facts import Facts


def with_instrument(invoices: pl.LazyFrame, attempts: pl.LazyFrame, facts: Facts) -> pl.LazyFrame:
    """Add what each invoice would be collected with.

    payment_method_id, payment_method_type, needs_mandate, is_mandate_active, instrument_at, expiry_on, and four flags:
    is_unusable_hard, is_unusable_customer_action, and the same that hold only once the card's date is past
    (`_if_expired`). An internal invoice that Stripe knows has its counterpart's; one outside Stripe has none, and is
    judged by its own attempts.
    """
    methods = facts["stripe_payment_methods"].select(
        "payment_method_id",
        payment_method_type="type",
        method_created_at="created_at",
        expiry_on=pl.date("exp_year", "exp_month", 1).dt.month_end(),
    )
    attempts = attempts.join(invoices.select("account_id").unique(), on="account_id", how="semi")
    in_stripe = (
        _with_effective(invoices.filter(pl.col("view") == "stripe"), facts)
        .join(methods, on="payment_method_id", how="left", validate="m:1")
        .join(_mandates(facts), on="payment_method_id", how="left", validate="m:1")
        .join(_failures_of_methods(attempts), on=["account_id", "payment_method_id"], how="left", validate="m:1")
        .with_columns(
            needs_mandate=pl.col("payment_method_type").is_in(DEBIT_TYPES).fill_null(value=False),
            is_mandate_active=pl.col("is_mandate_active").fill_null(value=False),
            has_mandate=pl.col("has_mandate").fill_null(value=False),
        )
        .with_columns(instrument_at=_instrument_at(facts.as_of))
    )
    in_books = invoices.filter(pl.col("view") == "internal").join(
        _failures_of_invoices(attempts), on="ref", how="left", validate="1:1"
    )
    return pl.concat([in_stripe, in_books], how="diagonal").with_columns(
        pl.col("needs_mandate", "is_mandate_active", "has_mandate", *_UNUSABLE_FLAGS).fill_null(value=False)
    )


def is_unusable(on: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Whether the method is unusable on a day: by a hard decline, and by one after which the customer must act."""
    has_expired = ~(pl.col("expiry_on") > on).fill_null(value=False)
    after_action = pl.col("is_unusable_customer_action") | (
        pl.col("is_unusable_customer_action_if_expired") & has_expired
    )
    return pl.col("is_unusable_hard"), after_action


def _with_effective(invoices: pl.LazyFrame, facts: Facts) -> pl.LazyFrame:
    subscriptions = facts["stripe_subscriptions"].select(
        "subscription_id",
        subscription_method_id="default_payment_method_id",
        subscription_source_id="default_source_id",
    )
    customers = facts["stripe_customers"].select(
        "customer_id", customer_method_id="default_payment_method_id", customer_source_id="default_source_id"
    )
    return (
        invoices.join(subscriptions, on="subscription_id", how="left", validate="m:1")
        .join(customers, on="customer_id", how="left", validate="m:1")
        .with_columns(
            payment_method_id=pl.coalesce(
                "default_payment_method_id",
                "default_source_id",
                "subscription_method_id",
                "subscription_source_id",
                "customer_method_id",
                "customer_source_id",
            )
        )
        .drop(
            "subscription_method_id",
            "subscription_source_id",
            "customer_method_id",
            "customer_source_id",
        )
    )


def _mandates(facts: Facts) -> pl.LazyFrame:
    """payment_method_id, has_mandate, is_mandate_active, accepted_at (the earliest of the active ones).

    Which mandates a payment method has is what subs_mandate knows; whether they are active is what Stripe says, and for
    a payment method of type bacs_debit what its network says too.
    """
    by_network = (pl.col("method_type") != NETWORK_STATUS_TYPE).fill_null(value=True) | pl.col("network_status").is_in(
        ACCEPTED_NETWORK_STATUSES
    ).fill_null(value=False)
    is_active = ((pl.col("status") == "active") & by_network).fill_null(value=False)
    in_stripe = facts["stripe_mandates"].select(
        "network_status", "status", "accepted_at", stripe_mandate_id="mandate_id"
    )
    types = facts["stripe_payment_methods"].select("payment_method_id", method_type="type")
    return (
        facts["subs_mandate"]
        .select("stripe_mandate_id", payment_method_id="stripe_payment_method_id")
        .drop_nulls("payment_method_id")
        .join(in_stripe, on="stripe_mandate_id", how="left", validate="m:1")
        .join(types, on="payment_method_id", how="left", validate="m:1")
        .group_by("payment_method_id")
        .agg(
            has_mandate=pl.lit(value=True),
            is_mandate_active=is_active.any(),
            accepted_at=pl.col("accepted_at").filter(is_active).min(),
        )
    )


def _instrument_at(as_of: datetime) -> pl.Expr:
    """When the customer brought this instrument, its mandate included. One that came later counts as come now."""
    accepted = pl.when("needs_mandate").then(pl.col("accepted_at"))
    came_at = pl.max_horizontal("method_created_at", accepted)
    return pl.when(came_at > as_of).then(pl.lit(as_of)).otherwise(came_at)


def _failures_of_methods(attempts: pl.LazyFrame) -> pl.LazyFrame:
    """Per account and payment method: what made it unusable since its latest success, on any invoice of the account."""
    tried = attempts.filter((pl.col("view") == "stripe") & pl.col("payment_method_id").is_not_null()).unique(
        ["account_id", "charge_id"]
    )
    return _unusable_since(tried, ["account_id", "payment_method_id"], is_about_expiry=pl.col("has_expiry_code"))


def _failures_of_invoices(attempts: pl.LazyFrame) -> pl.LazyFrame:
    """Per internal invoice: its own attempts since the latest success. billing_prod knows no cards, so no expiry."""
    return _unusable_since(attempts.filter(pl.col("view") == "internal"), ["ref"], is_about_expiry=pl.lit(value=False))


def _unusable_since(attempts: pl.LazyFrame, by: list[str], is_about_expiry: pl.Expr) -> pl.LazyFrame:
    """The flags of `_UNUSABLE_FLAGS` by key: only failures later than the latest success count."""
    succeeded_at = pl.col("attempted_at").filter(pl.col("status") == "succeeded").max()
    since = attempts.with_columns(succeeded_at=succeeded_at.over(by)).filter(
        pl.col("status") == "failed", (pl.col("attempted_at") > pl.col("succeeded_at")).fill_null(value=True)
    )
    needs_action = pl.col("decline_class") == "customer_action"
    return since.group_by(by).agg(
        is_unusable_hard=(pl.col("decline_class") == "hard").any(),
        is_unusable_customer_action=(needs_action & ~is_about_expiry).any(),
        is_unusable_customer_action_if_expired=(needs_action & is_about_expiry).any(),
    )


_UNUSABLE_FLAGS = ("is_unusable_hard", "is_unusable_customer_action", "is_unusable_customer_action_if_expired")
