"""Verdicts: the confirmed answer of a run. What each account should be, what disagrees, and what each store implies.

The files written here (`desired.parquet`, `findings.parquet`, `implied.parquet`, `manifest.json`) are an interface that
others read, and the counts are what is tracked over time; so these are assets without partitions, made in the same job
as the checks that judge them. Every run is added to the history in schema trueup, which Dagster's own log is not.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from assets.lineage import DESIRED_FROM, FINDINGS_FROM, column_lineage, table_schema
from assets.run import AuditTerms, run_of
from trueup.audit.confirm import Confirmed
from trueup.audit.gather import ScopeReading
from trueup.audit.judge import height
from trueup.audit.report import Report, report_of_run, span
from trueup.audit.run_folder import Run, read_frame, write_json
from trueup.contract.schemas import DESIRED, FINDINGS, INSTANT, STORES
from trueup.drift import by_code, disagreeing_accounts, store_matrix
from trueup.engine.policy import load_policy
from trueup.stores.auditor.history import AuditedRun, record_run
from trueup.stores.errors import StoreError
from trueup.stores.settings import Settings

RECORDED: Final = "kept"
SEVERITIES: Final = ("S1", "S2", "S3", "S4", "none")


@dg.multi_asset(
    name="verdicts",
    specs=[
        dg.AssetSpec(
            "desired_dunning_state",
            deps=["recheck"],
            group_name="audit",
            kinds={"parquet"},
            description="What every account's dunning state should be, and why.",
        ),
        dg.AssetSpec(
            "implied_states",
            deps=["recheck"],
            group_name="audit",
            kinds={"parquet"},
            description="What each store, taken by itself, implies of every account.",
        ),
        dg.AssetSpec(
            "disagreements",
            deps=["recheck"],
            group_name="audit",
            kinds={"parquet"},
            description="Where a store differs from what should be: one row per account, code and object.",
        ),
    ],
)
def verdicts(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> Iterator[dg.MaterializeResult[None]]:
    """The run's answer, confirmed by the recheck and added to the history."""
    run = run_of(context, settings, terms)
    confirmed = Confirmed.of(run, settings)
    reading = ScopeReading.at(run.initial)
    run.sink("desired", confirmed.desired)
    run.sink("implied", confirmed.implied)
    desired, implied_by = run.scan("desired"), run.scan("implied")
    accounts = height(desired)
    manifest = manifest_of(run, reading, settings)
    findings, manifest["history"] = remember(settings, run, reading, accounts, confirmed)
    run.write("findings", findings)
    write_json(run.folder / "manifest.json", manifest | counts(accounts, findings))
    report = report_of_run(settings, run, accounts, findings, store_matrix(implied_by))
    yield dg.MaterializeResult(asset_key="desired_dunning_state", metadata=_desired_metadata(desired))
    yield dg.MaterializeResult(asset_key="implied_states", metadata=_implied_metadata(accounts, report))
    yield dg.MaterializeResult(
        asset_key="disagreements", metadata=_findings_metadata(findings, report, accounts, run.as_of)
    )


def remember(
    settings: Settings, run: Run, reading: ScopeReading, accounts: int, confirmed: Confirmed
) -> tuple[pl.DataFrame, str]:
    """Add the run to the history; the findings with since when and how often, and whether that could be done.

    A database in which nobody has made schema trueup yet can still be audited: then every finding is as if seen first.
    """
    findings = confirmed.findings
    audited = AuditedRun(
        run_id=run.run_id,
        as_of=run.as_of,
        policy_version=load_policy(settings.policy).version,
        scope=run.scope,
        accounts=accounts,
        counts=reading.row_counts(),
        checks=reading.whole_checks(settings.max_age_hours),
        sight=confirmed.sight(_violations_of_both(run), tuple(reading.broken(settings.max_age_hours))),
    )
    try:
        return record_run(settings, audited, findings).findings, RECORDED
    except StoreError as fault:
        as_new = findings.with_columns(first_seen_at=pl.lit(run.as_of, INSTANT), seen_count=pl.lit(1, pl.Int64()))
        return as_new, f"not kept: {fault.message} {fault.way_out}".strip()


def _violations_of_both(run: Run) -> pl.DataFrame:
    """Contract violations of the initial reading and, if there was one, of the recheck."""
    files = [run.folder / f"{name}.parquet" for name in ("contract_violations", "recheck_contract_violations")]
    return pl.concat(read_frame(file) for file in files if file.exists())


