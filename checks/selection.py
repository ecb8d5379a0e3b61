"""Checks of an audit of less than the fleet. They are its own: the fleet's checks never judge a subset."""

from typing import Final

import dagster as dg

from checks.judging import broken_stores, cannot_tell, named, run_of_check
from trueup.audit.run_folder import find_run, read_json
from trueup.stores.settings import Settings


@dg.asset_check(asset=["selection", "corrections"], blocking=True, description="All six stores were read whole.")
def selection_was_read_whole(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Fails, and so keeps a plan from being made, if a store is partial or stale."""
    run = find_run(settings, context.run.run_id)
    if run is None:
        return cannot_tell("a selection is checked in the run that audits it: launch job audit_selection")
    broken = broken_stores(run)
    if broken:
        return cannot_tell(named(broken), {"broken_stores": len(broken), **run_of_check(run)})
    return dg.AssetCheckResult(passed=True, description="All six stores", metadata=run_of_check(run))


@dg.asset_check(asset=["selection", "disagreements"], description="None of the selected accounts disagrees.")
def selected_accounts_agree(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Fails if a selected account disagrees, or where that cannot be told."""
    run = find_run(settings, context.run.run_id)
    if run is None:
        return cannot_tell("a selection is checked in the run that audits it: launch job audit_selection")
    broken = broken_stores(run)
    if broken:
        return cannot_tell(named(broken), run_of_check(run))
    results = read_json(run.folder / "manifest.json")
    disagreeing, accounts = results["accounts_disagreeing"], results["accounts"]
    return dg.AssetCheckResult(
        passed=not disagreeing,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{disagreeing:,} of {accounts:,} selected accounts ({run.scope.label})",
        metadata={"selected_accounts_disagreeing": disagreeing, **run_of_check(run)},
    )


SELECTION_CHECKS: Final = [selection_was_read_whole, selected_accounts_agree]
