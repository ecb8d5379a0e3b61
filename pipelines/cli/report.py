"""The report of `trueup report`: disagreements over time, to look at and not to read.

What is shown comes from the history in schema trueup, and the store x store matrix from the latest audit that is still
in the home folder. The report is about the runs of one scope, the fleet's if there are any. The page is one file that
loads nothing from anywhere.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from trueup.audit.report import RUNS_SHOWN, Report, ages_of, codes_over_time, over_the_same_accounts
from trueup.audit.run_folder import run_folder
from trueup.drift import store_matrix
from trueup.drift.implied import MATRIX
from trueup.stores.auditor.history import open_findings, runs_over_time
from trueup.stores.errors import TrueupError
from trueup.stores.settings import Settings


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
        runs=shown.select("run_id", "number", "as_of", "accounts", "accounts_disagreeing", "findings"),
        by_code=codes_over_time(settings, shown),
        ages=ages_of(open_findings(settings), shown.select(pl.col("as_of").max()).item()),
        matrix=_matrix(settings, shown["run_id"].to_list()),
    )


def write_html(report: Report, path: Path) -> None:
    """One page with every picture, loading nothing from anywhere."""
    from pipelines.cli.report_page import page

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(report), encoding="utf-8")


def _matrix(settings: Settings, run_ids: list[str]) -> pl.DataFrame:
    """The matrix of the latest of these runs whose folder is still there."""
    for run_id in reversed(run_ids):
        path = run_folder(settings, run_id) / "implied.parquet"
        if path.exists():
            return store_matrix(pl.scan_parquet(path))
    return pl.DataFrame(schema=MATRIX)
