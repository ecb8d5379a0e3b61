"""Reasons: the words that say why an invoice stands where it stands.

They describe the driver, the invoice that decides its account's state. Each is one condition; all that hold are
given. The words for why an account cannot be judged, or needs no judging, are in `accounts.py`.
"""

from __future__ import annotations

import polars as pl

from trueup.engine.invoices import has_subscription_ended


def driver_reasons() -> pl.Expr:
    """The reasons of one judged invoice, as a list of words."""
    is_stuck = pl.col("is_open") & ~pl.col("is_retryable")
    in_stripe = pl.col("view") == "stripe"
    is_unusable_hard = pl.col("is_unusable_hard_now")
    reasons = {
        "past_due": (pl.col("rung") > 0) & ~pl.col("is_charged_off"),
        "charged_off": pl.col("is_charged_off"),
        "reopened": pl.col("is_reopened"),
        "exhausted": pl.col("is_exhausted") & ~pl.col("is_charged_off"),
        "held": pl.col("is_held"),
        "disputed": pl.col("is_disputed"),
        "in_flight": pl.col("is_in_flight"),
        "send_invoice": is_stuck & ~pl.col("is_automatic"),
        "no_payment_method": is_stuck & in_stripe & pl.col("payment_method_id").is_null(),
        "hard_decline": is_stuck & is_unusable_hard,
        "customer_action": is_stuck & pl.col("is_unusable_customer_action_now") & ~is_unusable_hard,
        "mandate_inactive": is_stuck & pl.col("needs_mandate") & ~pl.col("is_mandate_active"),
        "subscription_ended": is_stuck & in_stripe & has_subscription_ended(),
        "subscription_paused": is_stuck & in_stripe & (pl.col("subscription_status") == "paused"),
        "auto_advance_off": is_stuck & in_stripe & ~pl.col("auto_advance").fill_null(value=True),
    }
    words = [pl.when(holds.fill_null(value=False)).then(pl.lit(word)) for word, holds in reasons.items()]
    return pl.concat_list(words).list.drop_nulls()
