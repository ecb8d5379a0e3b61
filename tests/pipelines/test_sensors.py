"""Sensors: an approved plan is picked up once per attempt, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

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
        for plan_id in ("refused", "interrupted"):
            failed = dg.DagsterRun(job_name="apply_plan", status=dg.DagsterRunStatus.FAILURE, tags={PLAN_TAG: plan_id})
            instance.add_run(failed)

        assert asked(instance, monkeypatch, plan("refused", "approved")) == []
        assert asked(instance, monkeypatch, plan("interrupted", "applying")) == ["interrupted:2"]


def test_an_apply_that_is_under_way_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(dg.DagsterRun(job_name="apply_plan", status=dg.DagsterRunStatus.STARTED, tags={PLAN_TAG: "a"}))

        assert asked(instance, monkeypatch, plan("a", "applying")) == []
