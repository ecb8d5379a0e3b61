"""The statements that write one batch of a plan, in one transaction and by sets.

The batch's changes are copied into a temporary table; the rows they concern are locked in one order; accounts of which
any row has moved, or whose desired state is another by now, are taken out whole; what is left is inserted and updated
with the planned row version in the WHERE, and what the database returns is all that is reported afterwards. Nothing
here commits, retries or decides what to do about a conflict: that is `apply.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl
from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql

from trueup.correction.changes import ALONG, PLANNED
from trueup.correction.ownership import OWNED
from trueup.stores.auditor.connection import copy_rows
from trueup.stores.auditor.outbox import WrittenRow
from trueup.stores.postgres.models import SubsApi

_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]

_COLUMNS: Final = (
    "change_id", "target", "account_id", "table", "key", "column", "before", "after", "row_version", "codes",
    "event_ids", "still_desired",
)  # fmt: skip

_MAKE: Final = text("""
    CREATE TEMPORARY TABLE IF NOT EXISTS trueup_batch (
        change_id text PRIMARY KEY, target text NOT NULL, account_id text, "table" text NOT NULL, key text NOT NULL,
        "column" text NOT NULL, before jsonb NOT NULL, after jsonb NOT NULL, row_version bigint, codes text[],
        event_ids text[], still_desired text NOT NULL
    ) ON COMMIT DELETE ROWS
""")
_ALREADY: Final = text("""
    SELECT b.target FROM trueup_batch b
    LEFT JOIN trueup.applied_changes a ON a.plan_id = :plan_id AND a.change_id = b.change_id
    GROUP BY b.target HAVING bool_and(a.change_id IS NOT NULL)
""")
_DROP: Final = text("DELETE FROM trueup_batch WHERE target = ANY (:targets)")
_RECORD: Final = text("""
    INSERT INTO trueup.applied_changes (plan_id, change_id, account_id, row_version, applied_at)
    SELECT :plan_id, b.change_id, b.account_id, coalesce(b.row_version, 0) + 1, :at FROM trueup_batch b
""")


@dataclass(frozen=True, slots=True)
class Moved:
    """A row that is not as it was planned for."""

    target: str
    is_superseded: bool
    why: str


class Batch:
    """One batch in one transaction of the caller's. Call the methods in the order they stand in."""

    def __init__(self, connection: Connection, changes: pl.DataFrame) -> None:
        """Fill the temporary table with schemas.CHANGES, `target` and `still_desired` (`trueup.stores.apply.apply`)."""
        self.connection = connection
        self.tables = [table for table in PLANNED if table in set(changes["table"])]
        connection.execute(_MAKE)
        copy_rows(connection, "trueup_batch", _COLUMNS, changes.select(_COLUMNS).iter_rows())
        connection.execute(text("ANALYZE trueup_batch"))  # else PostgreSQL guesses its size, and may scan the stores

    def lock_rows(self) -> None:
        """Lock every row concerned, in the order of PLANNED and of keys, so that two of us cannot wait in a ring."""
        for table in self.tables:
            self.connection.execute(text(_lock(table)))

    def already_applied(self, plan_id: str) -> list[str]:
        """Units of which every change has been applied. Asked under the locks, it sees what another apply did."""
        return list(self.connection.execute(_ALREADY, {"plan_id": plan_id}).scalars())

    def moved_rows(self) -> list[Moved]:
        """Every row that is not as it was planned for: gone, there by now, of another version or other values."""
        return [
            Moved(*row)
            for table in self.tables
            for row in self.connection.execute(text(_moved(table)), {"along": list(ALONG[table])}).all()
        ]

    def leave_out(self, targets: Sequence[str]) -> None:
        """Take targets out of the batch, whole."""
        if targets:
            self.connection.execute(_DROP, {"targets": list(targets)})

    def insert_rows(self) -> tuple[list[WrittenRow], list[str]]:
        """Insert what is missing: the rows inserted, and the targets whose row someone else inserted meanwhile."""
        target_of: dict[str, str] = dict(self.connection.execute(text(_INSERTS)).all())
        written = self._write(_insert, [table for table in self.tables if OWNED[table].may_insert])
        there = {row.key for row in written}
        return written, [target for key, target in target_of.items() if key not in there]

    def update_rows(self) -> list[WrittenRow]:
        """Update the rows that are left, version by version. They are locked, so each must be written."""
        planned = self.connection.execute(text(_UPDATES)).scalar_one()
        written = self._write(_update, self.tables)
        if len(written) != planned:
            raise AssertionError(
                f"{planned} locked rows were to be updated and {len(written)} were; nothing is written"
            )
        return written

    def record_applied(self, plan_id: str, at: datetime) -> None:
        """Record every change that is left in the batch as applied."""
        self.connection.execute(_RECORD, {"plan_id": plan_id, "at": at})

    def _write(self, statement: Callable[[str], str], tables: Sequence[str]) -> list[WrittenRow]:
        return [_written(row) for table in tables for row in self.connection.execute(text(statement(table))).mappings()]


_INSERTS: Final = "SELECT DISTINCT key, target FROM trueup_batch WHERE row_version IS NULL"
_UPDATES: Final = """
    SELECT count(*) FROM (SELECT DISTINCT "table", key FROM trueup_batch WHERE row_version IS NOT NULL) rows
"""


