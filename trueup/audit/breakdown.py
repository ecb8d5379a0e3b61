"""Breakdown: one run's findings by code, and the money that they are about, for a report's tables.

Only counts, sums and lists of accounts are made here; charts are in `charts`, the page is in `pipelines/cli/`. Amounts
of different currencies are never added.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.schemas import FINDINGS
from trueup.contract.vocabulary import SEVERITIES
from trueup.drift import is_counted

SEVERITY_ORDER: Final = pl.Enum(SEVERITIES)
COLUMNS: Final = (
    "account_id",
    "code",
    "severity",
    "owner",
    "object_id",
    "at_stake_minor",
    "at_stake_currency",
    "is_settling",
    "is_suppressed",
)
"""The columns of `schemas.FINDINGS` that a breakdown needs."""


def no_findings() -> pl.DataFrame:
    """Findings of a run that left none, or whose folder is gone: no rows of `COLUMNS`."""
    return pl.DataFrame(schema={name: FINDINGS[name] for name in COLUMNS})


def by_severity(findings: pl.DataFrame) -> pl.DataFrame:
    """Findings by code, the gravest first: severity, owner, code, accounts, findings, account_ids.

    Those that are suppressed or settling are left out; `not_counted` has them.
    """
    return (
        findings.filter(~pl.col("is_suppressed"), ~pl.col("is_settling"))
        .group_by(pl.col("severity").cast(SEVERITY_ORDER), "owner", "code")
        .agg(
            accounts=pl.col("account_id").n_unique() - pl.col("account_id").has_nulls().cast(pl.UInt32),
            findings=pl.len(),
            account_ids=pl.col("account_id").drop_nulls().unique().sort(),
        )
        .sort("severity", "owner", "code")
    )


def at_stake(findings: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Money behind counted findings, by currency and by the columns given: currency, minor, objects.

    An object with several findings counts once, with the largest of their amounts.
    """
    per_object = (
        findings.filter(is_counted(), pl.col("at_stake_minor").is_not_null())
        .group_by(*by, "account_id", "object_id", currency="at_stake_currency")
        .agg(minor=pl.col("at_stake_minor").max())
    )
    keys = [*by, "currency"]
    return per_object.group_by(keys).agg(pl.col("minor").sum(), objects=pl.len()).sort(keys)


def not_counted(findings: pl.DataFrame) -> pl.DataFrame:
    """Findings that are shown and not counted: code, severity, owner, why (suppressed or settling), findings."""
    why = pl.when(pl.col("is_suppressed")).then(pl.lit("suppressed")).otherwise(pl.lit("settling"))
    hidden = findings.filter(pl.col("is_suppressed") | pl.col("is_settling"))
    return (
        hidden.group_by(pl.col("severity").cast(SEVERITY_ORDER), "owner", "code", why.alias("why"))
        .agg(findings=pl.len())
        .sort("severity", "owner", "code", "why")
    )
