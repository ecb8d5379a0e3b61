"""The report on the screen: the same numbers as the page, for those who are in a terminal anyway."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from rich.console import Console

from pipelines.cli.screen import SEVERITY_STYLE, matrix_table, plain_table
from trueup.audit.report import Report

RUNS_SHOWN = 12


def show_report(out: Console, report: Report, path: Path | None = None) -> None:
    """Runs, the latest one by code with ages, and the matrix."""
    table = plain_table(
        f"Accounts that disagree, run by run ({report.scope})", ("as of",), ("accounts", "disagree", "findings")
    )
    for row in report.runs.tail(RUNS_SHOWN).iter_rows(named=True):
        counts = (row["accounts"], row["accounts_disagreeing"], row["findings"])
        table.add_row(f"{row['as_of']:%Y-%m-%d %H:%M}Z", *(f"{count:,}" for count in counts))
    out.print(table)
    out.print(latest_table(report))
    if report.matrix.height:
        out.print(matrix_table(report.matrix))
    if path is not None:
        out.print(f"Wrote {path}; open it in a browser.")


def latest_table(report: Report) -> object:
    """The latest run by code, with how long the oldest of its findings has been open."""
    oldest = report.ages.group_by("code").agg(pl.col("age_days").max())
    table = plain_table("\nThe latest run", ("code", "severity", "owner"), ("accounts", "findings", "oldest, days"))
    for row in report.latest.join(oldest, on="code", how="left").iter_rows(named=True):
        style = SEVERITY_STYLE.get(row["severity"], "dim")
        age = "" if row["age_days"] is None else str(row["age_days"])
        counts = (f"{row['accounts']:,}", f"{row['findings']:,}", age)
        table.add_row(row["code"], f"[{style}]{row['severity']}[/]", row["owner"], *counts)
    return table
