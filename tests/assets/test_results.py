"""What Dagster is told of the disagreements: tables that a person reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from assets.results_metadata import tables_of_findings
from trueup.contract.schemas import FINDINGS

AS_OF = datetime(2026, 11, 20, 12, tzinfo=UTC)


def finding(owner: str, severity: str, days: int) -> dict[str, object]:
    return {"owner": owner, "severity": severity, "first_seen_at": AS_OF - timedelta(days=days)}


def test_owners_and_ages_are_told_by_severity() -> None:
    rows = [finding("A1 setup", "S1", 0), finding("A1 setup", "S1", 2), finding("A3 charges", "S3", 40)]
    findings = pl.DataFrame(rows, schema_overrides=FINDINGS)

    tables = tables_of_findings(findings, AS_OF)

    assert tables["owners"].splitlines()[2:] == [
        "| A1 setup | 2 | 0 | 0 | 0 | 0 |",
        "| A3 charges | 0 | 0 | 1 | 0 | 0 |",
    ]
    assert [line.split(" | ")[0] for line in tables["ages"].splitlines()[2:]] == [
        "| within a day",
        "| over a day ago",
        "| over 30 days ago",
    ]


def test_no_finding_gives_empty_tables() -> None:
    tables = tables_of_findings(pl.DataFrame(schema=FINDINGS), AS_OF)

    assert all(len(table.splitlines()) == 2 for table in tables.values())
