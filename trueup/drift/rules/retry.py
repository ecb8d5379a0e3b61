"""Retries and mandates: whether the machine tries when it should, and never when it must not.

The schedule that the engine derives against the attempts that were made, our schedule against Stripe's, and our copy
of a mandate against Stripe's own. Attempts behind schedule are found here and never count as exhausted cycles.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.contract.masking import described
from trueup.contract.vocabulary import NETWORK_STATUS_TYPE
from trueup.drift.evidence import AtStake, Evidence, found


def retry_schedule_stalled(evidence: Evidence) -> pl.LazyFrame:
    """The next retry was due more than a day ago. A child's retry is its parent's, and reported there."""
    children = evidence.accounts.filter(pl.col("parent_account_id").is_not_null())
    stalled = (
        evidence.judged.desired.lazy()
        .filter(pl.col("next_retry_at") < evidence.as_of - timedelta(hours=24))
        .join(children, on="account_id", how="anti")
    )
    return found(
        evidence.with_outstanding(stalled.with_columns(object_id="driver_invoice_id")),
        {"billing_prod": {"attempt_count": "attempt_count"}},
        object_id="driver_invoice_id",
        desired={"next_retry_at": "next_retry_at"},
        at_stake=AtStake(),
    )


def retry_on_hard_decline(evidence: Evidence) -> pl.LazyFrame:
    """An attempt on a payment method that had been declined for good, on whatever invoice of the account."""
    attempts = evidence.attempts.filter(pl.col("view") == "stripe", pl.col("payment_method_id").is_not_null())
    refused = (
        attempts.filter(pl.col("decline_class") == "hard")
        .group_by("account_id", "payment_method_id")
        .agg(declined_at=pl.col("attempted_at").min())
    )
    again = (
        attempts.join(refused, on=["account_id", "payment_method_id"], how="inner", validate="m:1")
        .filter(pl.col("attempted_at") > pl.col("declined_at"))
        .sort("attempted_at", "charge_id")
        .group_by("account_id", "object_id", maintain_order=True)
        .agg(
            pl.col("payment_method_id", "declined_at").first(), attempts=pl.col("charge_id").unique(maintain_order=True)
        )
    )
    return found(
        evidence.with_outstanding(again),
        {"stripe": {name: name for name in ("payment_method_id", "declined_at", "attempts")}},
        object_id="object_id",
        at_stake=AtStake(),
    )


def retry_double_owner(evidence: Evidence) -> pl.LazyFrame:
    """We have a retry scheduled for an open invoice, and Stripe means to try as well."""
    stripes = evidence.stripe_invoices.filter(
        pl.col("status") == "open", pl.col("next_payment_attempt_at").is_not_null()
    ).select(stripe_invoice_id="invoice_id", next_payment_attempt_at="next_payment_attempt_at")
    both = (
        _scheduled(evidence)
        .filter(pl.col("owner") == "internal")
        .join(stripes, on="stripe_invoice_id", how="inner", validate="m:1")
        .group_by("account_id", "object_id")
        .agg(pl.col("retry_at", "next_payment_attempt_at").min())
    )
    return found(
        evidence.with_outstanding(both),
        {"billing_prod": {"retry_at": "retry_at"}, "stripe": {"next_payment_attempt_at": "next_payment_attempt_at"}},
        object_id="object_id",
        at_stake=AtStake(),
    )


def retry_on_settled(evidence: Evidence) -> pl.LazyFrame:
    """A retry is scheduled for an invoice that the view which decides it has done with."""
    stripes = evidence.stripe_invoices.select(stripe_invoice_id="invoice_id", stripe_status="status")
    is_outside = pl.col("stripe_invoice_id").is_null()
    settled = (
        _scheduled(evidence)
        .join(stripes, on="stripe_invoice_id", how="left", validate="m:1")
        .with_columns(deciding=pl.when(is_outside).then(pl.col("status")).otherwise(pl.col("stripe_status")))
        .filter(pl.col("deciding").is_in(["paid", "void", "uncollectible"]))
        .group_by("account_id", "object_id")
        .agg(pl.col("retry_at").min(), pl.col("deciding").first())
    )
    return found(
        evidence.with_outstanding(settled),
        {"billing_prod": {"retry_at": "retry_at"}, "invoice": {"status": "deciding"}},
        object_id="object_id",
        at_stake=AtStake(),
    )


def no_attempt_made(evidence: Evidence) -> pl.LazyFrame:
    """Open, owed, to be charged automatically, and nobody ever tried: not even no_attempt_days after it was finalized.

    Without an attempt the clock starts no_attempt_days after finalization, so "longer ago" is: after the clock's day.
    """
    with_violations = evidence.accounts_with_violations("charges", "stripe_charges", "stripe_invoice_payments")
    waiting = evidence.invoices.filter(
        pl.col("is_deciding"),
        pl.col("is_owed"),
        pl.col("status") == "open",
        pl.col("collection_method") == "charge_automatically",
        pl.col("attempts") == 0,
        pl.col("clock_on") < pl.col("today"),
    ).join(with_violations, on="account_id", how="anti")
    return found(
        waiting,
        {"invoice": {"view": "view", "finalized_at": "finalized_at", "attempts": "attempts"}},
        object_id="object_id",
        at_stake=AtStake(),
    )


def decline_code_unmapped(evidence: Evidence) -> pl.LazyFrame:
    """An attempt failed with codes, and the policy's table knows none of them."""
    unmapped = evidence.attempts.filter("is_deciding", "has_code", ~pl.col("has_known_code")).with_columns(
        provider_id=pl.coalesce("stripe_charge_id", "charge_id")
    )
    return found(
        unmapped,
        {"attempt": {"view": "view", "invoice_id": "object_id", "decline_code": described(pl.col("decline_code"))}},
        object_id="provider_id",
    )


