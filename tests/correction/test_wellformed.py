"""Well-formed changes: what `trueup plan` makes passes, and what could be read in two ways does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stores.apply.planting import change, changes_of, cleared, flagged, inserted, suspended
from trueup.correction.wellformed import faults


@pytest.mark.parametrize("rows", [cleared("a0"), flagged("a0"), inserted("a0"), suspended("a0"), []])
def test_what_a_plan_makes_is_well_formed(rows: list[dict[str, Any]]) -> None:
    assert faults(changes_of(rows)) == []


@pytest.mark.parametrize(
    "after",
    ['"s\\u0075spended"', '"suspended" ', "suspended", '"frozen"', "", "3", "true", "null", '["suspended"]', "NaN",
     "1.0", '{"a":1}', '"suspended', "\u0000"],
)  # fmt: skip
def test_a_state_that_is_not_written_in_the_one_way_is_refused(after: str) -> None:
    (row,) = suspended("a0")

    assert len(faults(changes_of([{**row, "after": after}]))) == 1


@pytest.mark.parametrize(
    ("table", "column", "value", "is_sound"),
    [
        ("subs_dunning", "attempt_count", 0, True),
        ("subs_dunning", "attempt_count", -1, False),
        ("subs_dunning", "attempt_count", 2**31, False),
        ("subs_dunning", "attempt_count", True, False),
        ("subs_dunning", "attempt_count", "3", False),
        ("subs_dunning", "clock_started_on", "2026-02-28", True),
        ("subs_dunning", "clock_started_on", "2026-02-30", False),
        ("subs_dunning", "clock_started_on", "20260228", False),
        ("subs_dunning", "next_retry_at", "2026-02-28T01:02:03.000004Z", True),
        ("subs_dunning", "next_retry_at", "2026-02-28T01:02:03Z", False),
        ("subs_dunning", "next_retry_at", "2026-02-28T01:02:03.000004+00:00", False),
        ("subs_dunning", "next_retry_at", "infinity", False),
        ("subs_dunning", "reason", "a\0b", False),
        ("subs_dunning", "state", "good_standing", True),
        ("subs_account", "bad_debt", True, True),
        ("subs_account", "bad_debt", 1, False),
        ("subs_account", "bad_debt", None, False),
        ("subs_account", "updated_by", "A3", True),
        ("subs_account", "updated_by", "A1", False),
        ("subs_mandate", "status", "inactive", True),
        ("subs_mandate", "status", "gone", False),
        ("subs_mandate", "network_status", None, True),
        ("subs_stuck_events", "status", "resolved", True),
        ("subs_stuck_events", "status", "dead", False),
    ],
)
def test_a_value_is_one_that_its_column_can_hold(table: str, column: str, value: object, is_sound: bool) -> None:  # noqa: FBT001
    row = change("a0", table, column, None, None, 1) | {"after": json.dumps(value)}

    assert (faults(changes_of([row])) == []) is is_sound


def test_a_change_of_nobody_is_refused_outside_the_stuck_events() -> None:
    nobody = {"account_id": None}
    dunning = [row | nobody for row in suspended("a0")]
    event = change("a0", "subs_stuck_events", "status", "stuck", "resolved", 1) | nobody

    assert faults(changes_of(dunning)) == ["subs_dunning.state of a0 names no account"]
    assert faults(changes_of([event])) == []


def test_a_row_filed_under_another_account_is_refused() -> None:
    rows = [row | {"account_id": "a1"} for row in suspended("a0")]

    assert faults(changes_of(rows)) == ["subs_dunning.state of a0 is filed under account a1"]


def test_a_cell_that_is_there_twice_or_that_no_store_has_is_refused() -> None:
    (row,) = suspended("a0")

    assert faults(changes_of([row, {**row, "change_id": "other", "after": '"grace"'}])) == [
        "subs_dunning.state of a0 is there 2 times"
    ]
    assert faults(changes_of([{**row, "column": "mood"}])) == [
        "subs_dunning.mood of a0 in subs_dunning is no cell of a store"
    ]


def test_a_row_of_two_versions_or_two_accounts_is_refused() -> None:
    rows = [*suspended("a0", 7), *[row for row in cleared("a0", 8) if row["column"] == "reason"]]

    assert faults(changes_of(rows)) == ["subs_dunning a0 has 1 accounts and 2 row versions"]
