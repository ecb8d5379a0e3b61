"""What the recompute should have stored for each account, under the names that the stores know.

An account's own answer was written beside its archetype; here its driver gets its id and its clock its date. A child
takes its parent's answer whole, since its invoices are billed to the parent.
"""

from __future__ import annotations

from typing import Final

import polars as pl

_FROM_PARENT: Final = (
    "state",
    "has_access",
    "driver_invoice_id",
    "clock_on",
    "stored_attempts",
    "stored_retry_at",
)


def with_stored(accounts: pl.DataFrame, bills: pl.DataFrame) -> pl.DataFrame:
    """Accounts with driver_invoice_id, clock_on, stored_attempts, stored_retry_at and parent_account_id."""
    names = bills.select("account_n", "ordinal", driver_invoice_id=pl.coalesce("stripe_invoice_id", "invoice_id"))
    named = accounts.join(
        names,
        left_on=["account_n", "driver"],
        right_on=["account_n", "ordinal"],
        how="left",
        validate="1:1",
        maintain_order="left",
    )
    own = named.with_columns(
        clock_on=pl.col("today") - pl.duration(days=pl.col("clock_days")),
        stored_attempts="attempt_count",
        stored_retry_at="next_retry_at",
    )
    return _with_parents(own)


def _with_parents(own: pl.DataFrame) -> pl.DataFrame:
    parents = own.select(
        pl.col("account_n").alias("parent_n"),
        pl.col("account_id").alias("parent_account_id"),
        *(pl.col(column).alias(f"parents_{column}") for column in _FROM_PARENT),
    )
    joined = own.join(parents, on="parent_n", how="left", validate="m:1", maintain_order="left")
    is_child = pl.col("parent_n").is_not_null()
    return joined.with_columns(
        pl.when(is_child).then(f"parents_{column}").otherwise(column).alias(column) for column in _FROM_PARENT
    ).drop(f"parents_{column}" for column in _FROM_PARENT)
