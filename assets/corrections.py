"""Corrections: which columns are to change, and the plan made of them.

`corrections` is part of every audit, so that what a plan would do can always be inspected. `correction_plan` stores a
plan for approval, and is not made when the check on wholeness fails. What may be corrected is decided in
`trueup/correction`, and whether it may be written by the gate.
"""

from typing import Any

import dagster as dg
import polars as pl

from assets.run import run_metadata, run_with
from trueup.audit.planning import plan_run
from trueup.audit.stages import correct
from trueup.correction.plan import Plan
from trueup.stores.settings import Settings


@dg.asset(
    deps=["disagreements", "desired_dunning_state"],
    group_name="audit",
    kinds={"parquet"},
    owners=["team:A3-recompute"],
    description="The columns of our own stores that are to change, each with what it is and what it should be.",
)
def corrections(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """What is to change about the confirmed findings."""
    run = run_with(context, settings, "results")
    found = correct(run)
    context.log.info("%d columns are to change.", found.height)
    return dg.MaterializeResult(metadata={**corrections_metadata(found), **run_metadata(run)})


@dg.asset(
    deps=["corrections"],
    group_name="correction",
    kinds={"postgres"},
    owners=["team:A3-recompute"],
    description="A plan of the corrections, stored until somebody approves or rejects it, or it expires.",
)
def correction_plan(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Make the plan."""
    run = run_with(context, settings, "changes")
    plan, _ = plan_run(run, settings)
    context.log.info("Plan %s is proposed: %d columns.", plan.plan_id, plan.changes.height)
    return dg.MaterializeResult(metadata={**plan_metadata(plan), **run_metadata(run)})


def corrections_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """Columns to change, by table."""
    return {
        "dagster/row_count": found.height,
        "accounts": found["account_id"].drop_nulls().n_unique(),
        **{f"columns/{table}": rows for table, rows in found.group_by("table").len().iter_rows()},
    }


def plan_metadata(plan: Plan) -> dict[str, Any]:
    """The plan's id, its table, and how far it reaches."""
    blast = plan.blast_radius
    return {
        "plan_id": plan.plan_id,
        "plan": dg.MetadataValue.md(plan.as_markdown()),
        "changes": plan.changes.height,
        "accounts_changed": blast.accounts_changed,
        "share": blast.share,
        "newly_suspended": blast.newly_suspended,
        "newly_bad_debt": blast.newly_bad_debt,
    }
