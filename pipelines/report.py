"""The report: disagreements over time, to look at and not to read.

What is shown comes from the history in schema trueup, and the store x store matrix from the latest audit that is still
in the home folder. Runs over different accounts are never put on one line: the report is about the runs of one scope,
the fleet's if there are any. The page is one file that loads nothing from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from dunning.drift import CODES, store_matrix
from stores.errors import TrueupError
from stores.history import disagreements_over_time, open_findings, runs_over_time
from stores.runs import read_frame, run_folder
from stores.settings import Settings

RUNS_SHOWN = 100


class NothingToReport(TrueupError):
    """No audit was ever recorded."""


@dataclass(frozen=True)
class Report:
    """The frames behind the pictures.

    runs: number, as_of, accounts, accounts_disagreeing. by_code: number, as_of, code, category, severity, owner,
    accounts, findings. ages: code, severity, owner, age_days, findings. matrix: store_a, store_b, accounts.
    """

    scope: str
    runs: pl.DataFrame
    by_code: pl.DataFrame
    ages: pl.DataFrame
    matrix: pl.DataFrame

    def as_json(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "runs": self.runs.to_dicts(),
            "by_code": self.by_code.to_dicts(),
            "ages": self.ages.to_dicts(),
            "matrix": self.matrix.to_dicts(),
        }


def gather_report(settings: Settings) -> Report:
    """What the history has to show.

    Raises:
        NothingToReport: there is no audit in it.
        StoreError: schema trueup is not there, or cannot be read.
    """
    runs = runs_over_time(settings, runs=RUNS_SHOWN)
    if runs.is_empty():
        raise NothingToReport("the history has no audit yet.", "`trueup audit` makes one.")
    fleet = runs.filter(pl.col("scope") == "fleet")
    shown = fleet if fleet.height else runs.filter(pl.col("scope_key") == runs["scope_key"][-1])
    history = disagreements_over_time(settings, runs=RUNS_SHOWN).filter(
        pl.col("run_id").is_in(shown["run_id"].to_list())
    )
    return Report(
        scope=str(shown["scope"][-1]),
        runs=shown.select("run_id", "number", "as_of", "accounts", "accounts_disagreeing", "findings"),
        by_code=_by_code(history),
        ages=_ages(open_findings(settings), shown),
        matrix=_matrix(settings, shown["run_id"].to_list()),
    )


def write_html(report: Report, path: Path) -> None:
    """One page with every picture, loading nothing from anywhere."""
    from pipelines.report_pictures import page

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(report), encoding="utf-8")


def _by_code(history: pl.DataFrame) -> pl.DataFrame:
    """One row per run and code. A finding counts in every pair of its stores, so the largest pair is the count."""
    if history.is_empty():
        return pl.DataFrame(schema=_BY_CODE)
    category = {code.code: code.category for code in CODES.values()}
    per_severity = history.group_by("number", "as_of", "code", "severity", "owner").agg(
        pl.col("accounts").max(), pl.col("findings").max()
    )
    return (
        per_severity.with_columns(
            category=pl.col("code").replace_strict(category, default="", return_dtype=pl.String())
        )
        .select(pl.col(name).cast(dtype) for name, dtype in _BY_CODE.items())
        .sort("number", "code", "severity")
    )


def _ages(findings: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Findings that are open, by code and how long they have been."""
    if findings.is_empty():
        return pl.DataFrame(schema=_AGES)
    now = runs["as_of"].max()
    aged = findings.with_columns(age_days=(pl.lit(now) - pl.col("first_seen_at")).dt.total_days())
    return (
        aged.group_by("code", "severity", "owner", "age_days")
        .agg(findings=pl.len())
        .select(pl.col(name).cast(dtype) for name, dtype in _AGES.items())
        .sort("code", "age_days")
    )


def _matrix(settings: Settings, run_ids: list[str]) -> pl.DataFrame:
    """The matrix of the latest of these runs whose folder is still there."""
    for run_id in reversed(run_ids):
        path = run_folder(settings, run_id) / "implied.parquet"
        if path.exists():
            return store_matrix(read_frame(path))
    return pl.DataFrame(schema={"store_a": pl.String(), "store_b": pl.String(), "accounts": pl.Int64()})


_BY_CODE: Mapping[str, pl.DataType] = {
    "number": pl.Int64(),
    "as_of": pl.Datetime("us", "UTC"),
    "code": pl.String(),
    "category": pl.String(),
    "severity": pl.String(),
    "owner": pl.String(),
    "accounts": pl.Int64(),
    "findings": pl.Int64(),
}
_AGES: Mapping[str, pl.DataType] = {
    "code": pl.String(),
    "severity": pl.String(),
    "owner": pl.String(),
    "age_days": pl.Int64(),
    "findings": pl.Int64(),
}
