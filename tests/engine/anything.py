"""Snapshots of anything at all: rows that no store should hold, in every table, pointing at each other by chance.

For the tests that hold the sweep, the engine and the findings to never stopping at a row, whatever it says.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st

from trueup.contract.schemas import TABLES, Snapshot, empty

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

# Few enough that rows of different tables meet, and some that nobody expects.
NAMES = ["a", "b", "c", "", "\x00", "\U0001d56c\u202e"]
WORDS = [
    "open", "paid", "void", "uncollectible", "draft", "usd", "jpy", "active", "past_due", "canceled", "succeeded",
    "failed", "pending", "lost", "scheduled", "internal", "send_invoice", "charge_automatically",
    "subscription_create", "card", "sepa_debit", "Europe/Paris", "suspended", "bad_debt", "grace",
    "charge.dispute.closed", "stolen_card", "true",
]  # fmt: skip

TEXTS = st.one_of(
    st.none(),
    st.sampled_from(NAMES),
    st.sampled_from(WORDS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
IDS = st.one_of(st.none(), st.sampled_from(NAMES))
INTS = st.one_of(st.none(), st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), 10**15, 10**15 + 1]), st.integers(0, 9999))
INSTANTS = st.one_of(
    st.none(),
    st.sampled_from([NOON - timedelta(days=90), NOON - timedelta(days=4), NOON, NOON + timedelta(days=2)]),
    st.sampled_from(
        [datetime(1, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
    ),
    st.datetimes(timezones=st.just(UTC)),
)
DATES = st.one_of(st.none(), st.sampled_from([date.min, date.max]), st.dates())
FLAGS = st.one_of(st.none(), st.booleans())


def snapshot_of(rows: dict[str, list[dict[str, Any]]]) -> Snapshot:
    """Rows by table as frames; tables that are not named are empty."""
    return {
        name: (pl.DataFrame(rows[name], schema=table.schema) if rows.get(name) else empty(name)).lazy()
        for name, table in TABLES.items()
    }


@st.composite
def any_snapshot(draw: st.DrawFn, most_tables: int = 4, most_rows: int = 3) -> Snapshot:
    """A snapshot with anything in some of its tables."""
    names = draw(st.sets(st.sampled_from(sorted(TABLES)), min_size=1, max_size=most_tables))
    return snapshot_of({name: draw(st.lists(_row(name), min_size=1, max_size=most_rows)) for name in sorted(names)})


def _row(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({column: _value(column, dtype) for column, dtype in TABLES[name].columns.items()})


def _value(column: str, dtype: pl.DataType) -> st.SearchStrategy[Any]:
    if column == "unreadable":
        return st.one_of(st.none(), st.none(), st.none(), st.just("updated_at"))
    if isinstance(dtype, pl.List):
        return st.one_of(st.none(), st.lists(TEXTS if isinstance(dtype.inner, pl.String) else INSTANTS, max_size=3))
    if isinstance(dtype, pl.String):
        return IDS if column.endswith("_id") else TEXTS
    by_type: list[tuple[type[pl.DataType], st.SearchStrategy[Any]]] = [
        (pl.Int64, INTS),
        (pl.Datetime, INSTANTS),
        (pl.Date, DATES),
        (pl.Boolean, FLAGS),
    ]
    return next(strategy for kind, strategy in by_type if isinstance(dtype, kind))
