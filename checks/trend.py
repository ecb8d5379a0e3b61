"""Trend: is the number of disagreeing accounts out of line with its own recent past, or above what is bearable?

The number is compared with earlier whole runs over the same accounts. Counts like these have a heavy upper tail (one
stale webhook is a hundred accounts), so the measure is the median and the median absolute deviation, which a single bad
day does not move: more than three scaled deviations above the median, and at least `RISE_MIN` accounts above it, is a
rise. 1.4826 scales the deviation to a standard deviation where the counts are normal. With fewer than `RUNS_MIN`
earlier runs there is nothing to compare with, and the check says so and passes; a run that could not see cannot tell.
"""

from typing import Final

import dagster as dg
import polars as pl

from checks.judging import broken_stores, cannot_tell, named, run_of_check, run_to_check
from trueup.audit.run_folder import read_json
from trueup.stores.auditor.history import runs_over_time
from trueup.stores.errors import StoreError
from trueup.stores.settings import Settings

RUNS_MIN: Final = 5
RUNS_COMPARED: Final = 30
DEVIATIONS_MAX: Final = 3.0
SCALE: Final = 1.4826
RISE_MIN: Final = 10


@dg.asset_check(asset="disagreements", description="No rise out of line with earlier runs over the same accounts.")
def disagreements_do_not_rise(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Fails on a rise above the runs before it."""
    run = run_to_check(context, settings)
    broken = broken_stores(run)
    if broken:
        return cannot_tell(named(broken), run_of_check(run))
    try:
        runs = runs_over_time(settings, runs=RUNS_COMPARED)
    except StoreError as fault:
        return cannot_tell(f"there is no history: {fault.message}", run_of_check(run))
    mine = runs.filter(pl.col("run_id") == run.manifest.reading_run_id) if runs.height else runs
    if mine.is_empty():
        return cannot_tell("this run is not in the history", run_of_check(run))
    return judge_rise(mine["accounts_disagreeing"].item(), earlier_numbers(runs, mine))


def earlier_numbers(runs: pl.DataFrame, mine: pl.DataFrame) -> pl.Series:
    """The numbers of the whole runs before this one over the same accounts."""
    is_before = (pl.col("scope_key") == mine["scope_key"].item()) & (pl.col("number") < mine["number"].item())
    return runs.filter(is_before, pl.col("broken") == "")["accounts_disagreeing"]


def judge_rise(now: int, before: pl.Series) -> dg.AssetCheckResult:
    """Whether a number is out of line with those before it."""
    if len(before) < RUNS_MIN:
        words = f"{now:,} accounts; no comparison before {RUNS_MIN} earlier runs, and there are {len(before)}"
        return dg.AssetCheckResult(passed=True, description=words, metadata={"accounts_disagreeing": now})
    middle = float(before.median() or 0)  # type: ignore[arg-type]
    deviation = float((before - middle).abs().median() or 0)  # type: ignore[arg-type]
    bound = middle + max(DEVIATIONS_MAX * SCALE * deviation, RISE_MIN)
    return dg.AssetCheckResult(
        passed=now <= bound,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{now:,} accounts, {now - middle:+,.0f} against the median of {len(before)} runs",
        metadata={"accounts_disagreeing": now, "median_before": middle, "bound": bound, "runs_before": len(before)},
    )


@dg.asset_check(asset="disagreements", description="Fewer accounts disagree than the settings bear.")
def disagreements_stay_bearable(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Fails above an absolute share of the accounts that were audited."""
    run = run_to_check(context, settings)
    broken = broken_stores(run)
    if broken:
        return cannot_tell(named(broken), run_of_check(run))
    results = read_json(run.folder / "manifest.json")
    disagreeing, accounts = results["accounts_disagreeing"], results["accounts"]
    share = disagreeing / accounts if accounts else 0.0
    return dg.AssetCheckResult(
        passed=share <= settings.disagreeing_share_max,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{share:.2%} of {accounts:,} accounts; up to {settings.disagreeing_share_max:.2%}",
        metadata={"share_disagreeing": share, "share_max": settings.disagreeing_share_max, **run_of_check(run)},
    )


TREND_CHECKS: Final = [disagreements_do_not_rise, disagreements_stay_bearable]
