"""Wholeness: no plan is made from a snapshot in which a store is missing, stale or cut short.

This is the one check that blocks: without it, an account that owes nothing and an account whose invoices could not be
read would look the same to a plan. The report is not blocked; it says what cannot be told.
"""

import dagster as dg

from checks.judging import broken_stores, cannot_tell, named, run_of_check, run_to_check, standbys
from trueup.audit.gather import STANDBY
from trueup.stores.settings import Settings


@dg.asset_check(
    asset="corrections", blocking=True, description="All six stores were read whole, and lately enough to act on."
)
def every_store_was_read_whole(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Fails, and so keeps a plan from being made, if a store is partial, stale or a standby."""
    run = run_to_check(context, settings)
    broken = broken_stores(run)
    if broken:
        return cannot_tell(named(broken), {"broken_stores": len(broken), **broken, **run_of_check(run)})
    if of_no_instant := standbys(run):
        because = f"{', '.join(of_no_instant)}: {STANDBY}"
        return cannot_tell(because, {"standbys": len(of_no_instant), **run_of_check(run)})
    return dg.AssetCheckResult(passed=True, description="All six stores", metadata={"broken_stores": 0})
