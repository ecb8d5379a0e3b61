"""Trend: is the number of disagreeing accounts out of line with its own recent past, or above what is bearable?

The number is held against earlier runs over the same accounts. Counts like these have a heavy upper tail (one stale
webhook is a hundred accounts), so the measure is the median and the median absolute deviation, which a single bad day
does not move: more than three scaled deviations above the median, and at least `RISE_MIN` accounts above it, is a rise.
1.4826 scales the deviation to a standard deviation where the counts are normal. With fewer than `RUNS_MIN` earlier runs
nothing can be said, and the check says so.
"""

from typing import Final

import dagster as dg
import polars as pl

from trueup.audit.run_folder import read_json, run_folder
from trueup.stores.auditor.history import runs_over_time
from trueup.stores.errors import StoreError
from trueup.stores.settings import Settings

RUNS_MIN: Final = 5
RUNS_LOOKED_AT: Final = 30
DEVIATIONS_MAX: Final = 3.0
SCALE: Final = 1.4826
RISE_MIN: Final = 10


@dg.asset_check(asset="disagreements", description="No rise out of line with earlier runs over the same accounts.")
def disagreements_do_not_rise(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Fails on a rise above the runs before it."""
    try:
        runs = runs_over_time(settings, runs=RUNS_LOOKED_AT)
    except StoreError as fault:
        return _passed({"reason": f"There is no history: {fault.message}"})
    mine = runs.filter(pl.col("run_id") == context.run.run_id)
    if mine.is_empty():
        return _passed({"reason": "This run is not in the history."})
    now = mine["accounts_disagreeing"].item()
    is_before = (pl.col("scope_key") == mine["scope_key"].item()) & (pl.col("number") < mine["number"].item())
    return verdict(now, runs.filter(is_before)["accounts_disagreeing"])


def verdict(now: int, before: pl.Series) -> dg.AssetCheckResult:
    """Whether a number is out of line with those before it."""
    if len(before) < RUNS_MIN:
        return _passed({"accounts_disagreeing": now, "reason": f"{len(before)} earlier runs; {RUNS_MIN} are needed."})
    middle = float(before.median() or 0)  # type: ignore[arg-type]
    deviation = float((before - middle).abs().median() or 0)  # type: ignore[arg-type]
    bound = middle + max(DEVIATIONS_MAX * SCALE * deviation, RISE_MIN)
    return dg.AssetCheckResult(
        passed=now <= bound,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"accounts_disagreeing": now, "median_before": middle, "bound": bound, "runs_before": len(before)},
    )


@dg.asset_check(asset="disagreements", description="Fewer accounts disagree than the settings bear.")
def disagreements_stay_bearable(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Fails above an absolute share of the accounts that were looked at."""
    manifest = read_json(run_folder(settings, context.run.run_id) / "manifest.json")
    disagreeing, accounts = manifest["accounts_disagreeing"], manifest["accounts"]
    share = disagreeing / accounts if accounts else 0.0
    return dg.AssetCheckResult(
        passed=share <= settings.disagreeing_share_max,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"share_disagreeing": share, "share_max": settings.disagreeing_share_max},
    )


def _passed(metadata: dict[str, int | str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, severity=dg.AssetCheckSeverity.WARN, metadata=metadata)


TREND_CHECKS: Final = [disagreements_do_not_rise, disagreements_stay_bearable]
