"""The page of the report: tables and charts in one file that loads nothing and runs no script.

The number comes first, with its scope and whether every store was read whole; then what is open, the gravest first,
by severity and owner, with the accounts to copy; then the charts. The charts are drawn as SVG here, so that the page is
small, prints as it is shown, and can be mailed. Its style is in `report_page.css`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import polars as pl

from trueup.audit.breakdown import at_stake, by_severity, not_counted
from trueup.audit.charts import Chart, charts_of
from trueup.audit.report import Report
from trueup.drift.describe import meaning

STYLE: Final = Path(__file__).with_name("report_page.css")
ACCOUNTS_MAX: Final = 500  # of one code: the page stays under a megabyte, and findings.parquet has them all
SEVERITIES: Final = {
    "S1": "money or access is wrong now",
    "S2": "money or access will be wrong at the next cycle",
    "S3": "a record is wrong, without effect yet",
    "S4": "hygiene; not counted as a disagreement",
    "none": "a store could not be relied on",
}


def write_html(report: Report, path: Path) -> None:
    """One page with everything that the report has, loading nothing from anywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """The whole page as HTML."""
    charts = "\n".join(_figure(chart) for chart in charts_of(report))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Trueup: disagreements</title>'
        f"<style>{STYLE.read_text(encoding='utf-8')}</style></head><body>\n{_headline(report)}\n"
        f"{_money(report.findings)}\n{_open(report.findings)}\n{_not_counted(report.findings)}\n{charts}\n"
        "</body></html>\n"
    )


def _headline(report: Report) -> str:
    """The number, whose it is, and whether it can be relied on."""
    last = report.runs.row(-1, named=True)
    disagreeing = int(last["accounts_disagreeing"])
    colour = "big" if disagreeing else "big none"
    is_whole = report.wholeness == "whole"
    wholeness = "Every store was read whole." if is_whole else f"Cannot tell for all: {report.wholeness}."
    return (
        f"<h1>Disagreements between six stores</h1>\n"
        f'<p><span class="{colour}">{disagreeing:,}</span> of {last["accounts"]:,} accounts disagree '
        f"as of {last['as_of']:%Y-%m-%d %H:%M}Z</p>\n"
        f'<p class="note{"" if is_whole else " warning"}">Scope: {escape(report.scope)}. {escape(wholeness)}</p>'
    )


def _money(findings: pl.DataFrame) -> str:
    """The money behind what is open, a row per currency; currencies are never added."""
    sums = at_stake(findings)
    if sums.is_empty():
        return ""
    rows = [(row["currency"].upper(), f"{row['minor']:,}", f"{row['objects']:,}") for row in sums.to_dicts()]
    note = "An object with several findings counts once. Severities S1 to S3."
    return f"<h2>At stake</h2>\n<p>{note}</p>\n" + _table(("currency", "minor units", "objects"), rows, numbers=2)


def _open(findings: pl.DataFrame) -> str:
    """What is open: a section per severity, in it a block per code."""
    codes = by_severity(findings)
    if codes.is_empty():
        return "<h2>Open now</h2>\n<p>Nothing, or the run's folder is no longer there.</p>"
    sums = at_stake(findings, "code", "severity", "owner")
    sections = [_owners(codes)]
    for (severity,), rows in codes.group_by("severity", maintain_order=True):
        heading = f"{severity}: {SEVERITIES[str(severity)]}"
        blocks = "\n".join(_code(row, sums) for row in rows.iter_rows(named=True))
        sections.append(f'<h2 class="{severity}">{escape(heading)}</h2>\n{blocks}')
    return "\n".join(sections)


def _owners(codes: pl.DataFrame) -> str:
    """Who has to mend how much: a row per owner, a column per severity."""
    shown = [severity for severity in SEVERITIES if severity in codes["severity"].cast(pl.String)]
    per_owner = codes.group_by("owner").agg(
        pl.col("findings").filter(pl.col("severity").cast(pl.String) == severity).sum().alias(severity)
        for severity in shown
    )
    gravest_first = per_owner.sort(*shown, "owner", descending=[*(True for _ in shown), False])
    rows = [(owner, *(f"{count:,}" if count else "" for count in counts)) for owner, *counts in gravest_first.rows()]
    return "<h2>Findings by owner</h2>\n" + _table(("owner", *shown), rows, numbers=len(shown))


def _code(row: dict[str, Any], sums: pl.DataFrame) -> str:
    """One code of one owner: what it means, how much, and its accounts."""
    mine = sums.filter(
        pl.col("code") == row["code"],
        pl.col("severity") == str(row["severity"]),
        pl.col("owner") == row["owner"],
    )
    stake = ", ".join(f"{one['minor']:,} {one['currency'].upper()}" for one in mine.to_dicts())
    facts = [_count(row["findings"], "finding"), _count(row["accounts"], "account"), f"owner: {row['owner']}"]
    if stake:
        facts.append(f"at stake, minor units: {stake}")
    return (
        f'<section class="code"><h3>{escape(row["code"])}</h3>\n<p>{escape(meaning(row["code"]))}</p>\n'
        f'<p class="note">{escape(" · ".join(facts))}</p>\n{_accounts(row["account_ids"])}</section>'
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _accounts(account_ids: list[str]) -> str:
    """The accounts, one a line as `--accounts-file` reads them; one click selects them all."""
    if not account_ids:
        return ""
    more = len(account_ids) - ACCOUNTS_MAX
    note = f'<p class="note">… and {more:,} more in findings.parquet.</p>' if more > 0 else ""
    listed = escape("\n".join(account_ids[:ACCOUNTS_MAX]))
    return f"<details><summary>Accounts</summary><pre>{listed}</pre>{note}</details>"


def _not_counted(findings: pl.DataFrame) -> str:
    """What is shown and not counted, and why."""
    hidden = not_counted(findings)
    if hidden.is_empty():
        return ""
    rows = [
        (row["code"], str(row["severity"]), row["owner"], row["why"], f"{row['findings']:,}")
        for row in hidden.to_dicts()
    ]
    words = (
        "Suppressed: a store that it depends on is stale or was not read whole. "
        "Settling: a row behind it changed too shortly before it was read."
    )
    table = _table(("code", "severity", "owner", "why", "findings"), rows, numbers=1)
    return f"<h2>Not counted</h2>\n<p>{words}</p>\n{table}"


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, numbers: int) -> str:
    """A table whose last columns hold numbers."""
    words = len(headings) - numbers
    kinds = ["" if place < words else ' class="number"' for place in range(len(headings))]
    head = "".join(f"<th{kind}>{escape(text)}</th>" for kind, text in zip(kinds, headings, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _figure(chart: Chart) -> str:
    return (
        f"<figure><h2>{escape(chart.title)}</h2>\n<p>{escape(chart.words)}</p>\n"
        f'<div class="wide chart" role="img" aria-label="{escape(chart.title)}">{chart.svg()}</div></figure>'
    )
