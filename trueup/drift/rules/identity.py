"""Identity: whose customer is whose, and which accounts there are.

Rows of subs_customer in the policy's livemode against Stripe's customers, and accounts against the rows that speak of
them. What an account owes is not looked at here, save that a child must owe nothing of its own.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.drift.evidence import Evidence, found


def map_missing(seen: Evidence) -> pl.LazyFrame:
    """Invoices that Stripe collects, not void, and no customer for the account."""
    collected = seen.ledger.filter(
        pl.col("stripe_invoice_id").is_not_null(), (pl.col("status") != "void").fill_null(value=False)
    )
    counted = collected.filter(pl.col("account_id").is_not_null()).group_by("account_id").agg(invoices=pl.len())
    unmapped = counted.join(seen.mapping, on="account_id", how="anti").join(
        seen.unsure_accounts("subs_customer"), on="account_id", how="anti"
    )
    return found(
        unmapped,
        {"billing_prod": {"stripe_invoices": "invoices"}, "subs_customer": {"customers": pl.lit(0)}},
    )


def map_dangling(seen: Evidence) -> pl.LazyFrame:
    """A mapped customer that Stripe deleted or does not know."""
    customers = seen.facts["stripe_customers"].select("customer_id", "is_deleted", is_known=pl.lit(value=True))
    gone = (
        seen.mapping.join(customers, on="customer_id", how="left", validate="m:1")
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


def map_duplicate_customer(seen: Evidence) -> pl.LazyFrame:
    """Several customers for one account: wrong now if more than one of them is collected from."""
    busy = pl.concat([_with_open_invoice(seen), _with_live_subscription(seen)]).unique()
    several = (
        seen.mapping.join(busy.with_columns(is_busy=pl.lit(value=True)), on="customer_id", how="left", validate="m:1")
        .group_by("account_id")
        .agg(customers=pl.col("customer_id").sort(), busy=pl.col("customer_id").filter("is_busy").sort())
        .filter(pl.col("customers").list.len() > 1)
    )
    return found(
        several,
        {"subs_customer": {"customers": "customers"}, "stripe": {"with_open_invoice_or_live_subscription": "busy"}},
        severity=pl.when(pl.col("busy").list.len() > 1).then(pl.lit("S1")).otherwise(pl.lit("S3")),
    )


def map_shared_customer(seen: Evidence) -> pl.LazyFrame:
    """Several accounts on one customer: a row for each."""
    shared = seen.mapping.with_columns(accounts=pl.col("account_id").len().over("customer_id")).filter(
        pl.col("accounts") > 1
    )
    return found(
        shared, {"subs_customer": {"customer_id": "customer_id", "accounts": "accounts"}}, object_id="customer_id"
    )


def map_orphan_customer(seen: Evidence) -> pl.LazyFrame:
    """A customer who is collected from and whom no account maps to."""
    subscriptions = _with_live_subscription(seen).with_columns(has_live_subscription=pl.lit(value=True))
    invoices = _with_open_invoice(seen).with_columns(has_open_invoice=pl.lit(value=True))
    orphans = (
        subscriptions.join(invoices, on="customer_id", how="full", coalesce=True)
        .join(seen.mapping, on="customer_id", how="anti")
        .join(seen.unsure_objects("subs_customer"), left_on="customer_id", right_on="object_id", how="anti")
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


def map_metadata_mismatch(seen: Evidence) -> pl.LazyFrame:
    """The customer's metadata names another account than the one that maps to it."""
    named = (
        seen.facts["stripe_customers"]
        .select("customer_id", "metadata_account_id")
        .filter(pl.col("metadata_account_id") != "")
    )
    differs = seen.mapping.join(named, on="customer_id", how="inner").filter(
        pl.col("metadata_account_id") != pl.col("account_id")
    )
    # People write into metadata, so what looks like an address is not repeated.
    is_address = pl.col("metadata_account_id").str.contains("@", literal=True)
    named_account = pl.when(is_address).then(pl.lit("(withheld)")).otherwise(pl.col("metadata_account_id"))
    return found(
        differs,
        {"subs_customer": {"account_id": "account_id"}, "stripe": {"metadata_account_id": named_account}},
        object_id="customer_id",
    )


def acct_closed_active_sub(seen: Evidence) -> pl.LazyFrame:
    """A closed account, or a mapped one that cf_prod does not know, still subscribes."""
    subscribed = seen.live.group_by("account_id").agg(subscriptions=pl.col("subscription_id").sort())
    known = seen.accounts.select("account_id", "account_status", is_known=pl.lit(value=True))
    wrong = (
        subscribed.join(known, on="account_id", how="left", validate="1:1")
        .filter(pl.col("is_known").is_null() | (pl.col("account_status") == "closed"))
        .with_columns(account_status=pl.col("account_status").fill_null("unknown"))
    )
    return found(wrong, {"cf_prod": {"status": "account_status"}, "stripe": {"live_subscriptions": "subscriptions"}})


def acct_flags_missing(seen: Evidence) -> pl.LazyFrame:
    """An account of cf_prod without a row in subs_account."""
    missing = seen.accounts.join(seen.facts["subs_account"], on="account_id", how="anti")
    return found(missing, {"cf_prod": {"status": "account_status"}, "subs_account": {"has_row": pl.lit(value=False)}})


def acct_child_has_debt(seen: Evidence) -> pl.LazyFrame:
    """An invoice of a child's own that is late and owed, though its parent is to be billed."""
    children = seen.accounts.filter(pl.col("parent_account_id").is_not_null())
    debts = seen.invoices.filter(pl.col("is_deciding"), pl.col("is_owed"), pl.col("is_late")).join(
        children, on="account_id", how="inner", validate="m:1"
    )
    return found(
        debts,
        {
            "cf_prod": {"parent_account_id": "parent_account_id"},
            "invoice": {"status": "status", "outstanding": "outstanding", "currency": "currency"},
        },
        object_id="object_id",
    )


def _with_open_invoice(seen: Evidence) -> pl.LazyFrame:
    return seen.stripe_invoices.filter(pl.col("status") == "open").select("customer_id").drop_nulls().unique()


def _with_live_subscription(seen: Evidence) -> pl.LazyFrame:
    return seen.live_of_anyone.select("customer_id").drop_nulls().unique()


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
