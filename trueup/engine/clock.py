"""Clock: the day from which an invoice's debt is counted.

For a reopened invoice it is the day the money went back; for one that the customer is to pay on their own, the due
day; else the day of the first failed attempt that counts, or the day by which an attempt should have been made,
whichever is earlier. A charge-off without a clock, or with a later one, starts on the day it was written off.
"""

from __future__ import annotations

import polars as pl

from trueup.engine.local_time import plus_days, with_local_dates
from trueup.engine.payments import counts
from trueup.engine.policy import Policy


def with_clock(invoices: pl.LazyFrame, attempts: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add clock_on (the day the clock starts, which may lie ahead), failed_count, attempts, last_failure_at.

    Also the local dates of instants that later rules compare by day: finalized_on, instrument_on.
    """
    counted = (
        attempts.join(invoices.select("ref", "reversal_at"), on="ref", how="inner", validate="m:1")
        .group_by("ref")
        .agg(
            failed_count=counts().sum().cast(pl.Int64),
            first_failure_at=pl.col("attempted_at").filter(counts()).min(),
            last_failure_at=pl.col("attempted_at").filter(counts()).max(),
            attempts=pl.len().cast(pl.Int64),
        )
    )
    dated = with_local_dates(
        invoices.join(counted, on="ref", how="left", validate="1:1").with_columns(
            pl.col("failed_count", "attempts").fill_null(0)
        ),
        {
            "reversal_at": "reversal_on",
            "due_at": "due_on",
            "finalized_at": "finalized_on",
            "uncollectible_at": "uncollectible_on",
            "first_failure_at": "first_failure_on",
            "instrument_at": "instrument_on",
        },
    )
    return dated.with_columns(clock_on=_clock(policy)).with_columns(
        clock_on=pl.when("is_charged_off")
        .then(pl.min_horizontal("clock_on", "uncollectible_on"))
        .otherwise(pl.col("clock_on"))
    )


def _clock(policy: Policy) -> pl.Expr:
    no_attempt_on = plus_days(pl.col("finalized_on"), policy.no_attempt_days)
    return (
        pl.when("is_reopened")
        .then(pl.col("reversal_on"))
        .when(pl.col("collection_method") == "send_invoice")
        .then(pl.col("due_on"))
        .otherwise(pl.min_horizontal("first_failure_on", no_attempt_on))
    )


def is_late(on: pl.Expr) -> pl.Expr:
    """The clock has started by that day; a due day itself is not late."""
    is_due_day = (pl.col("collection_method") == "send_invoice").fill_null(value=False) & ~pl.col("is_reopened")
    started = pl.when(is_due_day).then(pl.col("clock_on") < on).otherwise(pl.col("clock_on") <= on)
    return started.fill_null(value=False)
