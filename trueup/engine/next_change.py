"""Next change: the first day on which the state would differ if no new fact came.

Only time moves, so an invoice can change only on a few days: when it becomes late, when its age reaches a number that
the policy names, when a card's date passes, when a notice is old enough. Those days are worked out, each account is
judged again on all of its own, and the first on which its state differs is the answer.
"""

from __future__ import annotations

import polars as pl

from trueup.engine.holds import FAR
from trueup.engine.local_time import days_between, plus_days
from trueup.engine.policy import Policy


def candidate_days(invoices: pl.LazyFrame, held: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """account_id, on: the days after today on which an invoice of the account may change rung.

    `invoices` are owed ones with ref, today, clock_on, expiry_on, notice_sent_on; `held` their merged hold_intervals.
    """
    ageing = invoices.filter(pl.col("clock_on").is_not_null())
    days = [
        ageing.select("account_id", "today", on="clock_on"),
        ageing.select("account_id", "today", on=plus_days(pl.col("clock_on"), 1)),
        _days_of_age(ageing, held, policy),
        invoices.select("account_id", "today", on="expiry_on"),
        invoices.select("account_id", "today", on=plus_days(pl.col("notice_sent_on"), policy.min_notice_days)),
    ]
    return (
        pl.concat(days).filter(pl.col("on") > pl.col("today"), pl.col("on") < FAR).select("account_id", "on").unique()
    )


def _days_of_age(ageing: pl.LazyFrame, held: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """The day on which each invoice reaches each age that matters, with the held days before it added."""
    thresholds = pl.LazyFrame({"age": sorted(_ages(policy))}, schema={"age": pl.Int64()})
    start = pl.max_horizontal("start_on", "clock_on")
    hold_intervals = (
        held.join(ageing.select("ref", "clock_on"), on="ref", how="inner", validate="m:1")
        .with_columns(start_on=start, length=days_between(start, pl.col("end_on")))
        .filter(pl.col("length") > 0)
        .sort("ref", "start_on")
        .with_columns(before=pl.col("length").cum_sum().over("ref") - pl.col("length"))
        .select("ref", "length", age_at_start=days_between(pl.col("clock_on"), pl.col("start_on")) - pl.col("before"))
    )
    delayed = (
        hold_intervals.join(thresholds, how="cross")
        .filter(pl.col("age_at_start") < pl.col("age"))
        .group_by("ref", "age")
        .agg(held_days=pl.col("length").sum())
    )
    return (
        ageing.join(thresholds, how="cross")
        .join(delayed, on=["ref", "age"], how="left", validate="1:1")
        .with_columns(wait=pl.col("age") + pl.col("held_days").fill_null(0))
        .filter(pl.col("wait") < days_between(pl.col("clock_on"), pl.lit(FAR)))
        .select("account_id", "today", on=plus_days(pl.col("clock_on"), pl.col("wait")))
    )


def _ages(policy: Policy) -> set[int]:
    """Every age in days at which something may change."""
    by_ladder = {step.when.age_days_gte for step in policy.ladder or []} - {None}
    built_in = {policy.grace_days, policy.suspend_min_days, policy.bad_debt_days, policy.final_notice_days}
    return {age for age in built_in | {*policy.cumulative_offsets_days} | by_ladder if age is not None}


def first_change(now: pl.LazyFrame, later: pl.LazyFrame, days: pl.LazyFrame) -> pl.LazyFrame:
    """account_id, next_change_on: the first of `days` on which the state of `later` differs from that of `now`."""
    return (
        days.join(later.select("account_id", "on", later="state"), on=["account_id", "on"], how="left", validate="1:1")
        .join(now.select("account_id", now="state"), on="account_id", how="left", validate="m:1")
        .filter(pl.col("later").fill_null(0) != pl.col("now").fill_null(0))
        .group_by("account_id")
        .agg(next_change_on=pl.col("on").min())
    )
