"""Source: whether the stores could be read and believed at all.

A store that is too old or was not read whole is a finding about the store, and suppresses what depends on it. A row
that breaks its contract is a finding about the row: the accounts that need it are indeterminate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from trueup.contract.rules import SENTENCES
from trueup.contract.schemas import STORES, TABLES
from trueup.drift.codes import WRITERS
from trueup.drift.evidence import FOUND, Evidence


def src_contract(evidence: Evidence) -> pl.LazyFrame:
    """A row that breaks its store's contract: one finding per account and row's key, however many rules it breaks."""
    owners = {table: WRITERS.get(table, "Stripe") for table in TABLES}
    violations = evidence.violations.sort("table", "key", "column", "rule", nulls_last=True).with_columns(
        violation=pl.struct(
            "table",
            "key",
            "column",
            "rule",
            sentence=pl.col("rule").replace(SENTENCES),
            value="observed",
        ),
        owner=pl.col("table").replace_strict(owners, return_dtype=pl.String()),
    )
    in_store_order = pl.col("store").cast(pl.Enum(STORES)).unique().sort().cast(pl.String())
    return (
        violations.group_by("account_id", object_id="key", maintain_order=True)
        .agg(
            stores=in_store_order,
            owner=pl.col("owner").unique(maintain_order=True).str.join(", "),
            violations=pl.col("violation").unique(maintain_order=True),
        )
        .with_columns(
            observed=pl.struct("violations").struct.json_encode(),
            severity=pl.lit(None, pl.String()),
            desired=pl.lit(None, pl.String()),
            at_stake_minor=pl.lit(None, pl.Int64()),
            at_stake_currency=pl.lit(None, pl.String()),
        )
        .select(FOUND)
    )


def broken_stores(broken: Mapping[str, str]) -> pl.DataFrame:
    """SRC_STALE and SRC_PARTIAL: a finding per store, of no account. Has a column `code` besides those of `FOUND`."""
    rows = sorted(broken.items())
    nothing = pl.lit(None, pl.String())
    return pl.DataFrame(rows, schema={"object_id": pl.String, "code": pl.String}, orient="row").select(
        "code",
        account_id=nothing,
        object_id="object_id",
        severity=nothing,
        observed=pl.struct(store="object_id").struct.json_encode(),
        desired=nothing,
        stores=pl.concat_list("object_id"),
        owner=nothing,
    )


RULES: Final = (src_contract,)
