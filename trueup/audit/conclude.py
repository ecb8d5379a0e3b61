"""Concluding: the confirmed answer of a run, written for others to read and added to the history.

The files written here (`desired.parquet`, `findings.parquet`, `implied.parquet`, `manifest.json`) are an interface. A
run's number is worth what its reading was: `Conclusion.wholeness` goes wherever the number goes. How two readings make
one answer is decided in `trueup/audit/confirm.py`, and what is remembered of it in `trueup/stores/auditor/history.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from trueup.audit.confirm import Confirmed
from trueup.audit.gather import ScopeReading
from trueup.audit.judge import height
from trueup.audit.report import Report, report_of_run
from trueup.audit.run_folder import Run, read_frame, write_json
from trueup.contract.schemas import INSTANT
from trueup.drift import by_code, disagreeing_accounts, store_matrix
from trueup.stores.auditor.history import AuditedRun, record_run
from trueup.stores.errors import StoreError
from trueup.stores.settings import Settings

RECORDED: Final = "recorded"
WHOLE: Final = "whole"
RESULTS_FILE: Final = "manifest.json"


@dataclass(frozen=True)
class Conclusion:
    """What a run came to. broken: store → SRC_PARTIAL or SRC_STALE, for those that could not be relied on."""

    run: Run
    accounts: int
    findings: pl.DataFrame
    broken: Mapping[str, str]
    report: Report
    history: str
    rows_read: int

    @property
    def disagreeing(self) -> int:
        return disagreeing_accounts(self.findings)

    @property
    def wholeness(self) -> str:
        return wholeness_of(self.broken)


def wholeness_of(broken: Mapping[str, str]) -> str:
    """Whether every store was read whole, in words that stand beside a number."""
    return f"not whole: {', '.join(f'{store} {code}' for store, code in broken.items())}" if broken else WHOLE


def conclude(run: Run, settings: Settings) -> Conclusion:
    """Confirm the run's findings, write its answer, and add it to the history."""
    confirmed = Confirmed.of(run)
    reading = ScopeReading.at(run.initial)
    run.sink("desired", confirmed.desired)
    run.sink("implied", confirmed.implied)
    desired = run.scan("desired")
    accounts = height(desired)
    broken = reading.broken(run.manifest.max_age_hours)
    findings, history = _record(settings, run, reading, accounts, confirmed)
    run.write("findings", findings)
    report = report_of_run(settings, run, accounts, findings, store_matrix(run.scan("implied")), wholeness_of(broken))
    rows_read = sum(sum(read.rows.values()) for read in reading.reads.values())
    conclusion = Conclusion(run, accounts, findings, broken, report, history, rows_read)
    write_json(run.folder / RESULTS_FILE, _results_manifest(conclusion, reading))
    return conclusion


def indeterminate(desired: pl.LazyFrame) -> pl.LazyFrame:
    """The accounts of which the engine could not tell: account_id."""
    return desired.filter(pl.col("quality") == "indeterminate").select("account_id")


def _record(
    settings: Settings, run: Run, reading: ScopeReading, accounts: int, confirmed: Confirmed
) -> tuple[pl.DataFrame, str]:
    """Add the run to the history; the findings with since when and how often, and whether that could be done.

    A database in which nobody has made schema trueup yet can still be audited: then every finding is as if seen first.
    """
    findings = confirmed.findings
    audited = AuditedRun(
        run_id=run.manifest.reading_run_id,
        as_of=run.as_of,
        policy_version=run.policy.version,
        scope=run.scope,
        accounts=accounts,
        counts=reading.row_counts(),
        checks=reading.whole_checks(run.manifest.max_age_hours),
        sight=confirmed.sight(_violations_of_both(run), tuple(reading.broken(run.manifest.max_age_hours))),
    )
    try:
        return record_run(settings, audited, findings).findings, RECORDED
    except StoreError as fault:
        as_new = findings.with_columns(first_seen_at=pl.lit(run.as_of, INSTANT), seen_count=pl.lit(1, pl.Int64()))
        return as_new, f"not recorded: {fault.message} {fault.way_out}".strip()


def _violations_of_both(run: Run) -> pl.DataFrame:
    """Contract violations of the initial reading and, if there was one, of the recheck."""
    files = [run.folder / f"{name}.parquet" for name in ("contract_violations", "recheck_contract_violations")]
    return pl.concat(read_frame(file) for file in files if file.exists())


def _results_manifest(conclusion: Conclusion, reading: ScopeReading) -> dict[str, Any]:
    """What the run was asked, what it read, and what it counted: enough to say, later, what it could know."""
    run, findings = conclusion.run, conclusion.findings
    manifest = run.manifest
    return {
        "run_id": run.run_id,
        "made_by": manifest.made_by,
        "as_of": run.as_of,
        "started_at": run.started_at,
        "scope": run.scope.label,
        "wholeness": conclusion.wholeness,
        "policy_version": run.policy.version,
        "base_run_id": manifest.base_run_id,
        "reading_run_id": manifest.reading_run_id,
        "fleet_accounts": reading.reads["cf_prod"].fleet_accounts or 0,
        "stores": {
            store: {
                "observed_at": read.observed_at,
                "rows": dict(read.rows),
                "fault": read.fault,
                "broken": conclusion.broken.get(store, ""),
                "is_standby": read.is_standby,
            }
            for store, read in reading.reads.items()
        },
        "history": conclusion.history,
        "accounts": conclusion.accounts,
        "accounts_disagreeing": conclusion.disagreeing,
        "findings": findings.height,
        "by_code": {row["code"]: row["accounts"] for row in by_code(findings).iter_rows(named=True)},
    }
