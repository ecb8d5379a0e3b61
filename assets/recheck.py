"""Recheck: the accounts that seemed to disagree are read again, and only what is still so is believed.

Six stores cannot be read at one instant: a payment that lands between two readings looks like a disagreement and is
none. So every account with a finding is gathered again after the first pass, and judged again; its later answer takes
the place of the earlier one. Findings of no account (a customer that nobody maps to) are read again by customer
where that can be done, and kept as they are where it cannot.
"""

from typing import Final

import dagster as dg
import polars as pl

from assets.run import AuditTerms, run_of
from trueup.audit.gather import ScopeReading, gather_scope
from trueup.audit.judge import StoredJudgement, height
from trueup.audit.partitions import judge_partitions, partitions_of, stored_judgement, sweep_partitions
from trueup.audit.run_folder import Run, write_json
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

# Above this share of the scope, reading all of it again is less work than reading so many accounts one by one.
SHARE_MAX: Final = 0.2


@dg.asset(deps=["initial_reading"], group_name="audit", kinds={"polars"})
def recheck(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> dg.MaterializeResult[None]:
    """The disagreeing accounts, read and judged a second time."""
    run = run_of(context, settings, terms)
    first = stored_judgement(ScopeReading.at(run.initial))
    scope = scope_to_confirm(first, run.scope, settings.accounts_at_once)
    second = None if scope is None else read_again_and_judge(settings, run, scope)
    write_recheck_scope(run, scope)
    return dg.MaterializeResult(
        metadata={
            "accounts_read_again": 0 if scope is None else len(scope.accounts or ()),
            "findings_at_first": first.findings.height,
            "findings_again": 0 if second is None else second.findings.height,
        }
    )


def read_again_and_judge(settings: Settings, run: Run, scope: Scope) -> StoredJudgement:
    """Gather the scope once more, and keep its facts and their judgement beside the first."""
    rows_last_read = ScopeReading.at(run.initial).reads["stripe"].rows if run.scope.is_fleet else None
    reading = gather_scope(settings, scope, run.recheck, rows_last_read)
    partitions = partitions_of(reading, scope, settings, lake_run=None)
    run.write("recheck_contract_violations", sweep_partitions(partitions, settings, run.as_of))
    return judge_partitions(partitions, settings, run.as_of)


def write_recheck_scope(run: Run, scope: Scope | None) -> None:
    """Leave word of who was read again, for `trueup/audit/confirm.py`."""
    again = {
        "is_whole_scope": scope is not None and scope == run.scope,
        "accounts": sorted(scope.accounts or ()) if scope else [],
        "customers": sorted(scope.customers) if scope else [],
    }
    write_json(run.folder / "recheck.json", again)


def scope_to_confirm(first: StoredJudgement, scope: Scope, accounts_max: int) -> Scope | None:
    """Whose findings are to be read again; none if there is no finding that could be.

    The whole scope again if that is less work, or if it is more accounts than are judged at once.
    """
    findings = first.findings.filter(~pl.col("is_suppressed"))
    accounts = frozenset(findings["account_id"].drop_nulls())
    customers = frozenset(
        findings.filter(pl.col("account_id").is_null(), pl.col("code") == "MAP_ORPHAN_CUSTOMER")["object_id"]
    )
    if not accounts and not customers:
        return None
    is_most = len(accounts) > min(SHARE_MAX * height(first.desired), accounts_max)
    if is_most and scope.accounts is None:
        return scope
    return Scope(accounts=accounts, customers=customers)
