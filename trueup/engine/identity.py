"""Identity: which Stripe customers are an account's, and whose result a child takes.

Nothing in the stores is unique, so a mapping is what the rows of subs_customer in the policy's livemode say, and it
may be missing, several, or shared. That is found out here; what follows from it is decided in `accounts.py`.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from trueup.engine.facts import Facts
from trueup.engine.local_time import with_local_dates


def problems(mapping: pl.LazyFrame) -> pl.LazyFrame:
    """account_id, has_several_customers, has_shared_customer: for accounts that have a mapping."""
    shares = mapping.group_by("customer_id").agg(has_shared_customer=pl.len() > 1)
    return (
        mapping.join(shares, on="customer_id", how="left", validate="m:1")
        .group_by("account_id")
        .agg(has_several_customers=pl.len() > 1, has_shared_customer=pl.col("has_shared_customer").any())
    )


def accounts(facts: Facts) -> pl.LazyFrame:
    """One row per account of cf_prod, with what holds for all its invoices.

    account_id, parent_account_id, has_parent_resolved, timezone, today, is_exempt, hold_from_on, hold_until_on,
    notice_sent_on, has_no_mapping, has_several_customers, has_shared_customer.
    """
    known = facts["accounts"].select(
        "account_id",
        "parent_account_id",
        "plan_code",
        "country",
        "currency",
        account_status="status",
        timezone=pl.col("timezone").fill_null(facts.policy.timezone),
        today_at=pl.lit(facts.as_of),
    )
    dated = with_local_dates(
        known.join(_flags(facts), on="account_id", how="left", validate="1:1")
        .join(_notices(facts), on="account_id", how="left", validate="1:1")
        .with_columns(_when_past("hold_from", facts.as_of), _when_past("final_notice_sent_at", facts.as_of)),
        {
            "today_at": "today",
            "hold_from": "hold_from_on",
            "hold_until": "hold_until_on",
            "final_notice_sent_at": "notice_sent_on",
        },
    )
    identified = dated.join(problems(facts.mapping), on="account_id", how="left", validate="1:1").with_columns(
        has_no_mapping=pl.col("has_several_customers").is_null(),
        has_several_customers=pl.col("has_several_customers").fill_null(value=False),
        has_shared_customer=pl.col("has_shared_customer").fill_null(value=False),
    )
    return identified.join(_parents(known), on="parent_account_id", how="left", validate="m:1").with_columns(
        is_exempt=pl.col("dunning_exempt").fill_null(value=False),
        has_parent_resolved=pl.col("has_parent_resolved").fill_null(value=False),
    )


def _flags(facts: Facts) -> pl.LazyFrame:
    return facts["subs_account"].select("account_id", "dunning_exempt", "hold_from", "hold_until")


def _notices(facts: Facts) -> pl.LazyFrame:
    return facts["subs_dunning"].select("account_id", "final_notice_sent_at")


def _when_past(instant: str, as_of: datetime) -> pl.Expr:
    """The instant if it has come: a hold that begins later, or a letter sent later, does not exist."""
    return pl.when(pl.col(instant) <= as_of).then(pl.col(instant)).alias(instant)


def _parents(known: pl.LazyFrame) -> pl.LazyFrame:
    """Accounts by the name their children use. A parent that has a parent (itself, in a cycle) resolves nothing."""
    return known.select(parent_account_id="account_id", has_parent_resolved=pl.col("parent_account_id").is_null())
