"""Fingerprints: a hash of the facts that an account's answer was made from.

Two runs that give an account the same fingerprint judged the same facts by the same policy; only the day may differ.
Rows are hashed one by one and added, so neither their order nor their chunks matter.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.engine.policy import Policy

_OF_ACCOUNT: Final = (
    "timezone",
    "parent_account_id",
    "has_parent_resolved",
    "is_exempt",
    "hold_from_on",
    "hold_until_on",
    "notice_sent_on",
    "has_no_mapping",
    "has_several_customers",
    "has_shared_customer",
)
_OF_INVOICE: Final = (
    "view",
    "invoice_id",
    "is_deciding",
    "status",
    "currency",
    "outstanding",
    "is_owed",
    "collection_method",
    "clock_on",
    "finalized_on",
    "failed_count",
    "last_failure_at",
    "reversal_at",
    "subscription_status",
    "auto_advance",
    "is_eligible",
    "payment_method_id",
    "needs_mandate",
    "is_mandate_active",
    "instrument_at",
    "is_unusable_hard",
    "is_unusable_customer_action",
    "is_unusable_customer_action_if_expired",
    "expiry_on",
    "attempted",
    "next_payment_attempt_at",
)
_SEEDS: Final = (0x5EED, 0xFACE)


def input_hashes(
    accounts: pl.LazyFrame,
    invoices: pl.LazyFrame,
    hold_intervals: pl.LazyFrame,
    asked: pl.LazyFrame,
    policy: Policy,
) -> pl.LazyFrame:
    """account_id, input_hash: two 64-bit sums and the policy's version.

    `asked` (account_id, fact) is what else the policy's ladder asks about.
    """
    held = hold_intervals.join(invoices.select("ref", "account_id", "object_id"), on="ref", how="inner", validate="m:1")
    rows = pl.concat(
        [
            accounts.select("account_id", *_hashed(_OF_ACCOUNT)),
            invoices.select("account_id", *_hashed(_OF_INVOICE)),
            held.select("account_id", *_hashed(("object_id", "kind", "start_on", "end_on"))),
            asked.select("account_id", *_hashed(("fact",))),
        ]
    )
    return (
        rows.group_by("account_id")
        .agg(pl.col(f"hash_{seed}").sum() for seed in _SEEDS)
        .select(
            "account_id",
            input_hash=pl.concat_str(
                *(pl.col(f"hash_{seed}").cast(pl.String()) for seed in _SEEDS), pl.lit(policy.version), separator="-"
            ),
        )
    )


def _hashed(columns: tuple[str, ...]) -> list[pl.Expr]:
    row = pl.struct(pl.col(column).cast(pl.String()) for column in columns)
    return [row.hash(seed).alias(f"hash_{seed}") for seed in _SEEDS]
