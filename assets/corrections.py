"""Corrections: which columns are to change, and the plan made of them.

`corrections` is partition of every audit, so that what a plan would do can always be seen. `correction_plan` keeps a
plan for approval, and is not made when the check on wholeness fails. What may be corrected is decided in
`trueup/engine` and `trueup/drift`, and whether it may be written by the gate.
"""

from datetime import datetime, timedelta

import dagster as dg

from assets.run import AuditTerms, run_of
from trueup.audit.confirm import Confirmed
from trueup.audit.run_folder import Run, read_json, write_json
from trueup.correction.plan import Plan, PlanScope, make_plan
from trueup.engine.policy import load_policy
from trueup.stores.auditor.connection import identity, utc_now
from trueup.stores.auditor.plans import store_plan
from trueup.stores.settings import Settings


@dg.asset(deps=["disagreements", "desired_dunning_state"], group_name="audit", kinds={"parquet"})
def corrections(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> dg.MaterializeResult[None]:
    """The columns of our own stores that are to change, each with what it is and what it should be."""
    run = run_of(context, settings, terms)
    policy = load_policy(settings.policy)
    found = Confirmed.of(run, settings).changes(run.read("findings"), policy, run.as_of)
    run.write("changes", found)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": found.height,
            "accounts": found["account_id"].drop_nulls().n_unique(),
            **{f"columns/{table}": rows for table, rows in found.group_by("table").len().iter_rows()},
        }
    )


@dg.asset(deps=["corrections"], group_name="correction", kinds={"postgres"})
def correction_plan(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> dg.MaterializeResult[None]:
    """A plan of the corrections, kept until somebody approves, rejects or outlives it."""
    run = run_of(context, settings, terms)
    plan = plan_of(run, settings)
    info = store_plan(settings, plan)
    write_json(run.folder / "plan.json", {"plan_id": plan.plan_id, "is_empty": plan.is_empty, "status": info.status})
    blast = plan.blast_radius
    return dg.MaterializeResult(
        metadata={
            "plan_id": plan.plan_id,
            "plan": dg.MetadataValue.md(plan.as_markdown()),
            "changes": plan.changes.height,
            "accounts_changed": blast.accounts_changed,
            "share": blast.share,
            "newly_suspended": blast.newly_suspended,
            "newly_bad_debt": blast.newly_bad_debt,
        }
    )


def plan_of(run: Run, settings: Settings) -> Plan:
    """The plan that a run's corrections make."""
    manifest = read_json(run.folder / "manifest.json")
    scope = PlanScope(
        label=run.scope.label,
        accounts=None if run.scope.accounts is None else tuple(sorted(run.scope.accounts)),
        buckets=run.scope.buckets,
        bucket_count=settings.bucket_count,
    )
    return make_plan(
        run.read("changes"),
        as_of=run.as_of,
        policy_version=manifest["policy_version"],
        run_id=run.run_id,
        scope=scope,
        snapshot={store: datetime.fromisoformat(told["observed_at"]) for store, told in manifest["stores"].items()},
        fleet_accounts=manifest["fleet_accounts"],
        created_at=utc_now(),
        maker=identity(settings),
        age_max=timedelta(hours=settings.as_of_age_max_hours),
    )
