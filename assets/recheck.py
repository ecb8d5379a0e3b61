"""Second look: the accounts that seemed to disagree are read again, and only what is still so is believed.

Six stores cannot be read at one instant: a payment that lands between two readings looks like a disagreement and is
none. So every account with a finding is gathered again after the first pass, and judged again; its later answer takes
the place of the earlier one. Findings of no account (a customer that nobody maps to) are looked at again by customer
where that can be done, and kept as they are where it cannot.
"""

from typing import Final

import dagster as dg
import polars as pl

from assets.run import AuditTerms, run_of
from trueup.audit.gather import Look, gather_look
from trueup.audit.judge import Kept, height
from trueup.audit.partitions import judge_parts, kept, parts_of, sweep_parts
from trueup.audit.run_folder import Run, write_json
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

# Above this share of the scope, reading all of it again is less work than reading so many accounts one by one.
SHARE_MAX: Final = 0.2


@dg.asset(deps=["first_look"], group_name="audit", kinds={"polars"})
def second_look(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> dg.MaterializeResult[None]:
    """The disagreeing accounts, read and judged a second time."""
    run = run_of(context, settings, terms)
    first = kept(Look.at(run.first))
    scope = scope_to_confirm(first, run.scope, settings.accounts_at_once)
    second = None if scope is None else look_again(settings, run, scope)
    remember_scope(run, scope)
    return dg.MaterializeResult(
        metadata={
            "accounts_read_again": 0 if scope is None else len(scope.accounts or ()),
            "findings_at_first": first.findings.height,
            "findings_again": 0 if second is None else second.findings.height,
        }
    )


def look_again(settings: Settings, run: Run, scope: Scope) -> Kept:
    """Gather the scope once more, and keep its facts and their judgement beside the first."""
    known_rows = Look.at(run.first).reads["stripe"].rows if run.scope.is_fleet else None
    look = gather_look(settings, scope, run.second, known_rows)
    parts = parts_of(look, scope, settings, lake_run=None)
    sweep_parts(parts, settings, run.as_of)
    return judge_parts(parts, settings, run.as_of)


def remember_scope(run: Run, scope: Scope | None) -> None:
    """Leave word of who was looked at again, for `confirming.py`."""
    again = {
        "is_whole_scope": scope is not None and scope == run.scope,
        "accounts": sorted(scope.accounts or ()) if scope else [],
        "customers": sorted(scope.customers) if scope else [],
    }
    write_json(run.folder / "second_look.json", again)


def scope_to_confirm(first: Kept, scope: Scope, accounts_max: int) -> Scope | None:
    """Whose findings are to be looked at again; none if there is no finding that could be.

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
