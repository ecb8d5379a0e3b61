"""Stories: golden cases told as data, and read here.

A story is one TOML file: where it comes from, the policy it is judged under, what happened (accounts, invoices,
attempts, payments …), and the days on which somebody looked, each with the answer. This module reads a story and
refuses a column that it does not know. What a story's rows mean in six stores is `facts.py`'s business; asking the
engine is `tests/engine/test_cases.py`'s.

A fact dated by a day happens as the day begins (UTC), and a look dated by a day is taken just before the day ends.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from trueup.engine.policy import Policy, parse_policy

HERE: Final = Path(__file__).parent
Row = dict[str, Any]

_TOLD: Final = ("title", "anchor", "source", "words", "collected_by", "policy", "days")

# The tables of a story, and the columns of each with what is meant where a row leaves one out.
COLUMNS: Final[dict[str, Row]] = {
    "accounts": {
        "account": "the account",
        "parent": None,
        "timezone": None,
        "status": "active",
        "is_exempt": False,
        "is_entitled": True,
        "has_card": True,
        "tags": (),
        "stored_state": None,  # what subs_dunning says; none: no row
    },
    "invoices": {
        "account": "the account",
        "id": "I1",
        "on": None,  # the day it was finalized; none for a draft
        "amount": 10000,
        "currency": "usd",
        "due": None,  # given: the customer is to pay it on their own
        "paid_at": None,
        "voided_at": None,
        "written_off_at": None,
        "written_off_for": None,
        "billing_reason": "subscription_cycle",
        "next_attempt_at": None,  # Stripe's own next attempt
    },
    "attempts": {
        "invoice": "I1",
        "at": None,
        "code": None,  # the decline code; none for an attempt that succeeded
        "network_advice": None,
        "trigger": "scheduled",
        "method": None,  # none: the account's first card
        "amount": None,  # none: the whole invoice
        "refunded": 0,
        "refunded_at": None,
        "times": 1,
        "every_days": 1,
    },
    "payments": {"invoice": "I1", "intent": None, "at": None, "amount": 0, "paid_at": None},
    "credit_notes": {"invoice": "I1", "at": None, "amount": 0, "voided_at": None},
    "disputes": {"invoice": "I1", "at": None, "closed_at": None, "status": None},
    "subscriptions": {"account": "the account", "status": None, "ended_at": None},
    "cards": {"account": "the account", "id": None, "came": None},  # given: it takes the place of the first card
    "mandates": {
        "account": "the account",
        "type": None,
        "status": None,
        "network_status": None,
        "our_status": None,
        "our_network_status": None,
    },
    "schedules": {"invoice": "I1", "retry_at": None},
}
_DAY: Final = ("id", "account", "as_of", "note")
_ANSWERS: Final = (
    "state",
    "is_overdue",
    "is_retryable",
    "is_exhausted",
    "has_access",
    "bad_debt",
    "next_retry_at",
    "next_change_on",
    "attempt_count",
    "age_days",
    "clock_started_on",
    "driver_invoice_id",
    "outstanding_minor",
    "unpaid_count",
    "unpaid_minor",
    "has_reasons",
    "finds",
    "finds_not",
    "finds_anything",
)


@dataclass(frozen=True)
class Day:
    """One look at one account: the anchor's id for it (none: a day of our own), and the answer, column by column."""

    story: Story
    case_id: str | None
    account: str
    as_of: datetime
    answer: Row

    @property
    def name(self) -> str:
        when = self.as_of.strftime("%Y-%m-%d")
        return f"{self.case_id or self.story.name} {self.account} on {when}"


@dataclass(frozen=True)
class Story:
    """A story as it is told in its file."""

    path: Path
    told: Row

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def name(self) -> str:
        return str(self.path.relative_to(HERE).with_suffix(""))

    @cached_property
    def policy(self) -> Policy:
        return parse_policy(self.told.get("policy", {}), self.name)

    @cached_property
    def days(self) -> list[Day]:
        return [self._day(row) for row in self.told["days"]]

    def _day(self, row: Row) -> Day:
        refuse_unknown(row, (*_DAY, *_ANSWERS), f"{self.name}: days")
        answer = {name: _value(name, value) for name, value in row.items() if name in _ANSWERS}
        if not answer:
            raise ValueError(f"{self.name}: the day {row} says nothing that could be wrong.")
        return Day(self, row.get("id"), row.get("account", "the account"), _end_of(row["as_of"]), answer)

    def rows(self, table: str) -> Iterator[Row]:
        for row in self.told.get(table, []):
            refuse_unknown(row, COLUMNS[table], f"{self.name}: {table}")
            yield {name: _instant(row.get(name, default)) for name, default in COLUMNS[table].items()}


def stories() -> list[Story]:
    """Every story, in the order of its path."""
    found = []
    for path in sorted(HERE.glob("*/*.toml")):
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        refuse_unknown(told, (*_TOLD, *COLUMNS), path.name)
        found.append(Story(path, told))
    return found


def listed(name: str) -> list[Row]:
    """The rows of a list that stands beside the stories: anchors, contradictions."""
    rows: list[Row] = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))[name]
    return rows


def answer_of(row: Row) -> Row:
    """The answer that an anchor asks for, as written in contradictions.toml."""
    refuse_unknown(row, _ANSWERS, "contradictions.toml: asks")
    return {name: _value(name, value) for name, value in row.items()}


def refuse_unknown(row: Row, known: Iterable[str], where: str) -> None:
    unknown = set(row) - set(known)
    if unknown:
        raise ValueError(f"{where} does not know {', '.join(sorted(unknown))}.")


def _value(name: str, value: Any) -> Any:
    """TOML has no null: "none" stands for it. Days stay days, instants are read as UTC."""
    if value == "none":
        return None
    return _instant(value) if name.endswith("_at") else value


def _instant(value: Any) -> Any:
    """A day by the instant at which it begins; anything else as it is."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    return value


def _end_of(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.combine(value, time(23, 59), UTC)
