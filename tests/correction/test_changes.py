"""Corrections: from findings to the columns that are to change."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from tests.drift.rules.test_dunning_state import store
from tests.drift.world import NOW, World, make_world
from trueup.contract.schemas import CHANGES
from trueup.correction.changes import changes


def corrections(world: World, findings: pl.DataFrame | None = None) -> pl.DataFrame:
    judged, _ = world.judged()
    return changes(
        world.findings() if findings is None else findings, judged.desired.lazy(), judged.facts, world.policy, NOW
    )


def told(found: pl.DataFrame) -> dict[str, tuple[Any, Any]]:
    """column → before, after."""
    return {c: (json.loads(b), json.loads(a)) for c, b, a in found.select("column", "before", "after").iter_rows()}


def test_where_the_stores_agree_there_is_nothing_to_change() -> None:
    found = corrections(make_world())

    assert found.is_empty()
    assert found.schema == CHANGES


def test_a_wrong_state_is_changed_with_what_is_written_along_and_nothing_else() -> None:
    world = make_world()
    late = world.row("subs_dunning", "late")
    late.update(state="suspended", version=7, reason="past_due", policy_version=world.policy.version)

    found = corrections(world)

    assert told(found) == {
        "state": ("suspended", "retrying"),
        "computed_at": ("2026-11-20T09:36:00.000000Z", "2026-11-20T12:00:00.000000Z"),
    }
    assert found["row_version"].unique().to_list() == [7]
    assert found["codes"].to_list() == [["DUN_EARLY_SUSPENSION"]] * 2
    assert found["reason"].unique().to_list() == ["retrying: past_due"]


def test_a_row_that_only_says_another_reason_is_left_alone() -> None:
    world = make_world()
    world.row("subs_dunning", "late").update(reason="someone else's words", policy_version="old")

    assert corrections(world).is_empty()


def test_counters_are_changed_and_cleared() -> None:
    world = store(
        make_world(), "paid", "retrying", attempt_count=2, driver_invoice_id="in_x", clock_started_on=NOW.date()
    )

    assert told(corrections(world)) == {
        "state": ("retrying", "good_standing"),
        "attempt_count": (2, 0),
        "clock_started_on": ("2026-11-20", None),
        "driver_invoice_id": ("in_x", None),
        "reason": (None, ""),
        "policy_version": (None, world.policy.version),
        "computed_at": (None, "2026-11-20T12:00:00.000000Z"),
    }


def test_a_missing_row_is_inserted_without_its_empty_columns() -> None:
    world = make_world()
    row = world.row("subs_dunning", "late")
    world.drop("subs_dunning", account_id="late")

    found = corrections(world)

    assert found["row_version"].to_list() == [None] * found.height
    assert told(found) == {
        "state": (None, "retrying"),
        "attempt_count": (None, row["attempt_count"]),
        "clock_started_on": (None, row["clock_started_on"].isoformat()),
        "next_retry_at": (None, row["next_retry_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
        "driver_invoice_id": (None, "in_late_2"),
        "reason": (None, "past_due"),
        "policy_version": (None, world.policy.version),
        "computed_at": (None, "2026-11-20T12:00:00.000000Z"),
    }


def test_a_bad_debt_flag_is_changed_in_our_name() -> None:
    world = make_world()
    world.row("subs_account", "paid").update(bad_debt=True, version=3)

    found = corrections(world)

    assert told(found) == {"bad_debt": (True, False), "updated_by": ("A1", "A3")}
    assert found["store"].unique().to_list() == ["subs_account"]
    assert found["row_version"].unique().to_list() == [3]


def test_a_mandate_takes_stripes_word() -> None:
    world = make_world()
    world.mandate("paid", "pm_sepa", ours="active", stripes="inactive")

    found = corrections(world)

    assert found.select("table", "key", "column", "before", "after").rows() == [
        ("subs_mandate", "md_paid", "status", '"active"', '"inactive"')
    ]


@pytest.mark.parametrize(("kind", "is_changed"), [("bacs_debit", True), ("sepa_debit", False)])
def test_a_network_status_is_taken_over_only_where_stripe_tells_one(kind: str, is_changed: bool) -> None:  # noqa: FBT001
    world = make_world()
    world.mandate("paid", "pm_debit", ours="active", stripes="inactive", type_=kind)
    world.tables["subs_mandate"][0]["network_status"] = "accepted"
    world.tables["stripe_mandates"][0]["network_status"] = "revoked" if kind == "bacs_debit" else None

    assert ("network_status" in told(corrections(world))) is is_changed


def test_a_moot_event_is_resolved_also_where_it_has_no_account() -> None:
    world = make_world()
    world.stuck_event("evt_1", "paid")
    world.stuck_event("evt_2", None)

    found = corrections(world)

    assert found.select("account_id", "key", "column", "after", "event_ids").rows() == [
        ("paid", "evt_1", "resolved_at", '"2026-11-20T12:00:00.000000Z"', ["evt_1"]),
        ("paid", "evt_1", "status", '"resolved"', ["evt_1"]),
        (None, "evt_2", "resolved_at", '"2026-11-20T12:00:00.000000Z"', ["evt_2"]),
        (None, "evt_2", "status", '"resolved"', ["evt_2"]),
    ]


def test_a_stuck_event_is_resolved_with_the_plan_that_cures_its_account() -> None:
    world = store(make_world(), "paid", "retrying")
    world.stuck_event("evt_1", "paid")

    found = corrections(world)
    assert set(found["table"]) == {"subs_dunning", "subs_stuck_events"}
    assert found.filter(pl.col("table") == "subs_stuck_events")["codes"].to_list() == [["EVT_STUCK"]] * 2


def test_a_stuck_event_of_an_account_that_others_must_mend_is_left_for_its_handler() -> None:
    world = store(make_world(), "paid", "retrying")
    world.stuck_event("evt_1", "paid")
    findings = world.findings()
    other = findings.filter(pl.col("code") == "DUN_STUCK_AFTER_PAYMENT").with_columns(
        code=pl.lit("INV_AMOUNT_MISMATCH")
    )

    assert set(corrections(world, pl.concat([findings, other]))["table"]) == {"subs_dunning"}


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ({"policy_version": "old"}, "no_event:policy_changed"),
        ({"computed_at": None}, "no_event:older_than_history"),
        ({"computed_at": NOW - timedelta(days=31)}, "no_event:older_than_history"),
        ({"computed_at": NOW - timedelta(days=9), "updated_at": NOW - timedelta(days=2)}, "no_event:store_edited"),
        ({"computed_at": NOW - timedelta(days=9), "updated_at": NOW - timedelta(days=9)}, "no_event:time_passed"),
    ],
)
def test_a_change_that_no_event_led_to_names_its_cause(row: dict[str, Any], cause: str) -> None:
    world = make_world()
    world.row("subs_dunning", "late").update({"policy_version": world.policy.version, **row, "state": "suspended"})
    quiet = world.findings().with_columns(event_ids=pl.lit([], pl.List(pl.String())))

    assert {tuple(ids) for ids in corrections(world, quiet)["event_ids"].to_list()} == {(cause,)}


def test_what_others_wrote_as_a_reason_enters_no_plan() -> None:
    world = make_world()
    world.row("subs_dunning", "late").update(state="suspended", reason="called Ada Lovelace, 4242 4242 4242 4242")

    found = corrections(world)
    assert told(found)["reason"] == (None, "past_due")
    assert "Lovelace" not in found.write_json()


@pytest.mark.parametrize("mark", ["is_settling", "is_suppressed"])
def test_what_is_settling_or_suppressed_is_left_alone(mark: str) -> None:
    world = store(make_world(), "paid", "retrying")
    findings = world.findings().with_columns(pl.lit(value=True).alias(mark))

    assert corrections(world, findings).is_empty()


def test_a_finding_that_does_not_say_whether_it_is_settling_is_left_alone() -> None:
    world = store(make_world(), "paid", "retrying")
    findings = world.findings().with_columns(is_settling=pl.lit(None, dtype=pl.Boolean()))

    assert corrections(world, findings).is_empty()


def test_nothing_is_changed_for_an_account_that_the_engine_is_not_sure_of() -> None:
    world = make_world()
    world.mandate("late", "pm_sepa", ours="active", stripes="inactive")
    world.customer("late", "cus_second")  # two customers, and an invoice that is late and owed

    judged, _ = world.judged()

    assert judged.desired.filter(account_id="late")["quality"].to_list() == ["indeterminate"]
    assert "MAN_STATUS_MISMATCH" in world.findings()["code"]
    assert corrections(world).is_empty()


def test_what_other_owners_must_mend_is_not_ours_to_change() -> None:
    world = make_world()
    world.row("dunning_states", "late")["state"] = "grace"
    world.row("invoices", "inv_paid_1").update(status="open", paid_at=None)
    world.add("subs_dunning", account_id="nobody", state="grace", attempt_count=0)

    codes = set(world.findings()["code"])

    assert codes == {"DUN_LEDGER_COPY_MISMATCH", "DUN_ORPHAN", "INV_PAID_STRIPE_OPEN_INTERNAL"}
    assert corrections(world).is_empty()


def test_equal_inputs_give_equal_changes_whatever_their_order() -> None:
    world = store(make_world(), "paid", "retrying")
    world.stuck_event("evt_2", None)
    judged, _ = world.judged()
    findings = world.findings()

    once = changes(findings, judged.desired.lazy(), judged.facts, world.policy, NOW)
    again = changes(findings.reverse().rechunk(), judged.desired.lazy(), judged.facts, world.policy, NOW)

    assert once.equals(again)


def test_every_change_has_a_name_of_its_own() -> None:
    world = store(make_world(), "paid", "retrying", attempt_count=1)
    world.row("subs_account", "late").update(bad_debt=True)

    found = corrections(world)

    assert found["change_id"].n_unique() == found.height
    assert found["change_id"].str.len_chars().unique().to_list() == [64]


def test_after_the_changes_nothing_is_left_to_change() -> None:
    world = store(make_world(), "paid", "suspended", attempt_count=4)
    world.drop("subs_dunning", account_id="late")
    world.row("subs_account", "paid").update(bad_debt=True)
    world.mandate("paid", "pm_sepa", ours="active", stripes="inactive")
    for table, key, column, after in corrections(world).select("table", "key", "column", "after").iter_rows():
        if not any(row[_KEY[table]] == key for row in world.tables[table]):
            world.add(table, **{_KEY[table]: key})
        row = next(row for row in world.tables[table] if row[_KEY[table]] == key)
        row[column] = _read(column, json.loads(after))

    assert corrections(world).is_empty()


_KEY = {"subs_dunning": "account_id", "subs_account": "account_id", "subs_mandate": "mandate_id"}


def _read(column: str, value: Any) -> Any:
    if value is not None and column == "clock_started_on":
        return date.fromisoformat(value)
    return datetime.fromisoformat(value) if value is not None and column.endswith("_at") else value


def test_the_instant_is_told_only_in_what_is_written_along() -> None:
    world = store(make_world(), "paid", "retrying")
    judged, _ = world.judged()

    first = changes(world.findings(), judged.desired.lazy(), judged.facts, world.policy, NOW)
    later = changes(world.findings(), judged.desired.lazy(), judged.facts, world.policy, NOW + timedelta(minutes=1))

    assert first.filter(pl.col("column") != "computed_at").equals(later.filter(pl.col("column") != "computed_at"))
    assert not first.equals(later)
