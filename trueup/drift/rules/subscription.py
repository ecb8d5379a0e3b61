"""Subscriptions: what Stripe says of one against what its invoices say.

Only subscriptions of customers who map to an account are looked at. Stripe's `status` is taken as it is now; a paused
collection never changes it, so `pause_collection` plays no part here.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.vocabulary import ENDED_SUBSCRIPTIONS
from trueup.drift.evidence import AtStake, Evidence, found


def sub_status_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """Late by its status and by no invoice; or active while an invoice of it is late and every cycle is used up."""
    seems_late = pl.col("status").is_in(["past_due", "unpaid"])
    wrong = (
        evidence.subscriptions.join(_unsettled(evidence), on="subscription_id", how="left", validate="m:1")
        .join(_exhausted(evidence), on=["account_id", "subscription_id"], how="left", validate="m:1")
        .join(evidence.accounts_with_violations("stripe_invoices"), on="account_id", how="anti")
        .with_columns(pl.col("unsettled", "exhausted").fill_null(0))
        .filter(
            (seems_late & (pl.col("unsettled") == 0)) | ((pl.col("status") == "active") & (pl.col("exhausted") > 0))
        )
    )
    return found(
        wrong,
        {
            "stripe": {
                "status": "status",
                "open_or_uncollectible_invoices": "unsettled",
                "exhausted_invoices": "exhausted",
            }
        },
        object_id="subscription_id",
    )


def sub_canceled_still_collecting(evidence: Evidence) -> pl.LazyFrame:
    """The subscription has ended, and Stripe goes on collecting an invoice of it."""
    collecting = (
        evidence.stripe_invoices.filter(pl.col("status") == "open", pl.col("auto_advance").fill_null(value=False))
        .filter(pl.col("subscription_id").is_not_null())
        .drop("currency")
        .with_columns(object_id="invoice_id")
        .pipe(evidence.with_outstanding)
        .group_by("subscription_id")
        .agg(
            invoices=pl.col("invoice_id").sort(),
            collected=pl.col("outstanding").sum(),
            currencies=pl.col("currency").drop_nulls().n_unique(),
            currency=pl.col("currency").drop_nulls().first(),
        )
    )
    ended = evidence.subscriptions.filter(pl.col("status").is_in(ENDED_SUBSCRIPTIONS)).join(
        collecting, on="subscription_id", how="inner", validate="m:1"
    )
    return found(
        ended,
        {"stripe": {"status": "status", "open_auto_advancing_invoices": "invoices"}},
        object_id="subscription_id",
        at_stake=AtStake("collected", pl.when(pl.col("currencies") == 1).then(pl.col("currency"))),
    )


def sub_duplicate_active(evidence: Evidence) -> pl.LazyFrame:
    """Two live subscriptions of one account to the same price: a row per price."""
    twice = (
        evidence.live_subscriptions.select("account_id", "subscription_id", price_id=pl.col("price_ids"))
        .explode("price_id", empty_as_null=True)
        .filter(pl.col("price_id").is_not_null())
        .group_by("account_id", "price_id")
        .agg(subscriptions=pl.col("subscription_id").unique().sort())
        .filter(pl.col("subscriptions").list.len() > 1)
    )
    return found(twice, {"stripe": {"price_id": "price_id", "subscriptions": "subscriptions"}}, object_id="price_id")


def _unsettled(evidence: Evidence) -> pl.LazyFrame:
    """subscription_id, unsettled: how many open or uncollectible invoices it has, in Stripe or outside."""
    outside = evidence.internal_invoices.filter(pl.col("stripe_invoice_id").is_null()).select(
        "status", subscription_id="stripe_subscription_id"
    )
    return (
        pl.concat([evidence.stripe_invoices.select("status", "subscription_id"), outside])
        .filter(pl.col("status").is_in(["open", "uncollectible"]), pl.col("subscription_id").is_not_null())
        .group_by("subscription_id")
        .agg(unsettled=pl.len())
    )


def _exhausted(evidence: Evidence) -> pl.LazyFrame:
    """account_id, subscription_id, exhausted: how many open invoices are late, owed and out of cycles."""
    return (
        evidence.invoices.filter("is_deciding", "is_late", "is_owed", "is_exhausted", pl.col("status") == "open")
        .filter(pl.col("subscription_id").is_not_null())
        .group_by("account_id", "subscription_id")
        .agg(exhausted=pl.len())
    )


RULES: Final = (sub_status_mismatch, sub_canceled_still_collecting, sub_duplicate_active)
