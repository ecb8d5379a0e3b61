"""Well-formed changes: what a plan's changes must look like, so that what is counted is what is written.

A change carries its values as JSON text. The gate counts decoded values, and refuses a plan whose text could be read in
two ways: a value that is not in canonical form or not in its column's domain, a cell that no store has or that is there
twice, an account that is not its row's. Which columns a plan may carry is in `changes`, whose they are in `ownership`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any, Final

import polars as pl

from trueup.contract.schemas import STATES, TABLES
from trueup.contract.vocabulary import MANDATE_STATUSES, NETWORK_STATUSES
from trueup.correction.changes import OUR_NAME

KEYED_BY_ACCOUNT: Final = ("subs_dunning", "subs_account")
"""Tables whose key is the account."""

WITHOUT_ACCOUNT: Final = "subs_stuck_events"
"""The one table whose rows may belong to no account."""

COUNT_MAX: Final = 2**31 - 1

_INSTANT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"
_SHOWN: Final = 10  # faults that a message names


def faults(changes: pl.DataFrame) -> list[str]:
    """What is wrong with changes (schemas.CHANGES), each fault once and with its cell; nothing if they are sound."""
    return [*_of_cells(changes), *_of_accounts(changes), *_repeated(changes), *_of_values(changes)]


def shown(found: list[str]) -> str:
    """The first few faults, for a message."""
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def _cell(row: dict[str, Any]) -> str:
    return f"{row['table']}.{row['column']} of {row['key']}"


def _of_cells(changes: pl.DataFrame) -> Iterator[str]:
    """Cells that no store has. Of those that there are, whose they are is the gate's own question."""
    known = pl.DataFrame(
        [(table.store, name, column) for name, table in TABLES.items() for column in table.columns],
        schema=["store", "table", "column"],
        orient="row",
    )
    for row in changes.join(known, on=["store", "table", "column"], how="anti").iter_rows(named=True):
        yield f"{_cell(row)} in {row['store']} is no cell of a store"


def _of_accounts(changes: pl.DataFrame) -> Iterator[str]:
    """Changes of nobody, and changes of another account than their row's."""
    has_none = pl.col("account_id").is_null() & (pl.col("table") != WITHOUT_ACCOUNT)
    is_others = pl.col("table").is_in(KEYED_BY_ACCOUNT) & pl.col("key").ne_missing(pl.col("account_id"))
    for row in changes.filter(has_none).iter_rows(named=True):
        yield f"{_cell(row)} names no account"
    for row in changes.filter(~has_none & is_others).iter_rows(named=True):
        yield f"{_cell(row)} is filed under account {row['account_id']}"
    several = changes.group_by("table", "key").agg(
        accounts=pl.col("account_id").n_unique(), versions=pl.col("row_version").n_unique()
    )
    for row in (
        several.filter((pl.col("accounts") > 1) | (pl.col("versions") > 1)).sort("table", "key").iter_rows(named=True)
    ):
        yield f"{row['table']} {row['key']} has {row['accounts']} accounts and {row['versions']} row versions"


def _repeated(changes: pl.DataFrame) -> Iterator[str]:
    """Cells that are there twice: which of the two would be written is anybody's guess."""
    twice = changes.group_by("table", "key", "column").len().filter(pl.col("len") > 1).sort("table", "key", "column")
    for row in twice.iter_rows(named=True):
        yield f"{_cell(row)} is there {row['len']} times"


def _of_values(changes: pl.DataFrame) -> Iterator[str]:
    """Values that are not canonical, or that their column cannot hold. Each distinct value is judged once."""
    distinct = changes.unique(["table", "column", "before", "after"], maintain_order=True)
    for row in distinct.iter_rows(named=True):
        what = _value_fault(row["table"], row["column"], row["before"], row["after"])
        if what:
            yield f"{_cell(row)} {what}"


def _value_fault(table: str, column: str, before: str, after: str) -> str | None:
    if not (_is_canonical(before) and _is_canonical(after)):
        return "has a value that is no canonical JSON"
    domain = _DOMAINS.get((table, column))
    if domain is not None and not domain(json.loads(after)):
        return f"would get a value that the column cannot hold ({type(json.loads(after)).__name__})"
    return None


def _is_canonical(text: str | None) -> bool:
    """The text is the one way to write its value, and the value is a word, a number, a flag or null."""
    if text is None:
        return False
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    if isinstance(value, (dict, list, float)):
        return False
    return text == json.dumps(value, ensure_ascii=False)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _one_of(*values: object) -> Callable[[Any], bool]:
    return lambda value: any(type(value) is type(allowed) and value == allowed for allowed in values)


def _is_count(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= COUNT_MAX)


def _is_text(value: object) -> bool:
    return value is None or (isinstance(value, str) and "\0" not in value)


def _is_date(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_instant(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and datetime.strptime(value, _INSTANT).strftime(_INSTANT) == value  # noqa: DTZ007 -- Z is in the format
    except ValueError:
        return False


_DOMAINS: Final[dict[tuple[str, str], Callable[[Any], bool]]] = {
    ("subs_dunning", "state"): _one_of(*STATES),
    ("subs_dunning", "attempt_count"): _is_count,
    ("subs_dunning", "clock_started_on"): _is_date,
    ("subs_dunning", "next_retry_at"): _is_instant,
    ("subs_dunning", "driver_invoice_id"): _is_text,
    ("subs_dunning", "reason"): _is_text,
    ("subs_dunning", "policy_version"): _is_text,
    ("subs_dunning", "computed_at"): _is_instant,
    ("subs_account", "bad_debt"): _one_of(True, False),
    ("subs_account", "updated_by"): _one_of(OUR_NAME),
    ("subs_mandate", "status"): _one_of(*MANDATE_STATUSES),
    ("subs_mandate", "network_status"): _one_of(None, *NETWORK_STATUSES),
    ("subs_stuck_events", "status"): _one_of("resolved"),
    ("subs_stuck_events", "resolved_at"): _is_instant,
}
"""What each column that a plan may carry can be made to hold."""
