"""Fingerprints: a hash of the facts that an account's answer was made from.

Two runs that give an account the same fingerprint judged the same facts by the same policy; only the day may differ.
The hash is a stated one over stated bytes, so that it outlives any library's version; neither the order of rows nor
their chunks matter. Which facts an answer is made from is the business of the rules; here they are listed.
"""

from __future__ import annotations

from hashlib import blake2b
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
_FIELDS_APART: Final = "\x1f"  # unit separator
_ROWS_APART: Final = "\x1e"  # record separator
_NULL: Final = "\x00"  # no text of PostgreSQL's or Stripe's holds it, so null and "" differ
_DIGEST_BYTES: Final = 16


def input_hashes(
    accounts: pl.LazyFrame,
    invoices: pl.LazyFrame,
    hold_intervals: pl.LazyFrame,
    ladder_facts: pl.LazyFrame,
    policy: Policy,
) -> pl.LazyFrame:
    """account_id, input_hash: 32 hexadecimal digits, BLAKE2b-128 (RFC 7693) over the account's facts as bytes.

    The bytes are UTF-8: a line for each row, its kind and its columns in the order given above, lines in order of their
    text, then the policy's version. Dates are ISO 8601, instants microseconds since 1970, flags true and false.
    `ladder_facts` (account_id, fact) is what else the policy's ladder looks at.
    """
    held = hold_intervals.join(invoices.select("ref", "account_id", "object_id"), on="ref", how="inner", validate="m:1")
    rows = pl.concat(
        [
            _lines("account", accounts, _OF_ACCOUNT),
            _lines("invoice", invoices, _OF_INVOICE),
            _lines("held", held, ("object_id", "kind", "start_on", "end_on")),
            _lines("ladder", ladder_facts, ("fact",)),
        ]
    )
    return (
        rows.group_by("account_id")
        .agg(pl.col("line").sort())
        .select(
            "account_id",
            input_hash=pl.col("line")
            .list.join(_ROWS_APART)
            .map_batches(lambda texts: _digests(texts, policy.version), return_dtype=pl.String()),
        )
    )


def _digests(texts: pl.Series, version: str) -> pl.Series:
    """Python is called once an account: Polars has no hash that is stated, and its own may change with its version."""
    policy = f"{_ROWS_APART}{version}".encode()
    hashes = [blake2b(text.encode() + policy, digest_size=_DIGEST_BYTES).hexdigest() for text in texts]
    return pl.Series(texts.name, hashes, dtype=pl.String())


def _lines(kind: str, frame: pl.LazyFrame, columns: tuple[str, ...]) -> pl.LazyFrame:
    """account_id, line: the columns of each row as one text."""
    schema = frame.collect_schema()
    fields = [pl.lit(kind), *(_field(column, schema[column]) for column in columns)]
    return frame.select("account_id", line=pl.concat_str(fields, separator=_FIELDS_APART))


def _field(column: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        value = value.dt.epoch("us")
    elif isinstance(dtype, pl.Date):
        value = value.dt.to_string("%Y-%m-%d")
    return value.cast(pl.String()).fill_null(_NULL)
