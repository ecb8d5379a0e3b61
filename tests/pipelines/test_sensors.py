"""Sensors: an approved plan is picked up once per attempt, and nothing else is."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.execution.plan.objects import StepFailureData
from dagster._daemon.monitoring.run_monitoring import check_run_timeout

from pipelines import sensors
from pipelines.tags import PLAN_TAG
from trueup.stores.auditor.plans import PlanInfo
from trueup.stores.settings import Settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def plan(plan_id: str, status: str, *, is_expired: bool = False) -> PlanInfo:
    return PlanInfo(
        plan_id=plan_id,
        number=1,
        run_id="run",
        as_of=NOW,
        scope="fleet",
        status=status,
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
        finished_at=None,
        changes=1,
        accounts=1,
        is_expired=is_expired,
    )


def asked(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, *plans: PlanInfo) -> list[str | None]:
    """The run keys that the sensor asks for with these plans in the database."""
    monkeypatch.setattr(sensors, "list_plans", lambda _settings: list(plans))
    context = dg.build_sensor_context(instance=instance, resources={"settings": Settings()})
    told = sensors.approved_plans(context)
    return [request.run_key for request in told if isinstance(request, dg.RunRequest)]


def test_only_approved_plans_that_still_hold_are_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = (plan("p", "proposed"), plan("a", "approved"), plan("x", "approved", is_expired=True), plan("d", "applied"))
    with dg.DagsterInstance.ephemeral() as instance:
        assert asked(instance, monkeypatch, *plans) == ["a:1"]


def test_a_refused_plan_is_not_asked_for_again_and_an_interrupted_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for plan_id in ("refused", "interrupted", "died"):
            failed = dg.DagsterRun(job_name="apply_plan", status=dg.DagsterRunStatus.FAILURE, tags={PLAN_TAG: plan_id})
            instance.add_run(failed)
            if plan_id == "refused":
                instance.report_dagster_event(step_failure(), failed.run_id)

        assert asked(instance, monkeypatch, plan("refused", "approved")) == []
        assert asked(instance, monkeypatch, plan("died", "approved")) == ["died:2"]
        assert asked(instance, monkeypatch, plan("interrupted", "applying")) == ["interrupted:2"]


def step_failure() -> dg.DagsterEvent:
    """What a refusal of the gate leaves in the log of its run."""
    return dg.DagsterEvent(
        dg.DagsterEventType.STEP_FAILURE.value,
        "apply_plan",
        step_key="applied_corrections",
        event_specific_data=StepFailureData(error=None, user_failure_data=None),
    )


def test_a_run_whose_process_was_killed_fails_within_its_limit_and_its_plan_is_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {PLAN_TAG: "a", "dagster/max_runtime": "0.01"}
        run = dg.DagsterRun(job_name="apply_plan", status=dg.DagsterRunStatus.STARTING, tags=tags)
        instance.add_run(run)
        instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "apply_plan"), run.run_id)
        assert asked(instance, monkeypatch, plan("a", "applying")) == []

        time.sleep(0.1)
        record = instance.get_run_record_by_id(run.run_id)
        assert record is not None
        check_run_timeout(instance, record, logging.getLogger(), 0)

        assert status_of(instance, run.run_id) == dg.DagsterRunStatus.FAILURE
        assert asked(instance, monkeypatch, plan("a", "applying")) == ["a:2"]
        assert asked(instance, monkeypatch, plan("a", "approved")) == ["a:2"]


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_an_apply_that_is_under_way_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(dg.DagsterRun(job_name="apply_plan", status=dg.DagsterRunStatus.STARTED, tags={PLAN_TAG: "a"}))

        assert asked(instance, monkeypatch, plan("a", "applying")) == []
