"""How a Dagster step finds its run, and what every materialization says of it.

A run's manifest, its folder and its inputs are the library's (`trueup/audit`); here Dagster's run is translated into
them. Terms that cannot be meant end the run as canceled before any store is asked, so that no check turns red.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import dagster as dg

from trueup.audit.inputs import NoBaseRun, Stage, ensure, open_run
from trueup.audit.run_folder import Run, find_run
from trueup.audit.terms import Terms
from trueup.engine.policy import PolicyError
from trueup.stores.errors import AccountUnknown, SettingsError
from trueup.stores.settings import Settings

FLEET: Final = Terms()
SCOPE_TAG: Final = "trueup/scope"
WHOLENESS_TAG: Final = "trueup/wholeness"
PLAN_TAG: Final = "trueup/plan_id"


def run_that_reads(context: dg.AssetExecutionContext, settings: Settings, terms: Terms = FLEET) -> Run:
    """The run of a step that reads stores itself, begun if this is its first step."""
    return _open(context, settings, terms, reads_stores=True)


def run_with(context: dg.AssetExecutionContext, settings: Settings, inputs: Stage) -> Run:
    """The run of a step that needs the files of a stage: made in this run, or taken from an earlier one."""
    run = _open(context, settings, FLEET, reads_stores=False)
    with refused_as_canceled(context):
        ensure(run, settings, inputs)
    if run.manifest.base_run_id:
        context.log.info("Inputs are taken from run %s (as of %s).", run.manifest.base_run_id, run.as_of.isoformat())
    return run


def run_metadata(run: Run) -> dict[str, Any]:
    """What every materialization says of its run: scope, instant, and where its inputs come from."""
    return {
        "scope": run.scope.label,
        "as_of": dg.MetadataValue.timestamp(run.as_of),
        "policy_version": run.policy.version,
        **(
            {"inputs_from_run": dg.MetadataValue.dagster_run(run.manifest.base_run_id)}
            if run.manifest.base_run_id
            else {}
        ),
    }


def tag_run(context: dg.AssetExecutionContext, tags: Mapping[str, str]) -> None:
    """Add tags to the run, by which it is found in the list of runs."""
    context.instance.add_run_tags(context.run.run_id, dict(tags))


@contextmanager
def refused_as_canceled(context: dg.AssetExecutionContext) -> Iterator[None]:
    """End the run as canceled, with the refusal's own words in one event, where a launch asks what cannot be done.

    A failed run would show every check that it was to evaluate as failed to execute; a canceled one shows them skipped.
    """
    try:
        yield
    except (SettingsError, PolicyError, NoBaseRun, AccountUnknown) as refusal:
        context.instance.report_run_canceling(context.run, f"The launch is refused. {refusal}")
        raise


def _open(context: dg.AssetExecutionContext, settings: Settings, terms: Terms, *, reads_stores: bool) -> Run:
    begun = find_run(settings, context.run.run_id)
    if begun is not None:
        return begun
    record = context.instance.get_run_record_by_id(context.run.run_id)
    if record is None:
        message = f"Dagster's instance does not know its own run {context.run.run_id}."
        raise LookupError(message)
    is_continued = context.run.step_keys_to_execute is not None
    with refused_as_canceled(context):
        run = open_run(
            settings,
            context.run.run_id,
            record.create_timestamp,
            terms,
            parent_run_id=context.run.parent_run_id if is_continued else None,
            reads_stores=reads_stores,
        )
    tag_run(context, {SCOPE_TAG: run.scope.label})
    return run
