"""Suites: the files in `suites/`, read without Great Expectations, so that Dagster knows the checks without its import.

A file is a suite as Great Expectations takes it. In `meta` each expectation carries two things of ours: `claim`, the
name of its check, and `rule`, the id of the rule of `trueup/contract/rules.py` that says the same to the sweep. Values
that are lists of the world (currencies, timezones) or bounds that code computes with are parameters, filled in when
judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from trueup.contract import TIMEZONES
from trueup.contract.currencies import CURRENCIES
from trueup.contract.rules import EARLIEST, LATEST, SENTENCES
from trueup.contract.schemas import TABLES

FOLDER: Final = Path(__file__).parent / "suites"
SEVERITIES: Final = ("critical", "warning", "info")

PARAMETERS: Final[dict[str, Any]] = {
    "currencies": sorted(CURRENCIES),
    "timezones": sorted(TIMEZONES),
    "earliest": EARLIEST,
    "latest": LATEST,
    "earliest_day": EARLIEST.date(),
    "latest_day": LATEST.date(),
}

_NULL: Final = "expect_column_values_to_be_null"
_NOT_NULL: Final = "expect_column_values_to_not_be_null"
_UNIQUE: Final = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")


@dataclass(frozen=True)
class Expected:
    """One expectation of a suite."""

    table: str
    claim: str
    rule: str
    kind: str
    severity: str
    kwargs: Mapping[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it is about; the condition's are not among them."""
        return tuple(self.kwargs.get("column_list", ())) or (self.kwargs["column"],)

    @property
    def columns_needed(self) -> frozenset[str]:
        """The columns that judging it reads."""
        conditions = self.kwargs.get("row_condition", {}).get("conditions", ())
        return frozenset(self.columns) | {condition["column"]["name"] for condition in conditions}

    @property
    def is_of_keys(self) -> bool:
        """It forbids that several rows have one key."""
        return self.kind in _UNIQUE

    @property
    def is_of_readability(self) -> bool:
        """It forbids values that no frame can hold."""
        return self.kind == _NULL

    @property
    def is_of_absence(self) -> bool:
        """It forbids nulls; all others reading at values only."""
        return self.kind == _NOT_NULL

    @property
    def description(self) -> str:
        """The claim in words, and the sweep's rule that says the same."""
        claim = self.claim.replace("_", " ").capitalize()
        return f"{claim}. In the audit's contract violations: {self.rule}, {SENTENCES[self.rule]}."


@dataclass(frozen=True)
class Suite:
    """The expectations of one table or object list."""

    table: str
    document: Mapping[str, Any]  # as Great Expectations takes it

    @property
    def store(self) -> str:
        return TABLES[self.table].store

    @cached_property
    def expected(self) -> tuple[Expected, ...]:
        return tuple(
            Expected(self.table, one["meta"]["claim"], one["meta"]["rule"], one["type"], one["severity"], one["kwargs"])
            for one in self.document["expectations"]
        )

    @property
    def columns_needed(self) -> list[str]:
        """The columns that judging the suite reads, in the table's order."""
        needed = {column for one in self.expected for column in one.columns_needed}
        return [column for column in TABLES[self.table].columns if column in needed]


@cache
def load_suite(table: str) -> Suite:
    """The suite of a table of `trueup.contract.schemas`."""
    return Suite(table, json.loads((FOLDER / f"{table}.json").read_text(encoding="utf-8")))


def suites_of(store: str) -> list[Suite]:
    """The suites of a store's tables, in the order of docs/contract/STORES.md."""
    return [load_suite(table) for table in TABLES if TABLES[table].store == store]


def parameters() -> dict[str, Any]:
    """What the suites leave open: the currencies and timezones that exist, and the span of time that is ours."""
    return dict(PARAMETERS)
