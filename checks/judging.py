"""Judging: what every check on an audit shares: which run it judges, and what it says when it cannot tell.

A check that could not be judged fails, and "cannot tell" are its first words: passing would be a claim that nobody
made. Its severity is an error, since somebody has to mend a store before anything else is worth reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from trueup.audit.inputs import NoBaseRun, Stage, run_that_left
from trueup.audit.run_folder import Run, read_json
from trueup.stores.settings import Settings


def run_to_check(context: dg.AssetCheckExecutionContext, settings: Settings, stage: Stage = "results") -> Run:
    """The run whose results a check judges: its own, or the last whole one's where the check runs alone."""
    try:
        run = run_that_left(stage, settings, context.run.run_id, context.run.parent_run_id)
    except NoBaseRun as refusal:
        context.instance.report_run_canceling(context.run, f"The launch is refused. {refusal}")
        raise
    if run.run_id != context.run.run_id:
        context.log.info("The results of run %s are judged (as of %s).", run.run_id, run.as_of.isoformat())
    return run


def broken_stores(run: Run) -> dict[str, str]:
    """Store → SRC_PARTIAL or SRC_STALE, for those that the run could not rely on."""
    stores = read_json(run.folder / "manifest.json")["stores"]
    return {name: store["broken"] for name, store in stores.items() if store["broken"]}


def standbys(run: Run) -> list[str]:
    """The stores that the run read from a standby, and so not at one instant."""
    stores = read_json(run.folder / "manifest.json")["stores"]
    return [name for name, store in stores.items() if store.get("is_standby")]


def run_of_check(run: Run) -> dict[str, Any]:
    """What every check result says of the run it judges."""
    return {"run": dg.MetadataValue.dagster_run(run.run_id), "scope": run.scope.label}


def cannot_tell(because: str, metadata: Mapping[str, Any] | None = None) -> dg.AssetCheckResult:
    """The result of a check that could not be judged."""
    return dg.AssetCheckResult(
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"Cannot tell: {because}",
        metadata={"cannot_tell": because, **(metadata or {})},
    )


def named(broken: Mapping[str, str]) -> str:
    """Broken stores in words."""
    return ", ".join(f"{store} is {'stale' if code == 'SRC_STALE' else 'not whole'}" for store, code in broken.items())
