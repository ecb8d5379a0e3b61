"""Applied corrections: an approved plan, written to the stores that are ours.

This is the one asset that changes a store, and it is never made in the run that made the plan. Without a plan's id it
writes nothing and says which job to launch. A dry run does the same work, rolls it back, and leaves an observation and
no materialization. The writing is `trueup/stores/apply`, what is read before it `trueup/audit/apply_approved.py`.
"""

from collections.abc import Iterator
from typing import Any, Final

import dagster as dg

from assets.run import PLAN_TAG, tag_run
from trueup.audit.apply_approved import apply_approved
from trueup.audit.run_folder import run_folder, write_json
from trueup.stores.apply.outcomes import ApplyResult
from trueup.stores.settings import Settings

APPLIED: Final = "applied_corrections"


class PlanToApply(dg.Config):
    """Which plan; its approval is verified when it is applied."""

    plan_id: str = ""
    dry_run: bool = False


@dg.multi_asset(
    name=APPLIED,
    specs=[
        dg.AssetSpec(
            APPLIED,
            deps=["plan_approval"],
            group_name="correction",
            kinds={"postgres"},
            owners=["team:A3-recompute"],
            description="What became of every account of an approved plan.",
            skippable=True,
        )
    ],
    pool="apply",
)
def applied_corrections(
    context: dg.AssetExecutionContext, config: PlanToApply, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetObservation]:
    """Apply the plan."""
    if not config.plan_id:
        context.log.warning("Nothing is applied: launch job apply_plan with the plan_id of an approved plan.")
        return
    tag_run(context, {PLAN_TAG: config.plan_id})
    result = apply_approved(settings, config.plan_id, dry_run=config.dry_run)
    write_json(
        run_folder(settings, context.run.run_id) / "applied.json", result.as_dict() | {"exit_code": result.exit_code}
    )
    metadata = applied_metadata(result)
    if result.is_dry_run:
        context.log_event(dg.AssetObservation(APPLIED, description="A dry run: rolled back.", metadata=metadata))
    else:
        yield dg.MaterializeResult(asset_key=APPLIED, metadata=metadata)


def applied_metadata(result: ApplyResult) -> dict[str, Any]:
    """How many rows were written, and accounts by what became of them."""
    return {
        "plan_id": result.plan_id,
        "dry_run": result.is_dry_run,
        "was_finished": result.was_finished,
        "rows_written": result.rows_written,
        "events_emitted": result.events_emitted,
        **{f"accounts/{outcome}": accounts for outcome, accounts in result.counts.items()},
    }
