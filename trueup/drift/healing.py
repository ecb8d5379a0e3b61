"""Healing: which findings a run that does not report them could have seen.

"A finding heals only in a run that could have seen it and did not: its account determinate, its stores whole, its scope
the run's" (docs/contract/FINDINGS.md). What a code depends on stands with the code (`codes.py`). A run that cannot see
what a finding depends on says nothing about it, so growing doubt never heals: an indeterminate account, a store that
was not read whole, a broken row in a store that the code compares. Which findings are in a run's scope, and what
happens to one that healed, is the history's business (`stores/auditor/history.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from trueup.contract.sweep import VIOLATIONS
from trueup.drift.codes import CODES

_IDENTITY: Final = ("account_id", "code", "object_id")


@dataclass(frozen=True)
class Sight:
    """What a run could not see, and what it saw without confirming it.

    indeterminate: account_id, in either reading. violations: contract.VIOLATIONS of both readings. broken_stores: not
    read whole, or stale. sighted: account_id, code, object_id of what any reading found, confirmed or not.
    """

    indeterminate: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"account_id": pl.String}))
    violations: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=VIOLATIONS))
    broken_stores: Collection[str] = ()
    sighted: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=dict.fromkeys(_IDENTITY, pl.String)))


def healed(unreported: pl.DataFrame, sight: Sight) -> pl.DataFrame:
    """The rows of `unreported` (account_id, code, object_id, stores, …) that the run could have seen and did not.

    Args:
        unreported: open findings of the run's scope that its result does not have.
        sight: what the run could not see.

    Returns:
        Some of the rows, with their columns.
    """
    dependent = unreported.with_row_index("row").join(_codes(sight.broken_stores), on="code", how="inner")
    is_whole = ~pl.col("needs_broken_store") & (
        pl.col("stores").list.set_intersection(sorted(sight.broken_stores)).list.len() == 0
    ).fill_null(value=True)
    visible = (
        dependent.filter(is_whole)
        .join(sight.indeterminate, on="account_id", how="anti")
        .join(sight.sighted, on=list(_IDENTITY), how="anti", nulls_equal=True)
    )
    visible = visible.join(_hidden(visible, sight.violations), on="row", how="anti")
    return visible.select(unreported.columns)


def _codes(broken_stores: Collection[str]) -> pl.DataFrame:
    """code, needs_broken_store: of the codes that audits find; others no audit can heal."""
    audited = [code for code in CODES.values() if code.is_found_by_audits]
    return pl.DataFrame(
        {
            "code": [code.code for code in audited],
            "needs_broken_store": [not set(code.stores_to_heal).isdisjoint(broken_stores) for code in audited],
        }
    )


def _hidden(spells: pl.DataFrame, violations: pl.DataFrame) -> pl.DataFrame:
    """row: of findings that a broken row may hide, by its account, its object or the invoice it concerns."""
    needed = pl.DataFrame(
        [(code.code, table) for code in CODES.values() for table in code.tables_to_heal],
        schema={"code": pl.String, "table": pl.String},
        orient="row",
    )
    depends = spells.select("row", "code", "account_id", "object_id").join(needed, on="code", how="inner")
    by_account = depends.join(violations, on=["table", "account_id"], how="semi", nulls_equal=True)
    by_object = [
        depends.join(violations.filter(pl.col(column).is_not_null()), left_on=["table", "object_id"],
                     right_on=["table", column], how="semi")
        for column in ("object_id", "key", "invoice_id")
    ]  # fmt: skip
    return pl.concat([by_account, *by_object]).select("row").unique()