def man_status_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """Our copy of a mandate says something else than Stripe's mandate: worst where ours says active."""
    theirs = (
        evidence.facts["stripe_mandates"]
        .filter(evidence.is_our_mode)
        .select(
            "payment_method_type",
            stripe_mandate_id="mandate_id",
            stripe_status="status",
            stripe_network_status="network_status",
        )
    )
    has_network_status = (pl.col("payment_method_type") == NETWORK_STATUS_TYPE).fill_null(value=False)
    network_differs = has_network_status & pl.col("network_status").ne_missing(pl.col("stripe_network_status"))
    differs = (
        evidence.facts["subs_mandate"]
        .join(theirs, on="stripe_mandate_id", how="inner", validate="m:1")
        .join(
            evidence.objects_with_violations("subs_mandate"),
            left_on="stripe_mandate_id",
            right_on="object_id",
            how="anti",
        )
        .join(
            evidence.objects_with_violations("stripe_mandates"),
            left_on="stripe_mandate_id",
            right_on="object_id",
            how="anti",
        )
        .filter(pl.col("status").ne_missing(pl.col("stripe_status")) | network_differs)
    )
    return found(
        differs,
        {
            "subs_dunning": {"status": "status", "network_status": "network_status"},
            "stripe": {"status": "stripe_status", "network_status": "stripe_network_status"},
        },
        object_id="stripe_mandate_id",
        desired={"status": "stripe_status", "network_status": "stripe_network_status"},
        severity=pl.when(pl.col("status") == "active").then(pl.lit("S1")).otherwise(pl.lit("S3")),
    )


def man_missing(evidence: Evidence) -> pl.LazyFrame:
    """The instrument of an open invoice needs a mandate, and we know none for it."""
    known = evidence.facts["subs_mandate"].select(payment_method_id="stripe_payment_method_id").drop_nulls()
    unknown = (
        evidence.invoices.filter(
            evidence.is_our_mode,
            pl.col("view") == "stripe",
            pl.col("status") == "open",
            pl.col("needs_mandate").fill_null(value=False),
        )
        .join(known, on="payment_method_id", how="anti")
        .join(evidence.accounts_with_violations("subs_mandate"), on="account_id", how="anti")
    )
    return found(
        unknown,
        {
            "subs_dunning": {"mandates": pl.lit(0)},
            "stripe": {"payment_method_id": "payment_method_id", "type": "payment_method_type"},
        },
        object_id="object_id",
        at_stake=AtStake(),
    )


def _scheduled(evidence: Evidence) -> pl.LazyFrame:
    """Retries that billing_prod still has scheduled, with their invoice: its account, ids and status."""
    schedules = (
        evidence.facts["schedules"].filter(pl.col("status") == "scheduled").select("invoice_id", "owner", "retry_at")
    )
    invoices = evidence.internal_invoices.select("account_id", "invoice_id", "stripe_invoice_id", "object_id", "status")
    return schedules.join(invoices, on="invoice_id", how="inner", validate="m:1")


RULES: Final = (
    retry_schedule_stalled,
    retry_on_hard_decline,
    retry_double_owner,
    retry_on_settled,
    no_attempt_made,
    decline_code_unmapped,
    man_status_mismatch,
    man_missing,
)
