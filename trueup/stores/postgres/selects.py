"""Selects: the SQL that reads one table of a store, with exactly the columns of `trueup.contract.schemas`.

What no frame can hold must not stop a reading: an instant or date that is infinite or outside the years 1 to 9999, an
array of several dimensions, text that is not UTF-8. Each reads as null, and `unreadable` names its column, so that the
row becomes a finding. Personal data (e-mail addresses, product names, payloads, error texts) is in no select list; of a
payload only its shape and the id of its object are worked out, by the server.

A scope's ids go in as one JSON text in a session setting, not as literals: it works for any number of them, in a
read-only transaction, and on a replica.
"""

from __future__ import annotations

from typing import Final

import orjson
import polars as pl

from trueup.contract.schemas import TABLES
from trueup.stores import dependencies as graph
from trueup.stores.dependencies import LINKS, Link
from trueup.stores.scope import Scope, bucket_sql

ACCOUNTS: Final = "trueup.accounts"
CUSTOMERS: Final = "trueup.customers"
STRIPE_IDS: Final = "trueup.stripe_ids"

# Where a condition has an OR, PostgreSQL guesses that half of the table is listed, and if a hash table of that would
# not fit work_mem it goes through the list once for every row: hours. What a look-up really takes is what its ids take,
# so this is the most that every platform allows.
_WORK_MEM: Final = "2097151kB"

_EARLIEST: Final = "0001-01-01"
_END: Final = "10000-01-01"
_ONE_BYTE: Final = r"[\x01-\x7f]"
_UTF8: Final = (  # well-formed sequences, byte by byte (RFC 3629, section 4)
    rf"^({_ONE_BYTE}|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{{2}}"
    r"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*$"
)

# Columns that are worked out from others, and what they need.
DERIVED: Final[dict[str, dict[str, str]]] = {
    "subs_stuck_events": {
        "is_well_formed": """coalesce(
            jsonb_typeof(payload) = 'object'
            AND jsonb_typeof(payload -> 'type') = 'string'
            AND jsonb_typeof(payload #> '{data,object}') = 'object', false)""",
        "object_id": """CASE WHEN jsonb_typeof(payload #> '{data,object,id}') = 'string'
            THEN left(payload #>> '{data,object,id}', 255) END""",
    }
}
_PAYLOAD: Final = "payload"

SHAPES: Final = "trueup.stuck_event_shapes"
"""The view by which a role that may not read payloads learns what they look like; `trueup init-db` makes it.

It is read in place of the table, since a join by event_id would multiply rows that share one. It runs with its owner's
rights, and is a security barrier, so that no condition of ours sees a payload.
"""


def create_shapes_view() -> str:
    """The statement that makes the view `SHAPES`: the columns that are read as they are, is_well_formed, object_id."""
    own = ", ".join(quoted(column) for column in columns_read("subs_stuck_events"))
    derived = ", ".join(f"{sql} AS {column}" for column, sql in DERIVED["subs_stuck_events"].items())
    return (
        f"CREATE OR REPLACE VIEW {SHAPES} WITH (security_barrier) AS "
        f"SELECT {own}, {derived} FROM public.subs_stuck_events"
    )


def columns_read(name: str) -> tuple[str, ...]:
    """The columns of the PostgreSQL table that a reading touches: what the reader's role needs SELECT on."""
    return tuple(_own(name))


def columns_derived_from(name: str) -> tuple[str, ...]:
    """The columns that others are worked out from, by a view for a role that may not read them."""
    return (_PAYLOAD,) if name in DERIVED else ()


def select(
    name: str, scope: Scope, bucket_count: int, *, is_text_checked: bool = False, is_by_view: bool = False
) -> str:
    """The statement that reads one table for a scope.

    `is_text_checked` looks for text that is not UTF-8, which only a database of encoding SQL_ASCII can hold.
    `is_by_view` takes what is worked out from a payload from the view `SHAPES`.
    """
    tests = {c: _readable(c, t, is_text_checked=is_text_checked) for c, t in _own(name).items()}
    marks = [f"CASE WHEN NOT ({test}) THEN '{column}' END" for column, test in tests.items() if test]
    derived = {} if is_by_view else DERIVED.get(name, {})
    tests |= dict.fromkeys(DERIVED.get(name, ()), "")
    worked_out = {**derived, "unreadable": f"nullif(concat_ws(',', {', '.join(marks)}), '')"}
    columns = [
        f"{worked_out[column] if column in worked_out else _value(column, dtype, tests[column])} AS {quoted(column)}"
        for column, dtype in TABLES[name].columns.items()
    ]
    where = condition(name, scope, bucket_count)
    source = SHAPES if is_by_view else f"public.{quoted(name)}"
    return f"SELECT {', '.join(columns)} FROM {source}" + (f" WHERE {where}" if where else "")


