"""The report: the frames behind the charts of disagreements over time.

One shape, whether the report is about what the history keeps (`trueup report`) or about the run that is being made
(Dagster's metadata). Runs over different accounts are never put on one line. Drawing is the business of
`trueup/audit/charts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from trueup.audit.breakdown import COLUMNS, at_stake, by_severity, no_findings, not_counted
from trueup.audit.run_folder import Run, run_folder
from trueup.contract.schemas import INSTANT
from trueup.drift import CODES, by_code, disagreeing_accounts, store_matrix
from trueup.drift.implied import MATRIX
from trueup.stores.auditor.history import disagreements_over_time, open_findings, runs_over_time
from trueup.stores.errors import StoreError, TrueupError
from trueup.stores.settings import Settings

RUNS_SHOWN: Final = 100
SPANS: Final = ("within a day", "over a day ago", "over a week ago", "over 30 days ago")


@dataclass(frozen=True)
class Report:
    """The frames behind the charts.

    runs: number, as_of, accounts, accounts_disagreeing, findings, broken (empty where every store was read whole; else
    the run could not see, and its number is a gap). by_code: number, as_of, code, category, severity, owner,
    accounts, findings. ages: code, severity, owner, age_days, findings. matrix: store_a, store_b, accounts.
    findings: `breakdown.COLUMNS` of the last run, empty where its folder is gone.
    """

    scope: str
    wholeness: str  # of the last run: "whole", or which stores it could not rely on
    runs: pl.DataFrame
    by_code: pl.DataFrame
    ages: pl.DataFrame
    matrix: pl.DataFrame
    findings: pl.DataFrame = field(default_factory=no_findings)

    @property
    def latest(self) -> pl.DataFrame:
        """by_code of the last run; empty where it found nothing."""
        return self.by_code.filter(pl.col("number") == self.runs["number"].max())

    def as_json(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "wholeness": self.wholeness,
            "runs": self.runs.to_dicts(),
            "by_code": self.by_code.to_dicts(),
            "ages": self.ages.to_dicts(),
            "matrix": self.matrix.to_dicts(),
            "latest": by_severity(self.findings).to_dicts(),
            "at_stake": at_stake(self.findings).to_dicts(),
            "not_counted": not_counted(self.findings).to_dicts(),
        }


class NothingToReport(TrueupError):
    """No audit was ever recorded."""


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
    shown = over_the_same_accounts(runs, fleet if fleet.height else runs)
    return Report(
        scope=str(shown["scope"][-1]),
        wholeness=f"not whole: {shown['broken'][-1]}" if shown["broken"][-1] else "whole",
        runs=shown.select("run_id", "number", "as_of", "accounts", "accounts_disagreeing", "findings", "broken"),
        by_code=codes_over_time(settings, shown),
        ages=ages_of(open_findings(settings), shown.select(pl.col("as_of").max()).item()),
        matrix=_matrix(settings, shown["run_id"].to_list()),
        findings=_findings(settings, str(shown["run_id"][-1])),
    )


def report_of_run(
    settings: Settings, run: Run, accounts: int, findings: pl.DataFrame, matrix: pl.DataFrame, wholeness: str = "whole"
) -> Report:
    """What a run found, after those over the same accounts that the history keeps; alone where it keeps none."""
    try:
        runs = runs_over_time(settings, runs=RUNS_SHOWN)
        mine = runs.filter(pl.col("run_id") == run.manifest.reading_run_id) if runs.height else runs
        shown = over_the_same_accounts(runs, mine) if mine.height else _alone(run, accounts, findings, wholeness)
        history = codes_over_time(settings, shown) if mine.height else _codes_alone(run, findings)
    except StoreError:
        shown, history = _alone(run, accounts, findings, wholeness), _codes_alone(run, findings)
    return Report(run.scope.label, wholeness, shown.select(list(_RUNS)), history, ages_of(findings, run.as_of), matrix)


def over_the_same_accounts(runs: pl.DataFrame, one: pl.DataFrame) -> pl.DataFrame:
    """The runs that had the scope of one of them; of those about one instant, the last."""
    scope, key = one.select("scope", "scope_key").row(-1)
    same = pl.col("scope") == "fleet" if scope == "fleet" else pl.col("scope_key") == key
    return runs.filter(same).unique("as_of", keep="last", maintain_order=True)


def codes_over_time(settings: Settings, runs: pl.DataFrame) -> pl.DataFrame:
    """One row per run and code. A finding counts in every pair of its stores, so the largest pair is the count."""
    history = disagreements_over_time(settings, runs=RUNS_SHOWN)
    if history.is_empty():
        return pl.DataFrame(schema=_BY_CODE)
    per_severity = (
        history.filter(pl.col("run_id").is_in(runs["run_id"].to_list()))
        .group_by("number", "as_of", "code", "severity", "owner")
        .agg(pl.col("accounts").max(), pl.col("findings").max())
    )
    category = {code.code: code.category for code in CODES.values()}
    return (
        per_severity.with_columns(
            category=pl.col("code").replace_strict(category, default="", return_dtype=pl.String())
        )
        .select(pl.col(name).cast(dtype) for name, dtype in _BY_CODE.items())
        .sort("number", "code", "severity")
    )


def ages_of(findings: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Findings by code and how long ago an audit first saw them; those that are no disagreement yet are left out."""
    tracked = findings.filter(pl.col("first_seen_at").is_not_null()) if findings.height else findings
    if tracked.is_empty():
        return pl.DataFrame(schema=_AGES)
    return (
        tracked.with_columns(age_days=(pl.lit(now, INSTANT) - pl.col("first_seen_at")).dt.total_days())
        .group_by("code", "severity", "owner", "age_days")
        .agg(findings=pl.len())
        .select(pl.col(name).cast(dtype) for name, dtype in _AGES.items())
        .sort("code", "age_days", "severity", "owner")
    )


