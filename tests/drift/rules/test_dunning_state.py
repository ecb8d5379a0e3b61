"""Dunning: stored states, counters, copies and flags against the engine's answer."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.drift.world import World, days_ago, make_world


def store(world: World, account: str, state: str, **counters: Any) -> World:
    """Write a stored dunning row, whatever the engine says."""
    world.drop("subs_dunning", account_id=account)
    world.add("subs_dunning", account_id=account, state=state, **({"attempt_count": 0} | counters))
    return world


def written_off(world: World) -> World:
    """`late` has sat out its attempts and its days, and its subscription says so."""
    for table, key in (("invoices", "inv_late_2"), ("stripe_invoices", "in_late_2")):
        world.row(table, key)["finalized_at"] = days_ago(90)
    for number, ago in enumerate((90, 87, 82, 75)):
        world.attempt("late_2", f"old_{number}", at=days_ago(ago))
    world.row("stripe_subscriptions", "sub_cus_late")["status"] = "unpaid"
    return world.settle()


@pytest.mark.parametrize(
    ("account", "state", "code"),
    [
        ("paid", "retrying", "DUN_STUCK_AFTER_PAYMENT"),
        ("paid", "bad_debt", "DUN_STUCK_AFTER_PAYMENT"),
        ("late", "good_standing", "DUN_NOT_STARTED"),
        ("late", "suspended", "DUN_EARLY_SUSPENSION"),
        ("late", "bad_debt", "DUN_EARLY_SUSPENSION"),
        ("late", "grace", "DUN_STATE_MISMATCH"),
        ("late", "final_notice", "DUN_STATE_MISMATCH"),
    ],
)
def test_a_difference_of_state_has_one_name(account: str, state: str, code: str) -> None:
    assert store(make_world(), account, state).found() == [(account, code, None)]


def test_a_missing_row_is_good_standing_with_nothing_counted() -> None:
    world = make_world()
    assert "paid" not in [row["account_id"] for row in world.tables["subs_dunning"]]
    assert world.found() == []

    world.drop("subs_dunning", account_id="late")
    assert world.found() == [("late", "DUN_NOT_STARTED", None)]


def test_suspended_where_it_should_be_bad_debt_is_a_mismatch() -> None:
    world = written_off(make_world())
    assert world.found() == []

    assert store(world, "late", "suspended").found() == [("late", "DUN_STATE_MISMATCH", None)]


def test_a_stored_state_that_cannot_be_told_is_a_broken_row_and_no_difference() -> None:
    assert store(make_world(), "late", "dunned").found() == [("late", "SRC_CONTRACT", "late")]


@pytest.mark.parametrize(
    "change",
    [
        {"attempt_count": 1},
        {"attempt_count": None},
        {"clock_started_on": None},
        {"next_retry_at": None},
        {"driver_invoice_id": "in_other"},
    ],
)
def test_a_right_state_with_a_wrong_counter_is_found(change: dict[str, object]) -> None:
    world = make_world()
    world.row("subs_dunning", "late").update(change)

    assert world.found() == [("late", "DUN_COUNTER_MISMATCH", None)]


def test_good_standing_with_a_clock_left_over_is_a_counter_mismatch() -> None:
    world = store(make_world(), "paid", "good_standing", clock_started_on=days_ago(9).date())

    assert world.found() == [("paid", "DUN_COUNTER_MISMATCH", None)]


def test_a_reason_or_a_letter_is_never_a_difference() -> None:
    world = make_world()
    world.row("subs_dunning", "late").update(reason="whatever", policy_version="old", final_notice_sent_at=days_ago(1))

    assert world.found() == []


def test_an_exempt_account_is_ignored_by_every_rule_but_its_own() -> None:
    world = make_world()
    world.row("subs_account", "late")["dunning_exempt"] = True
    world.row("dunning_states", "late")["state"] = "retrying"

    assert world.found() == [("late", "DUN_EXEMPT_IGNORED", None)]
    assert store(world, "late", "good_standing", attempt_count=9).found() == []


def test_a_child_of_an_exempt_parent_is_not_exempt_itself() -> None:
    world = make_world()
    world.row("subs_account", "late")["dunning_exempt"] = True
    world.account("child", parent_account_id="late")
    store(world.settle(), "child", "retrying")

    assert world.found() == [("child", "DUN_STUCK_AFTER_PAYMENT", None)]


def test_a_dispute_over_a_paid_invoice_names_the_difference() -> None:
    world = store(make_world(), "paid", "retrying")
    world.dispute("paid_1", "under_review", at=days_ago(5))

    assert world.found() == [("paid", "DISPUTE_OPEN_BUT_DUNNING", None)]


def test_a_dispute_over_the_driver_names_the_difference() -> None:
    world = make_world()
    world.dispute("late_2a", "needs_response", at=days_ago(3))
    world.settle()
    assert world.found() == []

    assert store(world, "late", "suspended").found() == [("late", "DISPUTE_OPEN_BUT_DUNNING", None)]


def test_a_dispute_does_not_explain_a_state_that_is_too_low() -> None:
    world = make_world()
    world.dispute("late_1", "needs_response", at=days_ago(3))
    world.settle()

    assert store(world, "late", "good_standing").found() == [("late", "DUN_NOT_STARTED", None)]


def test_a_closed_dispute_explains_nothing() -> None:
    world = store(make_world(), "paid", "retrying")
    world.dispute("paid_1", "won", at=days_ago(30), closed_at=days_ago(20))

    assert world.found() == [("paid", "DUN_STUCK_AFTER_PAYMENT", None)]


def test_a_child_is_held_to_its_parents_result_and_dispute() -> None:
    world = make_world()
    world.account("child", parent_account_id="paid")
    store(world.settle(), "child", "retrying")
    assert world.found() == [("child", "DUN_STUCK_AFTER_PAYMENT", None)]

    world.dispute("paid_1", "under_review", at=days_ago(5))
    assert world.found() == [("child", "DISPUTE_OPEN_BUT_DUNNING", None)]


def test_an_indeterminate_account_has_no_finding_about_its_state() -> None:
    world = store(make_world(), "late", "suspended")
    world.row("subs_account", "late")["bad_debt"] = True
    world.drop("entitlements", account_id="late")
    world.row("accounts", "late")["timezone"] = "Mars/Olympus"

    assert world.found() == [("late", "SRC_CONTRACT", "late")]


@pytest.mark.parametrize("state", ["good_standing", "grace", None])
def test_the_ledgers_copy_is_compared_too(state: str | None) -> None:
    world = make_world()
    world.drop("dunning_states", account_id="late")
    if state:
        world.add("dunning_states", account_id="late", state=state)

    assert world.found() == [("late", "DUN_LEDGER_COPY_MISMATCH", None)]


def test_no_copy_at_all_is_good_standing() -> None:
    world = make_world()
    world.add("dunning_states", account_id="paid", state="good_standing")

    assert world.found() == []


def test_a_dunning_row_of_nobody_is_an_orphan() -> None:
    world = store(make_world(), "ghost", "suspended")

    assert world.findings().select("account_id", "code", "severity").rows() == [("ghost", "DUN_ORPHAN", "S4")]


def test_flags_for_bad_debt_follow_the_state() -> None:
    world = make_world()
    world.row("subs_account", "paid")["bad_debt"] = True
    assert world.found() == [("paid", "FLAG_BAD_DEBT_STALE", None)]

    world = written_off(make_world())
    assert world.row("subs_account", "late")["bad_debt"] is True
    world.row("subs_account", "late")["bad_debt"] = False
    assert world.found() == [("late", "FLAG_BAD_DEBT_MISSING", None)]


def test_a_finding_says_what_is_stored_and_what_is_desired() -> None:
    findings = store(make_world(), "late", "grace").findings()

    (row,) = findings.with_columns(
        pl.col("observed").str.json_path_match("$.subs_dunning.state").alias("stored"),
        pl.col("desired").str.json_path_match("$.state").alias("wanted"),
    ).to_dicts()
    assert (row["stored"], row["wanted"]) == ("grace", "retrying")
    assert (row["severity"], row["owner"], row["is_root"], row["caused_by"]) == ("S2", "A3 recompute", True, None)
