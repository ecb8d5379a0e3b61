"""Identity: whose customer is whose, and which accounts there are.

Rows of subs_customer in the policy's livemode against Stripe's customers, and accounts against the rows that speak of
them. What an account owes is not looked at here, save that a child must owe nothing of its own.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.masking import masked
from trueup.drift.evidence import AtStake, Evidence, found


def map_missing(evidence: Evidence) -> pl.LazyFrame:
    """Invoices that Stripe collects, not void, and no customer for the account."""
    collected = evidence.internal_invoices.filter(
        pl.col("stripe_invoice_id").is_not_null(), (pl.col("status") != "void").fill_null(value=False)
    )
    counted = collected.filter(pl.col("account_id").is_not_null()).group_by("account_id").agg(invoices=pl.len())
    unmapped = counted.join(evidence.mapping, on="account_id", how="anti").join(
        evidence.accounts_with_violations("subs_customer"), on="account_id", how="anti"
    )
    return found(
        unmapped,
        {"billing_prod": {"stripe_invoices": "invoices"}, "subs_customer": {"customers": pl.lit(0)}},
    )


def map_dangling(evidence: Evidence) -> pl.LazyFrame:
    """A mapped customer that Stripe deleted or does not know."""
    customers = evidence.facts["stripe_customers"].select("customer_id", "is_deleted", is_known=pl.lit(value=True))
    gone = (
        evidence.mapping.join(customers, on="customer_id", how="left", validate="m:1")
        .filter(pl.col("is_known").is_null() | pl.col("is_deleted").fill_null(value=False))
        .with_columns(
            is_deleted=pl.col("is_deleted").fill_null(value=False), is_known=pl.col("is_known").fill_null(value=False)
        )
    )
    return found(
        gone,
        {
            "subs_customer": {"customer_id": "customer_id"},
            "stripe": {"is_known": "is_known", "is_deleted": "is_deleted"},
        },
        object_id="customer_id",
    )


def map_duplicate_customer(evidence: Evidence) -> pl.LazyFrame:
    """Several customers for one account: wrong now if more than one of them is collected from."""
    busy = pl.concat([_with_open_invoice(evidence), _with_live_subscription(evidence)]).unique()
    several = (
        evidence.mapping.join(
            busy.with_columns(is_busy=pl.lit(value=True)), on="customer_id", how="left", validate="m:1"
        )
        .group_by("account_id")
        .agg(customers=pl.col("customer_id").sort(), busy=pl.col("customer_id").filter("is_busy").sort())
        .filter(pl.col("customers").list.len() > 1)
    )
    return found(
        several,
        {"subs_customer": {"customers": "customers"}, "stripe": {"with_open_invoice_or_live_subscription": "busy"}},
        severity=pl.when(pl.col("busy").list.len() > 1).then(pl.lit("S1")).otherwise(pl.lit("S3")),
    )


def map_shared_customer(evidence: Evidence) -> pl.LazyFrame:
    """Several accounts on one customer: a row for each."""
    shared = evidence.mapping.with_columns(accounts=pl.col("account_id").len().over("customer_id")).filter(
        pl.col("accounts") > 1
    )
    return found(
        shared, {"subs_customer": {"customer_id": "customer_id", "accounts": "accounts"}}, object_id="customer_id"
    )


def map_orphan_customer(evidence: Evidence) -> pl.LazyFrame:
    """A customer who is collected from and whom no account maps to."""
    subscriptions = _with_live_subscription(evidence).with_columns(has_live_subscription=pl.lit(value=True))
    invoices = _with_open_invoice(evidence).with_columns(has_open_invoice=pl.lit(value=True))
    orphans = (
        subscriptions.join(invoices, on="customer_id", how="full", coalesce=True)
        .join(evidence.mapping, on="customer_id", how="anti")
        .join(
            evidence.objects_with_violations("subs_customer"), left_on="customer_id", right_on="object_id", how="anti"
        )
        .with_columns(
            pl.col("has_live_subscription", "has_open_invoice").fill_null(value=False),
            account_id=pl.lit(None, pl.String()),
        )
    )
    return found(
        orphans,
        {
            "subs_customer": {"accounts": pl.lit(0)},
            "stripe": {"has_live_subscription": "has_live_subscription", "has_open_invoice": "has_open_invoice"},
        },
        object_id="customer_id",
    )


def map_metadata_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """The customer's metadata names another account than the one that maps to it."""
    named = (
        evidence.facts["stripe_customers"]
        .select("customer_id", "metadata_account_id")
        .filter(pl.col("metadata_account_id") != "")
    )
    differs = evidence.mapping.join(named, on="customer_id", how="inner").filter(
        pl.col("metadata_account_id") != pl.col("account_id")
    )
    return found(
        differs,
        {
            "subs_customer": {"account_id": "account_id"},
            "stripe": {"metadata_account_id": masked(pl.col("metadata_account_id"))},
        },
        object_id="customer_id",
    )


def acct_closed_active_sub(evidence: Evidence) -> pl.LazyFrame:
    """A closed account, or a mapped one that cf_prod does not know, still subscribes."""
    subscribed = evidence.live_subscriptions.group_by("account_id").agg(subscriptions=pl.col("subscription_id").sort())
    known = evidence.accounts.select("account_id", "account_status", is_known=pl.lit(value=True))
    wrong = (
        subscribed.join(known, on="account_id", how="left", validate="1:1")
        .filter(pl.col("is_known").is_null() | (pl.col("account_status") == "closed"))
        .with_columns(account_status=pl.col("account_status").fill_null("unknown"))
    )
    return found(wrong, {"cf_prod": {"status": "account_status"}, "stripe": {"live_subscriptions": "subscriptions"}})


def acct_flags_missing(evidence: Evidence) -> pl.LazyFrame:
    """An account of cf_prod without a row in subs_account."""
    missing = evidence.accounts.join(evidence.facts["subs_account"], on="account_id", how="anti")
    return found(missing, {"cf_prod": {"status": "account_status"}, "subs_account": {"has_row": pl.lit(value=False)}})


def acct_child_has_debt(evidence: Evidence) -> pl.LazyFrame:
    """An invoice of a child's own that is late and owed, though its parent is to be billed."""
    children = evidence.accounts.filter(pl.col("parent_account_id").is_not_null())
    debts = evidence.invoices.filter(pl.col("is_deciding"), pl.col("is_owed"), pl.col("is_late")).join(
        children, on="account_id", how="inner", validate="m:1"
    )
    return found(
        debts,
        {
            "cf_prod": {"parent_account_id": "parent_account_id"},
            "invoice": {"status": "status", "outstanding": "outstanding", "currency": "currency"},
        },
        object_id="object_id",
        at_stake=AtStake(),
    )


def _with_open_invoice(evidence: Evidence) -> pl.LazyFrame:
    return evidence.stripe_invoices.filter(pl.col("status") == "open").select("customer_id").drop_nulls().unique()


def _with_live_subscription(evidence: Evidence) -> pl.LazyFrame:
    return evidence.all_live_subscriptions.select("customer_id").drop_nulls().unique()


RULES: Final = (
    map_missing,
    map_dangling,
    map_duplicate_customer,
    map_shared_customer,
    map_orphan_customer,
    map_metadata_mismatch,
    acct_closed_active_sub,
    acct_flags_missing,
    acct_child_has_debt,
)