def _lock(table: str) -> str:
    key = OWNED[table].key
    return f"""
        SELECT 1 FROM {table} t WHERE t.{key} IN (SELECT key FROM trueup_batch WHERE "table" = '{table}')
        ORDER BY t.{key} FOR UPDATE
    """


def _moved(table: str) -> str:
    """Rows that moved, one line for each target.

    A version that stands still is not believed alone: a writer who forgets to count it up must lose nothing either, so
    the values are compared as well. A target is superseded, not just in conflict, if what is desired of a column by now
    is another value than the planned one; where nothing is desired any more (`absent`), that holds unless the column
    already has the planned value.
    """
    key = OWNED[table].key
    return f"""
        SELECT target, bool_or(is_superseded), string_agg(DISTINCT why, '; ' ORDER BY why)
        FROM (
            SELECT b.target,
                   b.still_desired = 'other' OR (b.still_desired = 'absent' AND {_differs(table, "after")}) AS
                   is_superseded, CASE WHEN b.row_version IS NULL AND t.{key} IS NOT NULL THEN '{table} ' || b.key || '
                   exists by now'
                        WHEN b.row_version IS NOT NULL AND t.{key} IS NULL THEN '{table} ' || b.key || ' is gone'
                        WHEN t.version <> b.row_version
                            THEN '{table} ' || b.key || ' has version ' || t.version || ', not ' || b.row_version
                        WHEN b."column" <> ALL (:along) AND {_differs(table, "before")} THEN '{table} ' || b.key || '
                        has another ' || b."column" WHEN b.still_desired <> 'same' THEN 'another ' || b."column" || ' is
                        desired by now'
                   END AS why
            FROM trueup_batch b LEFT JOIN {table} t ON t.{key} = b.key
            WHERE b."table" = '{table}'
        ) compared
        WHERE why IS NOT NULL
        GROUP BY target
    """


def _differs(table: str, side: str) -> str:
    whens = " ".join(
        f"WHEN '{column}' THEN t.{column} IS DISTINCT FROM {_value(table, column, f'b.{side}')}"
        for column in PLANNED[table]
    )
    return f'CASE b."column" {whens} END'


def _insert(table: str) -> str:
    key, columns = OWNED[table].key, PLANNED[table]
    return f"""
        WITH planned AS ({_pivot(table, "row_version IS NULL")}),
        written AS (
            INSERT INTO {table} ({key}, {", ".join(columns)}, updated_at, version)
            SELECT key, {", ".join(columns)}, now(), 1 FROM planned ORDER BY key
            ON CONFLICT ({key}) DO NOTHING
            RETURNING {key} AS key, version, {_as_json(columns)} AS after
        )
        SELECT planned.*, written.version, written.after AS written, '{table}' AS "table"
        FROM written JOIN planned USING (key)
    """


def _update(table: str) -> str:
    key, columns = OWNED[table].key, PLANNED[table]
    values = ", ".join(f"{c} = CASE WHEN planned.has_{c} THEN planned.{c} ELSE t.{c} END" for c in columns)
    return f"""
        WITH planned AS ({_pivot(table, "row_version IS NOT NULL")}),
        written AS (
            UPDATE {table} t SET {values}, updated_at = now(), version = t.version + 1
            FROM planned WHERE t.{key} = planned.key AND t.version = planned.row_version
            RETURNING t.{key} AS key, t.version, {_as_json(columns, "t.")} AS after
        )
        SELECT planned.*, written.version, written.after AS written, '{table}' AS "table"
        FROM written JOIN planned USING (key)
    """


def _pivot(table: str, rows: str) -> str:
    """One line for each row: every column's planned value, and whether it has one."""
    columns = ", ".join(
        f"""bool_or("column" = '{column}') AS has_{column}, {_value(table, column, _planned(column))} AS {column}"""
        for column in PLANNED[table]
    )
    return f"""
        SELECT key, account_id, row_version, {columns}, array_agg(change_id ORDER BY change_id) AS change_ids,
               jsonb_object_agg("column", before) AS before,
               min(codes) AS codes, min(event_ids) AS event_ids
        FROM trueup_batch WHERE "table" = '{table}' AND {rows} GROUP BY key, account_id, row_version
    """


def _planned(column: str) -> str:
    return f"""(array_agg(after) FILTER (WHERE "column" = '{column}'))[1]"""


def _value(table: str, column: str, json: str) -> str:
    """The JSON value as the column's own type; JSON's null is NULL."""
    kind = SubsApi.metadata.tables[table].columns[column].type.compile(dialect=_POSTGRESQL)
    return f"CAST({json} #>> '{{}}' AS {kind})"


def _as_json(columns: Sequence[str], prefix: str = "") -> str:
    return "jsonb_build_object(" + ", ".join(f"'{c}', {prefix}{c}" for c in columns) + ")"


def _written(row: Any) -> WrittenRow:  # noqa: ANN401 - a RowMapping, whatever the statement
    return WrittenRow(
        account_id=row["account_id"],
        table=row["table"],
        key=row["key"],
        version=row["version"],
        change_ids=tuple(row["change_ids"]),
        before=row["before"],
        after=row["written"],
        codes=tuple(row["codes"]),
        event_ids=tuple(row["event_ids"]),
    )
