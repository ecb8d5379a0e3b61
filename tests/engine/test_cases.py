"""Golden cases: what other billing systems answer, told as stories in tests/cases/, asked of our engine.

Every case of every anchor is run. Where an anchor and docs/contract/DUNNING.md part on purpose, contradictions.toml
says what the anchor asks and why we answer otherwise; our own answer is asserted all the same, and so is that the two
still differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import polars as pl
import pytest

from tests.cases.facts import Facts
from tests.cases.stories import Day, Story, answer_of, listed, stories
from trueup.contract import VIOLATIONS, sweep
from trueup.contract.schemas import STORES
from trueup.drift import find
from trueup.engine.engine import Judged, compute

STORIES = stories()
DAYS = [day for story in STORIES for day in story.days]
NO_FAULTS = pl.DataFrame(schema=VIOLATIONS)
CONTRADICTIONS = {row["id"]: row for row in listed("contradictions")}


@pytest.mark.parametrize("day", DAYS, ids=[day.name for day in DAYS])
def test_the_engine_answers_as_the_story_tells(day: Day) -> None:
    answer = look(day, day.answer)

    assert answer == day.answer


@pytest.mark.parametrize("case_id", CONTRADICTIONS)
def test_a_contradiction_still_contradicts(case_id: str) -> None:
    asked = answer_of(CONTRADICTIONS[case_id]["asks"])
    answers = [look(day, asked) for day in DAYS if day.case_id == case_id]

    assert answers
    assert asked not in answers


def test_every_case_of_every_anchor_is_run_or_listed() -> None:
    known = Counter(case_id for anchor in listed("anchors") for case_id in anchor["ids"])
    told = {day.case_id for day in DAYS if day.case_id}
    run = told - set(CONTRADICTIONS)

    assert max(known.values()) == 1
    assert run | set(CONTRADICTIONS) == set(known)
    assert len(run) + len(CONTRADICTIONS) == 129


def test_every_contradiction_says_why_and_by_which_rule() -> None:
    silent = [row["id"] for row in CONTRADICTIONS.values() if not (row["reason"] and row["rule"] and row["asks"])]

    assert silent == []


def test_every_story_names_an_anchor_that_is_known() -> None:
    anchors = {anchor["name"]: set(anchor["ids"]) for anchor in listed("anchors")}
    astray = [
        day.name for day in DAYS if day.case_id and day.case_id not in anchors.get(day.story.told["anchor"], set())
    ]

    assert astray == []


def test_no_story_leans_on_a_row_that_breaks_its_contract() -> None:
    broken = {
        story.name: violations["rule"].to_list()
        for story in STORIES
        if not (violations := sweep(facts_of(story).snapshot).violations).is_empty()
    }

    assert broken == {}


@pytest.mark.parametrize("day", DAYS[:: len(DAYS) // 8], ids=lambda day: day.name)
def test_a_story_with_another_answer_would_fail(day: Day) -> None:
    wrong = dict.fromkeys(day.answer, "another answer")

    assert look(day, wrong) != wrong


def look(day: Day, asked: dict[str, Any]) -> dict[str, Any]:
    """What the engine says of the account on that day, in the columns that are asked for."""
    judged = judge(day.story, day.as_of)
    desired = judged.desired.filter(pl.col("account_id") == day.account).row(0, named=True)
    return {column: _answer(column, asked[column], day, judged, desired) for column in asked}


@cache
def judge(story: Story, as_of: datetime) -> Judged:
    """No story has a row that breaks its contract (a test says so), so none is swept here."""
    facts = facts_of(story)
    return compute({**facts.snapshot, "tags": facts.tags}, story.policy, as_of, violations=NO_FAULTS)


@cache
def facts_of(story: Story) -> Facts:
    return Facts(story)


def _answer(column: str, asked: Any, day: Day, judged: Judged, desired: dict[str, Any]) -> Any:
    """A column of the engine's, or one of the few that are told from several."""
    told = _TOLD_FROM_SEVERAL.get(column)
    return told(asked, day, judged, desired) if told else desired[column]


def unpaid(day: Day, judged: Judged) -> pl.DataFrame:
    """The account's invoices that count for a ladder, and make it overdue."""
    counts = pl.col("is_owed") & (pl.col("is_late") | pl.col("is_charged_off"))
    return judged.invoices.filter("is_deciding", counts, pl.col("account_id") == day.account)


_TOLD_FROM_SEVERAL: dict[str, Callable[[Any, Day, Judged, dict[str, Any]], Any]] = {
    "is_overdue": lambda _, day, judged, __: not unpaid(day, judged).is_empty(),
    "unpaid_count": lambda _, day, judged, __: unpaid(day, judged).height,
    "unpaid_minor": lambda _, day, judged, __: dict(
        unpaid(day, judged).group_by("currency").agg(pl.col("outstanding").sum()).iter_rows()
    ),
    "outstanding_minor": lambda _, __, ___, desired: {
        money["currency"]: money["amount"] for money in desired["outstanding_minor"]
    },
    "is_exhausted": lambda _, __, ___, desired: "exhausted" in desired["reasons"],
    "has_reasons": lambda asked, _, __, desired: [reason for reason in asked if reason in desired["reasons"]],
    "finds": lambda asked, day, _, __: [code for code in asked if code in findings(day)],
    "finds_not": lambda asked, day, _, __: [code for code in asked if code not in findings(day)],
    "finds_anything": lambda _, day, __, ___: bool(findings(day)),
}


def findings(day: Day) -> set[str]:
    """The codes that are found on the account that day."""
    judged = judge(day.story, day.as_of)
    observed_at = dict.fromkeys(STORES, day.as_of)
    found = find(judged, day.story.policy, day.as_of, violations=NO_FAULTS, observed_at=observed_at)
    return set(found.filter(pl.col("account_id") == day.account)["code"])
