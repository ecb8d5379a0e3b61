"""Cycles and rungs: how many retries an invoice has used up, and how severe it therefore is, on any given day.

A retryable invoice uses a cycle with each failed attempt. One that cannot be retried uses them up by time, so that
nothing is suspended early and nothing sits for ever; and a new card does not undo what time used up before it came.
Every function here takes the day as a column, so that today and the days to come are judged by the same code.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.engine.clock import is_late
from trueup.engine.invoices import has_subscription_ended
from trueup.engine.local_time import days_between
from trueup.engine.payment_method import is_unusable
from trueup.engine.policy import Policy


def with_eligibility(invoices: pl.LazyFrame) -> pl.LazyFrame:
    """Add is_eligible: all that makes an invoice retryable but a usable payment method.

    An internal invoice that Stripe knows takes its counterpart's eligibility, instrument and retry schedule.
    """
    judged = invoices.with_columns(
        is_eligible=pl.when(pl.col("view") == "stripe").then(_is_chargeable()).otherwise(_is_collected())
    )
    counterparts = judged.filter(pl.col("view") == "stripe").select(
        "account_id",
        "stripe_invoice_id",
        *(pl.col(name).alias(f"counterpart_{name}") for name in _FROM_COUNTERPART),
        has_counterpart=True,
    )
    is_mirror = (pl.col("view") == "internal") & pl.col("has_counterpart").fill_null(value=False)
    return (
        judged.join(counterparts, on=["account_id", "stripe_invoice_id"], how="left", validate="m:1")
        .with_columns(
            pl.when(is_mirror).then(pl.col(f"counterpart_{name}")).otherwise(pl.col(name)).alias(name)
            for name in _FROM_COUNTERPART
        )
        .drop("has_counterpart", *(f"counterpart_{name}" for name in _FROM_COUNTERPART))
    )


_FROM_COUNTERPART: Final = (
    "is_eligible",
    "payment_method_id",
    "payment_method_type",
    "needs_mandate",
    "has_mandate",
    "is_mandate_active",
    "is_unusable_hard",
    "is_unusable_customer_action",
    "is_unusable_customer_action_if_expired",
    "expiry_on",
    "instrument_at",
    "instrument_on",
    "attempted",
    "next_payment_attempt_at",
)


def _is_collected() -> pl.Expr:
    return pl.col("is_open") & pl.col("is_automatic")


def _is_chargeable() -> pl.Expr:
    has_mandate = ~pl.col("needs_mandate") | pl.col("is_mandate_active")
    is_paused = (pl.col("subscription_status") == "paused").fill_null(value=False)
    advances = pl.col("auto_advance").fill_null(value=True)
    return (
        _is_collected()
        & pl.col("payment_method_id").is_not_null()
        & has_mandate
        & ~has_subscription_ended()
        & ~is_paused
        & advances
    )


def judged_on(rows: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Judge invoices on the day in `on`: adds is_late, is_dead_now_*, is_retryable, cycles_used, is_exhausted, rung.

    Rows carry age_days on that day and instrument_age_days, the age on the day their instrument came.
    """
    unusable_hard, unusable_customer_action = is_unusable(pl.col("on"))
    return (
        rows.with_columns(
            is_late=is_late(pl.col("on")),
            is_unusable_hard_now=unusable_hard,
            is_unusable_customer_action_now=unusable_customer_action,
        )
        .with_columns(
            is_retryable=pl.col("is_eligible")
            & ~pl.col("is_unusable_hard_now")
            & ~pl.col("is_unusable_customer_action_now")
        )
        .with_columns(cycles_used=_cycles_used(policy))
        .with_columns(is_exhausted=_is_exhausted(policy))
        .with_columns(rung=_rung(policy))
    )


def _used(age: pl.Expr, policy: Policy) -> pl.Expr:
    """Cycles that time alone has used up at an age: the first attempt and every retry that would have been due."""
    return pl.sum_horizontal(pl.lit(1), *((age >= offset).cast(pl.Int64) for offset in policy.cumulative_offsets_days))


def _cycles_used(policy: Policy) -> pl.Expr:
    came_later = (pl.col("instrument_on") > pl.col("clock_on")).fill_null(value=False)
    by_time = (
        pl.when(~pl.col("is_retryable") & pl.col("age_days").is_not_null())
        .then(_used(pl.col("age_days"), policy))
        .when(pl.col("is_retryable") & came_later)
        .then(_used(pl.col("instrument_age_days"), policy))
    )
    return pl.max_horizontal("failed_count", by_time)


def _is_exhausted(policy: Policy) -> pl.Expr:
    all_used = pl.col("cycles_used") >= policy.attempts_allowed
    if policy.retry_owner == "internal":
        return all_used
    stripe_gave_up = (
        pl.col("is_open")
        & pl.col("is_automatic")
        & pl.col("attempted").fill_null(value=False)
        & pl.col("next_payment_attempt_at").is_null()
    )
    return all_used | stripe_gave_up


def _rung(policy: Policy) -> pl.Expr:
    """How severe one invoice is, as the index of a state; the first line that holds decides."""
    age, is_exhausted = pl.col("age_days"), pl.col("is_exhausted")
    is_suspended_at_once = pl.lit(policy.hard_decline == "immediate_suspend") & pl.col("is_unusable_hard_now")
    is_nearly_out = policy.attempts_allowed - pl.col("cycles_used") <= policy.final_attempts_left
    return (
        pl.when(~pl.col("is_owed"))
        .then(0)
        .when("is_charged_off")
        .then(5)
        .when(~pl.col("is_late"))
        .then(0)
        .when(is_suspended_at_once)
        .then(4)
        .when(age < policy.grace_days)
        .then(1)
        .when(is_exhausted & (age >= policy.bad_debt_days))
        .then(5)
        .when(is_exhausted & (age >= policy.suspend_min_days) & _has_had_notice(policy))
        .then(4)
        .when(is_exhausted | ~pl.col("is_retryable") | is_nearly_out | (age >= policy.final_notice_days))
        .then(3)
        .otherwise(2)
        .cast(pl.Int8)
    )


def _has_had_notice(policy: Policy) -> pl.Expr:
    """No final notice is required, or one was sent for this debt long enough ago."""
    if not policy.require_final_notice:
        return pl.lit(value=True)
    sent_on = pl.col("notice_sent_on")
    is_for_this = sent_on >= pl.col("clock_on")
    return (is_for_this & (days_between(sent_on, pl.col("on")) >= policy.min_notice_days)).fill_null(value=False)
