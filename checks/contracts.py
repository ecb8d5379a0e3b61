"""Contracts: rows keep what their store promises.

One check per store over the violations that the sweep found. The rules themselves, and what becomes of a row that
breaks one, are in `trueup/contract/rules.py`; here they are only counted and shown, by key and rule.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from checks.judging import cannot_tell, run_of_check, run_to_check
from trueup.audit.gather import ScopeReading
from trueup.contract.schemas import STORES
from trueup.stores.settings import Settings

ROWS_SHOWN = 20


def contract_check(store: str) -> dg.AssetChecksDefinition:
    """The check of one store's contract."""

    @dg.asset_check(
        asset="facts",
        name=f"rows_of_{store}_keep_their_contract",
        description=f"Every row of {store} is one it may hold.",
    )
    def rows_keep_their_contract(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> dg.AssetCheckResult:
        run = run_to_check(context, settings, "facts")
        fault = ScopeReading.at(run.initial).reads[store].fault
        if fault:
            return cannot_tell(fault, run_of_check(run))
        return judge_contract(run.read("contract_violations").filter(pl.col("store") == store), run_of_check(run))

    return rows_keep_their_contract


def judge_contract(violations: pl.DataFrame, metadata: Mapping[str, Any] | None = None) -> dg.AssetCheckResult:
    """Whether there is no violation; the first of them by table, key and rule; how many by rule."""
    by_rule = dict(violations.group_by("rule").len().iter_rows())
    shown = violations.select("table", "key", "column", "rule").cast(pl.String()).head(ROWS_SHOWN)
    return dg.AssetCheckResult(
        passed=violations.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{violations.height:,} rows break a rule",
        metadata={
            "contract_violations": violations.height,
            **{f"rule/{rule}": rows for rule, rows in by_rule.items()},
            "rows": dg.MetadataValue.md(_markdown_table(shown)),
            **(metadata or {}),
        },
    )


def _markdown_table(frame: pl.DataFrame) -> str:
    lines = [" | ".join(frame.columns), " | ".join("---" for _ in frame.columns)]
    lines += [" | ".join("" if value is None else value for value in row) for row in frame.iter_rows()]
    return "\n".join(f"| {line} |" for line in lines)


CONTRACT_CHECKS = [contract_check(store) for store in STORES]
