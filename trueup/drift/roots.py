"""Roots and consequences: of an account's findings, the one that explains the others.

The root is the finding whose category comes first; ties go by severity, code and object. The others name its code in
`caused_by`, so that one stale webhook reads as one story. Findings of no account are each their own root.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.vocabulary import SEVERITIES
from trueup.drift.codes import CATEGORIES, CODES

_PLACE: Final = {code.code: CATEGORIES.index(code.category) for code in CODES.values()}
_WEIGHT: Final = {severity: place for place, severity in enumerate(SEVERITIES)}


def with_roots(findings: pl.DataFrame) -> pl.DataFrame:
    """Set is_root and caused_by by account_id, code, severity and object_id; the order of rows changes."""
    ordered = (
        findings.drop("is_root", "caused_by", strict=False)
        .with_columns(
            place=pl.col("code").replace_strict(_PLACE, return_dtype=pl.Int64()),
            weight=pl.col("severity").replace_strict(_WEIGHT, return_dtype=pl.Int64()),
        )
        .sort("place", "weight", "code", "object_id", nulls_last=False)
    )
    of_account = pl.col("account_id").is_not_null()
    is_first = pl.int_range(pl.len()).over("account_id") == 0
    root = pl.col("code").first().over("account_id")
    return ordered.with_columns(
        is_root=~of_account | is_first, caused_by=pl.when(of_account & ~is_first).then(root)
    ).drop("place", "weight")
