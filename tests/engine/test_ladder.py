"""Ladders: each condition on its own, all of a step together, and the most severe step that holds.

The steps are tried on small frames of judged invoices, so that a row can be put exactly on either side of a condition.
Whole ladders over whole accounts are told in tests/cases/killbill.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from trueup.contract.schemas import STATES
from trueup.engine.ladder import tags_of, with_ladder_rungs
from trueup.engine.policy import Policy, parse_policy

TODAY = date(2026, 3, 31)
NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
NO_TAGS = pl.LazyFrame(schema={"account_id": pl.String, "tag": pl.String})


@pytest.mark.parametrize(("count", "state"), [(0, "good_standing"), (1, "good_standing"), (2, "grace"), (3, "grace")])
def test_a_count_of_unpaid_invoices_is_reached(count: int, state: str) -> None:
    rows = [invoice(number) for number in range(count)]

    assert answer(rows, {"unpaid_count_gte": 2}) == state


@pytest.mark.parametrize(("amount", "state"), [(99, "good_standing"), (100, "grace"), (101, "grace")])
def test_a_balance_is_reached_by_the_sum_of_one_currency(amount: int, state: str) -> None:
    rows = [invoice(1, outstanding=amount - 40), invoice(2, outstanding=40), invoice(3, outstanding=90, currency="eur")]

    assert answer(rows, {"balance_gte_minor": {"usd": 100}}) == state


def test_a_balance_is_reached_when_it_is_in_any_of_its_currencies() -> None:
    rows = [invoice(1, outstanding=5), invoice(2, outstanding=90, currency="eur")]

    assert answer(rows, {"balance_gte_minor": {"usd": 100, "eur": 90}}) == "grace"


@pytest.mark.parametrize(("age", "state"), [(29, "good_standing"), (30, "grace"), (31, "grace")])
def test_an_age_is_that_of_the_oldest_unpaid_invoice(age: int, state: str) -> None:
    rows = [invoice(1, age=3), invoice(2, age=age), invoice(3, age=90, is_owed=False)]

    assert answer(rows, {"age_days_gte": 30}) == state


@pytest.mark.parametrize(
    ("tags", "state"),
    [((), "good_standing"), (("a",), "good_standing"), (("a", "b"), "grace"), (("a", "b", "c"), "grace")],
)
def test_all_tags_must_be_there(tags: tuple[str, ...], state: str) -> None:
    assert answer([invoice(1)], {"tag_all": ["a", "b"]}, tags=tags) == state


@pytest.mark.parametrize(
    ("tags", "state"), [((), "grace"), (("c",), "grace"), (("a",), "good_standing"), (("c", "b"), "good_standing")]
)
def test_none_of_the_tags_may_be_there(tags: tuple[str, ...], state: str) -> None:
    assert answer([invoice(1)], {"tag_none": ["a", "b"]}, tags=tags) == state


def test_the_last_decline_is_that_of_the_latest_failed_attempt() -> None:
    attempts = [
        attempt("lost_card", hours=3),
        attempt("do_not_honor", hours=2),
        attempt(None, hours=1, status="succeeded"),
    ]

    assert answer([invoice(1)], {"last_decline_in": ["do_not_honor"]}, attempts=attempts) == "grace"
    assert answer([invoice(1)], {"last_decline_in": ["lost_card"]}, attempts=attempts) == "good_standing"


def test_a_decline_that_the_policy_does_not_know_can_be_named_too() -> None:
    attempts = [attempt("code_of_tomorrow", hours=1, deciding_code=None)]

    assert answer([invoice(1)], {"last_decline_in": ["code_of_tomorrow"]}, attempts=attempts) == "grace"


def test_a_decline_that_never_was_is_in_no_list() -> None:
    assert answer([invoice(1)], {"last_decline_in": ["do_not_honor"]}) == "good_standing"


def test_all_conditions_of_a_step_must_hold() -> None:
    step = {"unpaid_count_gte": 1, "age_days_gte": 10, "tag_all": ["a"]}

    assert answer([invoice(1, age=10)], step, tags=("a",)) == "grace"
    assert answer([invoice(1, age=9)], step, tags=("a",)) == "good_standing"
    assert answer([invoice(1, age=10)], step) == "good_standing"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
@pytest.mark.parametrize(
    ("age", "state"), [(9, "good_standing"), (10, "grace"), (20, "final_notice"), (99, "bad_debt")]
)
def test_the_most_severe_step_that_holds_wins_in_whatever_order(order: tuple[int, ...], age: int, state: str) -> None:
    steps = [
        {"state": "grace", "when": {"age_days_gte": 10}},
        {"state": "final_notice", "when": {"age_days_gte": 20}},
        {"state": "bad_debt", "when": {"age_days_gte": 30}},
    ]

    assert state_of([invoice(1, age=age)], ladder(*(steps[number] for number in order))) == state


def test_a_severe_step_may_hold_where_a_milder_one_does_not() -> None:
    steps = ladder(
        {"state": "suspended", "when": {"age_days_gte": 10}}, {"state": "grace", "when": {"unpaid_count_gte": 2}}
    )

    assert state_of([invoice(1, age=10)], steps) == "suspended"


def test_a_step_without_conditions_holds_for_whoever_owes_and_for_no_one_else() -> None:
    assert answer([invoice(1, age=0)], {}) == "grace"
    assert answer([invoice(1, is_owed=False)], {}) == "good_standing"
    assert answer([invoice(1, is_late=False)], {}) == "good_standing"


def test_a_charged_off_invoice_is_unpaid_though_it_has_no_clock() -> None:
    assert answer([invoice(1, age=None, is_late=False, is_charged_off=True)], {"unpaid_count_gte": 1}) == "grace"


def test_every_unpaid_invoice_stands_on_the_step_and_the_others_on_none() -> None:
    rows = [invoice(1), invoice(2, currency="eur"), invoice(3, is_owed=False), invoice(4, is_late=False)]

    assert rungs(rows, ladder({"state": "suspended", "when": {"unpaid_count_gte": 2}})) == [4, 4, 0, 0]


def test_accounts_do_not_count_for_each_other() -> None:
    rows = [invoice(1), invoice(2, account_id="another")]

    assert rungs(rows, ladder({"state": "grace", "when": {"unpaid_count_gte": 2}})) == [0, 0]


def test_days_do_not_count_for_each_other() -> None:
    rows = [invoice(1, age=9), invoice(1, age=10, on=TODAY + timedelta(days=1))]

    assert rungs(rows, ladder({"state": "grace", "when": {"age_days_gte": 10}})) == [0, 1]


@pytest.mark.parametrize("tag", ["plan:pro", "country:DE", "currency:eur", "status:active", "VIP"])
def test_the_stores_tag_an_account_and_others_may_add_to_it(tag: str) -> None:
    accounts = account_frame(plan_code="pro", country="DE", currency="eur", account_status="active")
    given = pl.LazyFrame({"account_id": ["the account"], "tag": ["VIP"]})
    tags = tags_of(accounts, given)

    assert tag in tags.collect()["tag"].to_list()
    assert state_of([invoice(1)], ladder({"state": "grace", "when": {"tag_all": [tag]}}), tags=tags) == "grace"


def test_what_a_store_does_not_say_is_no_tag() -> None:
    tags = tags_of(account_frame(plan_code=None, country=None, currency=None, account_status="closed"), None)

    assert tags.collect()["tag"].to_list() == ["status:closed"]


def ladder(*steps: dict[str, Any]) -> Policy:
    return parse_policy({"ladder": list(steps)})


def answer(rows: list[dict[str, Any]], when: dict[str, Any], tags: tuple[str, ...] = (), **given: Any) -> str:
    """The state under one step to `grace`."""
    tagged = pl.LazyFrame({"account_id": ["the account"] * len(tags), "tag": tags}, schema=NO_TAGS.collect_schema())
    return state_of(rows, ladder({"state": "grace", "when": when}), tags=tagged, **given)


def state_of(rows: list[dict[str, Any]], policy: Policy, **given: Any) -> str:
    return STATES[max(rungs(rows, policy, **given), default=0)]


def rungs(
    rows: list[dict[str, Any]],
    policy: Policy,
    *,
    tags: pl.LazyFrame = NO_TAGS,
    attempts: list[dict[str, Any]] | None = None,
) -> list[int]:
    """The rung of each row, in the order given."""
    frame = pl.LazyFrame(rows, schema=_INVOICE).with_row_index("place")
    made = pl.LazyFrame(attempts or [], schema=_ATTEMPT)
    return with_ladder_rungs(frame, made, tags, policy).sort("place").collect()["rung"].to_list()


def invoice(number: int, age: int | None = 40, **changes: Any) -> dict[str, Any]:
    """An unpaid invoice of that age today."""
    return {
        "account_id": "the account",
        "ref": number,
        "on": TODAY,
        "clock_on": None if age is None else TODAY - timedelta(days=age),
        "age_days": age,
        "outstanding": 1000,
        "currency": "usd",
        "status": "open",
        "is_open": True,
        "is_owed": True,
        "is_late": True,
        "is_charged_off": False,
        "rung": 1,
        **changes,
    }


def attempt(code: str | None, hours: int, **changes: Any) -> dict[str, Any]:
    """A failed attempt so many hours ago."""
    return {
        "account_id": "the account",
        "ref": 1,
        "charge_id": f"ch_{hours}",
        "attempted_at": NOON - timedelta(hours=hours),
        "status": "failed",
        "deciding_code": code,
        "decline_code": code,
        **changes,
    }


def account_frame(**said: str | None) -> pl.LazyFrame:
    return pl.LazyFrame({"account_id": ["the account"], **{name: [value] for name, value in said.items()}})


_INVOICE = {
    "account_id": pl.String,
    "ref": pl.UInt32,
    "on": pl.Date,
    "clock_on": pl.Date,
    "age_days": pl.Int64,
    "outstanding": pl.Int64,
    "currency": pl.String,
    "status": pl.String,
    "is_open": pl.Boolean,
    "is_owed": pl.Boolean,
    "is_late": pl.Boolean,
    "is_charged_off": pl.Boolean,
    "rung": pl.Int8,
}
_ATTEMPT = {
    "account_id": pl.String,
    "ref": pl.UInt32,
    "charge_id": pl.String,
    "attempted_at": pl.Datetime("us", "UTC"),
    "status": pl.String,
    "deciding_code": pl.String,
    "decline_code": pl.String,
}
