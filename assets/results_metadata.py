"""What Dagster shows of a conclusion: the number first, what changed, charts, then owners and ages as tables.

Numbers that Dagster plots are given only where they are the tracked ones: of a reading in which every store was whole.
Otherwise the same name holds the words "cannot tell", which the plot leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from assets.lineage import FINDINGS_FROM, table_schema
from trueup.audit.conclude import Conclusion, indeterminate
from trueup.audit.judge import height
from trueup.audit.report import span
from trueup.contract.schemas import FINDINGS, STORES
from trueup.drift import by_code

SEVERITIES: Final = ("S1", "S2", "S3", "S4", "none")


def desired_metadata(conclusion: Conclusion) -> Mapping[str, Any]:
    """Accounts by desired state."""
    desired = conclusion.run.scan("desired")
    by_state = desired.group_by("state").len().sort("state").collect(engine="streaming")
    return {
        "dagster/row_count": height(desired),
        "indeterminate": height(indeterminate(desired)),
        **{f"state/{state}": tracked(conclusion, accounts) for state, accounts in by_state.iter_rows()},
    }


def implied_metadata(conclusion: Conclusion) -> Mapping[str, Any]:
    """The store x store matrix, drawn and as numbers."""
    from trueup.audit.charts import charts_of_stores, in_markdown

    matrix = conclusion.report.matrix
    return {
        "dagster/row_count": conclusion.accounts,
        "charts": dg.MetadataValue.md(in_markdown(charts_of_stores(matrix))),
        "matrix": dg.MetadataValue.md(_square(matrix)),
        **{
            f"differ/{a}/{b}": tracked(conclusion, accounts)
            for a, b, accounts in matrix.iter_rows()
            if STORES.index(a) <= STORES.index(b)
        },
    }


def findings_metadata(conclusion: Conclusion) -> Mapping[str, Any]:
    """The tracked number, in all and per code; what changed; the report's charts; owners and ages as tables."""
    from trueup.audit.charts import charts_of_findings, in_markdown

    findings, accounts, disagreeing = conclusion.findings, conclusion.accounts, conclusion.disagreeing
    tables = tables_of_findings(findings, conclusion.run.as_of)
    return {
        "accounts_disagreeing": tracked(conclusion, disagreeing),
        "summary": dg.MetadataValue.md(summary_of(conclusion)),
        "charts": dg.MetadataValue.md(in_markdown(charts_of_findings(conclusion.report))),
        "dagster/row_count": findings.height,
        "share_disagreeing": tracked(conclusion, disagreeing / accounts if accounts else 0.0),
        "settling": findings.filter("is_settling").height,
        "suppressed": findings.filter("is_suppressed").height,
        **{name: dg.MetadataValue.md(table) for name, table in tables.items()},
        # Not as dagster/column_schema: its table would push the number off the first screen of the page.
        "columns": dg.MetadataValue.table_schema(table_schema(FINDINGS, FINDINGS_FROM)),
        **{
            f"code/{row['code']}": tracked(conclusion, row["accounts"])
            for row in by_code(findings).iter_rows(named=True)
        },
    }


def tracked(conclusion: Conclusion, number: float) -> float | str:
    """The number, or why it is none: a run that could not see leaves a gap."""
    return f"cannot tell: {conclusion.wholeness}" if conclusion.broken else number


def summary_of(conclusion: Conclusion) -> str:
    """The run in a few lines: how many disagree, since when that is more or fewer, and what is at stake."""
    if conclusion.broken:
        return f"**Cannot tell** how many accounts disagree: {conclusion.wholeness}."
    lines = [f"**{conclusion.disagreeing:,}** of {conclusion.accounts:,} accounts disagree{_since_last(conclusion)}."]
    return "\n\n".join([*lines, *_at_stake(conclusion.findings)])


def change_in_words(now: int, before: int, at: datetime) -> str:
    """A number beside the one before it."""
    change = "as many as" if now == before else f"{now - before:+,} since"
    return f"{change} {at:%Y-%m-%d %H:%M}Z"


def _since_last(conclusion: Conclusion) -> str:
    runs = conclusion.report.runs.filter(pl.col("broken") == "")
    if runs.height < 2:  # noqa: PLR2004 -- this run and one before
        return ""
    before, at = runs.row(-2, named=True)["accounts_disagreeing"], runs.row(-2, named=True)["as_of"]
    return f", {change_in_words(conclusion.disagreeing, before, at)}"


def _at_stake(findings: pl.DataFrame) -> list[str]:
    """Money at stake per currency, in minor units; never added across currencies."""
    if "at_stake_minor" not in findings.columns:
        return []
    sums = (
        findings.filter(pl.col("at_stake_minor").is_not_null(), ~pl.col("is_suppressed"))
        .group_by("at_stake_currency")
        .agg(pl.col("at_stake_minor").sum())
        .sort("at_stake_currency")
    )
    amounts = ", ".join(f"{currency} {minor:,}" for currency, minor in sums.iter_rows())
    return [f"At stake, in minor units: {amounts}."] if amounts else []


def tables_of_findings(findings: pl.DataFrame, as_of: datetime) -> dict[str, str]:
    """Whose the findings are, and since when they have been found, by severity: name → Markdown."""
    return {
        "owners": _crossed(findings, "owner", pl.col("owner")),
        "ages": _crossed(findings, "first seen", span((pl.lit(as_of) - pl.col("first_seen_at")).dt.total_days())),
    }


def _crossed(findings: pl.DataFrame, title: str, by: pl.Expr) -> str:
    """Findings counted by a key and by severity, as Markdown."""
    counted = findings.group_by(by.alias("by"), "severity").len().sort("by")
    cells = {(key, severity): str(rows) for key, severity, rows in counted.iter_rows()}
    keys = counted["by"].unique(maintain_order=True).to_list()
    return _markdown([title, *SEVERITIES], [[key, *(cells.get((key, one), "0") for one in SEVERITIES)] for key in keys])


def _square(matrix: pl.DataFrame) -> str:
    """The store x store matrix as Markdown."""
    cells = {(a, b): str(accounts) for a, b, accounts in matrix.iter_rows()}
    return _markdown(["", *STORES], [[store, *(cells[store, other] for other in STORES)] for store in STORES])


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])