def condition(name: str, scope: Scope, bucket_count: int) -> str:
    """Which rows of a table a scope needs; empty for all of them."""
    links = LINKS[name]
    if scope.is_fleet or not links:
        return ""
    return " OR ".join(_follows(link, scope, bucket_count) for link in links)


def _follows(link: Link, scope: Scope, bucket_count: int) -> str:
    """The condition that a row is needed through one of its table's links."""
    if link.table == graph.ACCOUNTS:
        return own_rows(scope, bucket_count)
    if link.table == graph.CUSTOMERS:
        mapped = f"SELECT {link.column} FROM public.subs_customer WHERE {own_rows(scope, bucket_count)}"
        return f"{_among(link.column, CUSTOMERS)} OR {link.column} IN ({mapped})"
    if TABLES[link.table].store == "stripe":
        return _among(link.column, STRIPE_IDS)
    needed = own_rows(scope, bucket_count) if link.by_account else condition(link.table, scope, bucket_count)
    return f"{link.column} IN (SELECT {link.to} FROM public.{quoted(link.table)} WHERE {needed})"


def parameters(scope: Scope) -> dict[str, str]:
    """Session settings for `condition`: its lists of ids as JSON, and leave to look ids up in a hash table."""
    accounts = (scope.accounts or frozenset()) | scope.related
    lists = {ACCOUNTS: accounts, CUSTOMERS: scope.customers, STRIPE_IDS: scope.stripe_ids}
    return {"work_mem": _WORK_MEM} | {name: orjson.dumps(sorted(ids)).decode() for name, ids in lists.items()}


def quoted(identifier: str) -> str:
    """The identifier in double quotes; ours are plain words, some of them reserved (`trigger`, `interval`)."""
    return f'"{identifier}"'


def own_rows(scope: Scope, bucket_count: int) -> str:
    """The condition that a row's `account_id` is of the scope or related to it."""
    listed = _among("account_id", ACCOUNTS)
    if scope.buckets is None:
        return listed
    numbers = ", ".join(str(int(bucket)) for bucket in scope.buckets)
    return f"({bucket_sql('account_id', bucket_count)} IN ({numbers}) OR {listed})"


def _among(column: str, setting: str) -> str:
    return f"{column} IN (SELECT jsonb_array_elements_text(current_setting('{setting}')::jsonb))"


def _own(name: str) -> dict[str, pl.DataType]:
    """The columns that are read as they are."""
    columns = TABLES[name].columns
    return {c: t for c, t in columns.items() if c != "unreadable" and c not in DERIVED.get(name, {})}


def _readable(column: str, dtype: pl.DataType, *, is_text_checked: bool) -> str:
    """A test that holds, or is null, where a frame can hold the value; empty where it always can."""
    if isinstance(dtype, pl.Datetime):
        return f"{quoted(column)} >= '{_EARLIEST} 00:00+00' AND {quoted(column)} < '{_END} 00:00+00'"
    if isinstance(dtype, pl.Date):
        return f"{quoted(column)} >= '{_EARLIEST}' AND {quoted(column)} < '{_END}'"
    if isinstance(dtype, pl.List):
        one_row = f"coalesce(array_ndims({quoted(column)}), 1) = 1"
        checked = f" AND array_to_string({quoted(column)}, '') ~ '{_UTF8}'" if is_text_checked else ""
        return one_row + checked
    if isinstance(dtype, pl.String) and is_text_checked:
        return f"{quoted(column)} ~ '{_UTF8}'"
    return ""


def _value(column: str, dtype: pl.DataType, test: str) -> str:
    value = quoted(column) + {pl.String: "::text", pl.Int64: "::bigint"}.get(type(dtype), "")
    return f"CASE WHEN {test} THEN {value} END" if test else value