def manifest_of(run: Run, reading: ScopeReading, settings: Settings) -> dict[str, Any]:
    """What the run was asked and what it read: enough to say, later, what it could know."""
    broken = reading.broken(settings.max_age_hours)
    return {
        "run_id": run.run_id,
        "as_of": run.as_of,
        "started_at": run.started_at,
        "scope": run.scope.label,
        "policy_version": load_policy(settings.policy).version,
        "fleet_accounts": reading.reads["cf_prod"].fleet_accounts or 0,
        "stores": {
            store: {
                "observed_at": read.observed_at,
                "rows": dict(read.rows),
                "fault": read.fault,
                "broken": broken.get(store, ""),
            }
            for store, read in reading.reads.items()
        },
    }


def counts(accounts: int, findings: pl.DataFrame) -> dict[str, Any]:
    """The numbers of a run, for its manifest."""
    return {
        "accounts": accounts,
        "accounts_disagreeing": disagreeing_accounts(findings),
        "findings": findings.height,
        "by_code": {row["code"]: row["accounts"] for row in by_code(findings).iter_rows(named=True)},
    }


def _desired_metadata(desired: pl.LazyFrame) -> Mapping[str, Any]:
    by_state = desired.group_by("state").len().sort("state").collect(engine="streaming")
    return {
        "dagster/row_count": height(desired),
        "indeterminate": height(_indeterminate(desired)),
        "dagster/column_schema": table_schema(DESIRED, DESIRED_FROM),
        "dagster/column_lineage": column_lineage(DESIRED_FROM),
        **{f"state/{state}": accounts for state, accounts in by_state.iter_rows()},
    }


def _indeterminate(desired: pl.LazyFrame) -> pl.LazyFrame:
    return desired.filter(pl.col("quality") == "indeterminate").select("account_id")


def _implied_metadata(accounts: int, report: Report) -> Mapping[str, Any]:
    from trueup.audit.charts import charts_of_stores, in_markdown

    matrix = report.matrix
    return {
        "dagster/row_count": accounts,
        "charts": dg.MetadataValue.md(in_markdown(charts_of_stores(matrix))),
        "matrix": dg.MetadataValue.md(_square(matrix)),
        **{f"differ/{a}/{b}": accounts for a, b, accounts in matrix.iter_rows() if STORES.index(a) <= STORES.index(b)},
    }


def _findings_metadata(findings: pl.DataFrame, report: Report, accounts: int, as_of: datetime) -> Mapping[str, Any]:
    """Numbers that Dagster plots over time, in all and per code; the report's charts; owners and ages as tables."""
    from trueup.audit.charts import charts_of_findings, in_markdown

    disagreeing = disagreeing_accounts(findings)
    return {
        "dagster/row_count": findings.height,
        "charts": dg.MetadataValue.md(in_markdown(charts_of_findings(report))),
        "accounts_disagreeing": disagreeing,
        "share_disagreeing": disagreeing / accounts if accounts else 0.0,
        "settling": findings.filter("is_settling").height,
        "suppressed": findings.filter("is_suppressed").height,
        **{name: dg.MetadataValue.md(table) for name, table in tables_of_findings(findings, as_of).items()},
        "dagster/column_schema": table_schema(FINDINGS, FINDINGS_FROM),
        "dagster/column_lineage": column_lineage(FINDINGS_FROM),
        **{f"code/{row['code']}": row["accounts"] for row in by_code(findings).iter_rows(named=True)},
    }


def tables_of_findings(findings: pl.DataFrame, as_of: datetime) -> dict[str, str]:
    """Whose the findings are, and since when they have been seen, by severity: name → Markdown."""
    return {
        "owners": _crossed(findings, "owner", pl.col("owner")),
        "ages": _crossed(findings, "first seen", span((pl.lit(as_of) - pl.col("first_seen_at")).dt.total_days())),
    }


def _crossed(findings: pl.DataFrame, title: str, by: pl.Expr) -> str:
    """Findings counted by a key and by severity, as Markdown."""
    counted = findings.group_by(by.alias("by"), "severity").len().sort("by")
    told = {(key, severity): str(rows) for key, severity, rows in counted.iter_rows()}
    keys = counted["by"].unique(maintain_order=True).to_list()
    return _markdown([title, *SEVERITIES], [[key, *(told.get((key, one), "0") for one in SEVERITIES)] for key in keys])


def _square(matrix: pl.DataFrame) -> str:
    """The store x store matrix as Markdown."""
    told = {(a, b): str(accounts) for a, b, accounts in matrix.iter_rows()}
    return _markdown(["", *STORES], [[store, *(told[store, other] for other in STORES)] for store in STORES])


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])
