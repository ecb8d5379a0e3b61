"""Wholeness: no plan is made from a snapshot in which a store is missing, stale or cut short.

This is the one check that blocks: without it, an account that owes nothing and an account whose invoices could not be
read would reading the same to a plan. The report is not blocked; it says what could not be told.
"""

import dagster as dg

from trueup.audit.run_folder import read_json, run_folder
from trueup.stores.settings import Settings


@dg.asset_check(
    asset="corrections", blocking=True, description="All six stores were read whole, and lately enough to act on."
)
def every_store_was_read_whole(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Fails, and so keeps a plan from being made, if a store is partial or stale."""
    stores = read_json(run_folder(settings, context.run.run_id) / "manifest.json")["stores"]
    broken = {name: store["broken"] for name, store in stores.items() if store["broken"]}
    return dg.AssetCheckResult(
        passed=not broken,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"broken_stores": len(broken), **broken},
    )
