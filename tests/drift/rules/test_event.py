"""Events: stuck, moot, malformed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.drift.rules.test_dunning_state import store
from tests.drift.world import NOW, days_ago, make_world


def test_a_stuck_event_of_an_account_that_agrees_is_moot() -> None:
    world = make_world()
    world.stuck_event("evt_1", "paid")
    world.stuck_event("evt_2", None)

    findings = world.findings()

    assert findings.select("account_id", "code", "object_id", "severity", "desired").rows() == [
        ("paid", "EVT_STUCK_MOOT", "evt_1", "S4", '{"status":"resolved"}'),
        (None, "EVT_STUCK_MOOT", "evt_2", "S4", '{"status":"resolved"}'),
    ]


def test_a_stuck_event_of_an_account_that_disagrees_is_caused_by_the_root() -> None:
    world = store(make_world(), "paid", "retrying")
    world.stuck_event("evt_1", "paid", object_id="in_paid_1")

    findings = world.findings()

    assert findings.select("code", "object_id", "severity", "is_root", "caused_by").rows() == [
        ("DUN_STUCK_AFTER_PAYMENT", None, "S1", True, None),
        ("EVT_STUCK", "evt_1", "S1", False, "DUN_STUCK_AFTER_PAYMENT"),
    ]
    assert findings.filter(code="EVT_STUCK")["event_ids"].to_list() == [["evt_1"]]


@pytest.mark.parametrize(
    ("values", "is_found"),
    [
        ({"received_at": NOW - timedelta(minutes=59)}, False),
        ({"received_at": NOW - timedelta(minutes=61), "status": "pending"}, True),
        ({"status": "dead"}, False),
        ({"status": "resolved", "resolved_at": days_ago(0.5)}, False),
        ({"status": "resolved", "resolved_at": NOW + timedelta(hours=1)}, True),
    ],
)
def test_an_event_is_stuck_after_an_hour_and_until_it_is_resolved(values: dict[str, object], is_found: bool) -> None:  # noqa: FBT001
    world = make_world()
    world.stuck_event("evt_1", "paid", **values)

    assert world.found() == ([("paid", "EVT_STUCK_MOOT", "evt_1")] if is_found else [])


@pytest.mark.parametrize("status", ["pending", "stuck"])
def test_a_malformed_event_is_quarantined_and_nothing_else(status: str) -> None:
    world = store(make_world(), "paid", "retrying")
    world.stuck_event("evt_1", "paid", is_well_formed=False, status=status)

    assert world.found() == [("paid", "DUN_STUCK_AFTER_PAYMENT", None), ("paid", "EVT_MALFORMED", "evt_1")]


def test_a_malformed_event_that_a_person_has_buried_is_no_finding() -> None:
    world = make_world()
    world.stuck_event("evt_1", "paid", is_well_formed=False, status="dead")

    assert world.found() == []
