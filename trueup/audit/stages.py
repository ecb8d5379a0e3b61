"""The stages of an audit, each from the files of the stage before to files of its own.

    read → sweep → judge → recheck → conclude → correct

Each takes a run and the settings, and gives the numbers of what it did. Dagster's assets call one each; `audit` calls
them all. What a stage decides is in the module that it calls. Where the files of an earlier stage come from when a run
did not make them itself is decided in `trueup/audit/inputs.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import polars as pl

from trueup.audit.conclude import Conclusion, conclude
from trueup.audit.confirm import Confirmed
from trueup.audit.gather import Readings, ScopeReading, StoreRead, gather_scope, gather_store, reading
from trueup.audit.judge import Basis, StoredJudgement, height
from trueup.audit.partitions import (
    Partition,
    archive_reading,
    archived_run_id,
    judge_partitions,
    partitions_of,
    stored_judgement,
    sweep_partitions,
)
from trueup.audit.run_folder import Run, write_json
from trueup.contract.schemas import STORES
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

# Above this share of the scope, reading all of it again is less work than reading so many accounts one by one.
SHARE_MAX = 0.2
RECHECK_FILE = "recheck.json"


def audit(run: Run, settings: Settings) -> Conclusion:
    """Audit the run's scope from the first reading to the corrections.

    Raises:
        AccountUnknown: an account that the scope names is in no store.
    """
    with reading(settings) as readings:
        for store in STORES:
            read_store(run, readings, store)
    sweep(run, settings)
    judge_initial(run, settings)
    recheck(run, settings)
    conclusion = conclude(run, settings)
    correct(run)
    return conclusion


def read_store(run: Run, readings: Readings, store: str, tables: Sequence[str] | None = None) -> StoreRead:
    """Read one store of the run's scope, or some of its tables, into the run's initial reading."""
    return gather_store(readings, store, run.scope, run.initial, tables)


def sweep(run: Run, settings: Settings) -> pl.DataFrame:
    """Archive the initial reading, and take out what no rule can use; the violations (contract.VIOLATIONS)."""
    initial = ScopeReading.at(run.initial)
    archive_reading(initial, run.scope, settings, run.manifest.reading_run_id)
    violations = sweep_partitions(_partitions(run, initial, settings), settings, Basis.of_run(run.manifest))
    run.write("contract_violations", violations)
    return violations


def judge_initial(run: Run, settings: Settings) -> tuple[StoredJudgement, int]:
    """What every account of the initial reading should be, and what seems to disagree; in how many partitions."""
    partitions = _partitions(run, ScopeReading.at(run.initial), settings)
    return judge_partitions(partitions, settings, Basis.of_run(run.manifest)), len(partitions)


def recheck(run: Run, settings: Settings) -> tuple[Scope | None, StoredJudgement | None]:
    """Read the accounts that seem to disagree again and judge them again; none if nothing does."""
    initial = stored_judgement(ScopeReading.at(run.initial))
    scope = scope_to_confirm(initial, run.scope, run.manifest.accounts_at_once)
    again = None if scope is None else _read_and_judge_again(run, settings, scope)
    again_json = {
        "is_whole_scope": scope is not None and scope == run.scope,
        "accounts": sorted(scope.accounts or ()) if scope else [],
        "customers": sorted(scope.customers) if scope else [],
    }
    write_json(run.folder / RECHECK_FILE, again_json)
    return scope, again


def correct(run: Run) -> pl.DataFrame:
    """The columns of our own stores that are to change (schemas.CHANGES)."""
    found = Confirmed.of(run).changes(run.read("findings"), run.policy, run.as_of)
    run.write("changes", found)
    return found


def scope_to_confirm(initial: StoredJudgement, scope: Scope, accounts_max: int) -> Scope | None:
    """Whose findings are to be read again; none if there is no finding that could be.

    The whole scope again if that is less work, or if it is more accounts than are judged at once.
    """
    findings = initial.findings.filter(~pl.col("is_suppressed"))
    accounts = frozenset(findings["account_id"].drop_nulls())
    customers = frozenset(
        findings.filter(pl.col("account_id").is_null(), pl.col("code") == "MAP_ORPHAN_CUSTOMER")["object_id"]
    )
    if not accounts and not customers:
        return None
    is_most = len(accounts) > min(SHARE_MAX * height(initial.desired), accounts_max)
    if is_most and scope.accounts is None:
        return scope
    return Scope(accounts=accounts, customers=customers)


def _read_and_judge_again(run: Run, settings: Settings, scope: Scope) -> StoredJudgement:
    rows_last_read = ScopeReading.at(run.initial).reads["stripe"].rows if run.scope.is_fleet else None
    shutil.rmtree(run.recheck, ignore_errors=True)  # of an earlier attempt: a reading is never continued
    again = gather_scope(settings, scope, run.recheck, rows_last_read)
    partitions = partitions_of(again, scope, settings, lake_run=None)
    basis = Basis.of_run(run.manifest)
    run.write("recheck_contract_violations", sweep_partitions(partitions, settings, basis))
    return judge_partitions(partitions, settings, basis)


def _partitions(run: Run, initial: ScopeReading, settings: Settings) -> list[Partition]:
    return partitions_of(initial, run.scope, settings, archived_run_id(initial, run.scope, run.manifest.reading_run_id))
