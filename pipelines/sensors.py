"""Sensors: what starts a run because something waits for it.

Both are stopped until somebody starts them. A plan is picked up once per attempt (`plan_id:attempt`), so that a refusal
is not asked for again every half minute; the gate is asked in the run itself, as always, so that starting this sensor
approves nothing.
"""

from collections.abc import Iterator
from typing import Final

import dagster as dg

from pipelines.jobs import apply_plan, relay_outbox
from pipelines.tags import EVENTS_TAG, PLAN_TAG
from trueup.stores.auditor.plans import list_plans
from trueup.stores.publish.relay import count_waiting
from trueup.stores.settings import Settings

ATTEMPTS_MAX: Final = 5  # of an apply that was interrupted or blocked; a refused one is not tried again
LOOK_EVERY_SECONDS: Final = 60
BUSY: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(
    job=apply_plan,
    minimum_interval_seconds=LOOK_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Applies plans that somebody approved, and goes on with those that were interrupted.",
)
def approved_plans(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run per approved plan and attempt."""
    waiting = [plan for plan in list_plans(settings) if plan.status in {"approved", "applying"} and not plan.is_expired]
    if not waiting:
        yield dg.SkipReason("No approved plan waits.")
    for plan in waiting:
        attempt = next_attempt(context.instance, plan.plan_id, plan.status)
        if attempt is not None:
            yield dg.RunRequest(
                run_key=f"{plan.plan_id}:{attempt}",
                run_config={"ops": {"applied_corrections": {"config": {"plan_id": plan.plan_id}}}},
                tags={PLAN_TAG: plan.plan_id},
            )


def next_attempt(instance: dg.DagsterInstance, plan_id: str, status: str) -> int | None:
    """The number of the next attempt; none while one is under way, or when it would only be refused again."""
    made = instance.get_runs(dg.RunsFilter(job_name="apply_plan", tags={PLAN_TAG: plan_id}))
    if any(run.status in BUSY for run in made):
        return None
    is_refused = status == "approved" and any(_has_failed_step(instance, run.run_id) for run in made)
    return len(made) + 1 if not is_refused and len(made) < ATTEMPTS_MAX else None


def _has_failed_step(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run ended by an error of its own, a refusal among them; one whose process died has no such event."""
    return bool(instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1).records)


@dg.sensor(
    job=relay_outbox,
    minimum_interval_seconds=LOOK_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Publishes the outbox whenever something waits in it.",
)
def waiting_events(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.RunRequest | dg.SkipReason:
    """A run of the relay while events wait, one at a time."""
    waiting = count_waiting(settings)
    if not waiting:
        return dg.SkipReason("The outbox is empty.")
    if context.instance.get_runs(dg.RunsFilter(job_name="relay_outbox", statuses=BUSY), limit=1):
        return dg.SkipReason(f"{waiting} events wait; the relay is at them.")
    return dg.RunRequest(tags={EVENTS_TAG: str(waiting)})


SENSORS: Final = (approved_plans, waiting_events)