def span(age_days: pl.Expr) -> pl.Expr:
    """Whole days in words; they sort by length."""
    within_a_day, over_a_day, over_a_week, over_30_days = SPANS
    words = pl.when(age_days >= 30).then(pl.lit(over_30_days)).when(age_days >= 7).then(pl.lit(over_a_week))  # noqa: PLR2004
    return words.when(age_days >= 1).then(pl.lit(over_a_day)).otherwise(pl.lit(within_a_day)).cast(pl.Enum(SPANS))


def _findings(settings: Settings, run_id: str) -> pl.DataFrame:
    """The findings of a run, as it left them."""
    path = run_folder(settings, run_id) / "findings.parquet"
    return pl.read_parquet(path, columns=list(COLUMNS)) if path.exists() else no_findings()


def _matrix(settings: Settings, run_ids: list[str]) -> pl.DataFrame:
    """The matrix of the latest of these runs whose folder is still there."""
    for run_id in reversed(run_ids):
        path = run_folder(settings, run_id) / "implied.parquet"
        if path.exists():
            return store_matrix(pl.scan_parquet(path))
    return pl.DataFrame(schema=MATRIX)


def _alone(run: Run, accounts: int, findings: pl.DataFrame, wholeness: str) -> pl.DataFrame:
    row = (
        run.run_id,
        0,
        run.as_of,
        accounts,
        disagreeing_accounts(findings),
        findings.height,
        "" if wholeness == "whole" else wholeness,
    )
    return pl.DataFrame([row], schema=_RUNS, orient="row")


def _codes_alone(run: Run, findings: pl.DataFrame) -> pl.DataFrame:
    counted = by_code(findings).with_columns(number=pl.lit(0), as_of=pl.lit(run.as_of, INSTANT))
    return counted.select(pl.col(name).cast(dtype) for name, dtype in _BY_CODE.items())


_RUNS: Final[Mapping[str, pl.DataType]] = {
    "run_id": pl.String(),
    "number": pl.Int64(),
    "as_of": INSTANT,
    "accounts": pl.Int64(),
    "accounts_disagreeing": pl.Int64(),
    "findings": pl.Int64(),
    "broken": pl.String(),
}
_BY_CODE: Final[Mapping[str, pl.DataType]] = {
    "number": pl.Int64(),
    "as_of": INSTANT,
    "code": pl.String(),
    "category": pl.String(),
    "severity": pl.String(),
    "owner": pl.String(),
    "accounts": pl.Int64(),
    "findings": pl.Int64(),
}
_AGES: Final[Mapping[str, pl.DataType]] = {
    "code": pl.String(),
    "severity": pl.String(),
    "owner": pl.String(),
    "age_days": pl.Int64(),
    "findings": pl.Int64(),
}
