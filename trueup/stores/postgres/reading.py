"""Reading a PostgreSQL database in bulk, every table of it at one instant.

A reading is a transaction, REPEATABLE READ and READ ONLY, that exports its snapshot; each table is then streamed over a
connection of its own (ADBC, binary COPY) that takes the same snapshot, so that tables read side by side, or minutes
apart, show one instant. Which columns and rows is in `selects.py`. Nothing is written here.

Before a table is read, its columns, their types and the role's right to read them are looked up, so that what is
missing is named all at once, with the grant that mends it. A stream that breaks off is an error, never a short table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import psycopg
import pyarrow as pa
from adbc_driver_manager import Error as AdbcError
from sqlalchemy.engine import make_url

from trueup.contract.schemas import TABLES
from trueup.stores.errors import ColumnMissing, PrivilegeMissing, StoreNotWhole, TableMissing
from trueup.stores.parquet_writer import arrow_schema
from trueup.stores.postgres.models import DATABASE_OF
from trueup.stores.postgres.selects import SHAPES, columns_derived_from, columns_read, parameters, quoted, select
from trueup.stores.postgres.translate import translated
from trueup.stores.scope import Scope
from trueup.stores.settings import Database, Settings, libpq_url

_INSTANT: Final = """
    SELECT pg_export_snapshot(), clock_timestamp(), current_setting('server_encoding'), pg_is_in_recovery()
"""
_AT_ONE_INSTANT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_TYPES: Final[dict[type[pl.DataType], tuple[str, ...]]] = {  # what may stand for what without changing a value
    pl.Int64: ("bigint", "integer", "smallint"),
    pl.Boolean: ("boolean",),
    pl.Date: ("date",),
    pl.Datetime: ("timestamp with time zone",),
    pl.List: ("text[]", "character varying[]"),
}
_COLUMNS_OF: Final = """
    SELECT attname, format_type(atttypid, NULL), has_column_privilege(attrelid, attnum, 'SELECT')
    FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""


@dataclass(frozen=True, slots=True)
class DatabaseReading:
    """One database as it was at `observed_at` (its own clock). Tables may be read from several threads."""

    database: Database
    url: str  # as libpq takes it; holds a password
    snapshot: str
    observed_at: datetime
    bucket_count: int
    is_text_checked: bool
    is_standby: bool  # then it may show states that the primary never had, and no one instant
    holder: psycopg.Connection[tuple[Any, ...]]  # holds the snapshot open

    def __repr__(self) -> str:
        return f"DatabaseReading({self.database}, observed_at={self.observed_at:%Y-%m-%dT%H:%M:%S.%fZ})"


@contextmanager
def open_reading(settings: Settings, database: Database) -> Iterator[DatabaseReading]:
    """Hold one instant of a database for as long as the context is open.

    Raises:
        StoreUnreachable: nothing answers at its address, or the login is refused.
    """
    url = reading_url(settings, database)
    with translated(database):
        holder = psycopg.connect(url, autocommit=False)
    with holder:
        with translated(database):
            holder.execute(_AT_ONE_INSTANT)
            row = holder.execute(_INSTANT)
            snapshot, observed_at, encoding, is_standby = row.fetchone() or ("", None, "", False)
        yield DatabaseReading(
            database, url, snapshot, observed_at, settings.bucket_count, encoding == "SQL_ASCII", is_standby, holder
        )
        holder.rollback()


def read_table(reading: DatabaseReading, name: str, scope: Scope | None = None) -> pa.RecordBatchReader:
    """Stream one table of the reading's instant, with the columns of `TABLES[name]`.

    Args:
        reading: of the database that holds the table.
        name: one of `trueup.contract.schemas.TABLES`.
        scope: whose rows; the fleet if left out. A scope that
            `trueup.stores.postgres.dependencies.expand_scope` has expanded gives all rows that its accounts depend on.

    Raises:
        TableMissing, ColumnMissing, PrivilegeMissing: before the first batch.
        StoreNotWhole: the stream broke off.
    """
    is_by_view = refuse_unreadable(reading, name)
    scope = scope or Scope.fleet()
    statement = select(
        name, scope, reading.bucket_count, is_text_checked=reading.is_text_checked, is_by_view=is_by_view
    )
    return pa.RecordBatchReader.from_batches(arrow_schema(name), _stream(reading, name, scope, statement))


def read_frame(reading: DatabaseReading, name: str, scope: Scope | None = None) -> pl.DataFrame:
    """`read_table` into memory: for what is known to be small."""
    table = pa.Table.from_batches(read_table(reading, name, scope), arrow_schema(name))
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table with columns is never a Series
    return frame.cast(dict(TABLES[name].columns))  # type: ignore[arg-type]


def count_rows(reading: DatabaseReading, name: str) -> int:
    """How many rows a table has at the reading's instant, whatever the scope."""
    with translated(reading.database, name):
        row = reading.holder.execute(f"SELECT count(*) FROM public.{quoted(name)}".encode()).fetchone()
    return int(row[0]) if row else 0


def tables_in(database: Database) -> tuple[str, ...]:
    """The tables of `trueup.contract.schemas` that are in the database, in the order of docs/contract/STORES.md."""
    return tuple(name for name in TABLES if DATABASE_OF.get(name) == database)


def reading_url(settings: Settings, database: Database) -> str:
    """The database's address for libpq, with a limit on how long connecting may take."""
    url = make_url(libpq_url(settings.url(database)))
    defaults = {"connect_timeout": str(settings.connect_timeout_seconds), "application_name": "trueup"}
    given = {name: value for name, value in defaults.items() if name not in url.query}
    return url.update_query_dict(given).render_as_string(hide_password=False)


def refuse_unreadable(reading: DatabaseReading, name: str) -> bool:
    """Raise, naming everything that is missing at once, if the table is not as docs/contract/STORES.md has it.

    Gives whether what is worked out from columns that the role may not read comes from a view instead.
    """
    with translated(reading.database, name):
        found = reading.holder.execute(_COLUMNS_OF, (f"public.{quoted(name)}",)).fetchall()
    if not found:
        raise TableMissing(
            reading.database,
            "there is no such table in schema public",
            "Check that the address leads to the right database; docs/contract/STORES.md lists its tables.",
            table=name,
        )
    types = {column: kind for column, kind, _ in found}
    _refuse_other_columns(reading, name, types)
    hidden = [column for column, _, may in found if not may and column in columns_read(name)]
    if hidden:
        raise PrivilegeMissing(
            reading.database,
            f"the role may not read {', '.join(hidden)}",
            f"As its owner: GRANT SELECT ({', '.join(quoted(c) for c in columns_read(name))}) ON public.{quoted(name)} "
            "TO the role; or run `trueup init-db --role-reader`.",
            table=name,
        )
    closed = [column for column, _, may in found if not may and column in columns_derived_from(name)]
    if closed and not _has_shapes_view(reading):
        raise PrivilegeMissing(
            reading.database,
            f"the role may read neither {', '.join(closed)} nor the view {SHAPES}, which gives no more than its shape",
            "As its owner, run `trueup init-db --role-reader`, which makes the view.",
            table=name,
        )
    return bool(closed)


def _has_shapes_view(reading: DatabaseReading) -> bool:
    with translated(reading.database):
        row = reading.holder.execute("SELECT has_table_privilege(to_regclass(%s), 'SELECT')", (SHAPES,)).fetchone()
    return bool(row and row[0])


def _refuse_other_columns(reading: DatabaseReading, name: str, types: dict[str, str]) -> None:
    needed = (*columns_read(name), *columns_derived_from(name))
    missing = [f"{column} is missing" for column in needed if column not in types]
    other = [
        f"{column} is {types[column]}, not {_TYPES[type(dtype)][0]}"
        for column, dtype in TABLES[name].columns.items()
        if column in types and types[column] not in _TYPES.get(type(dtype), (types[column],))
    ]
    if types.get("payload", "jsonb") != "jsonb":
        other.append(f"payload is {types['payload']}, not jsonb")
    if missing or other:
        raise ColumnMissing(
            reading.database,
            "; ".join(missing + other),
            "docs/contract/STORES.md gives its columns and types; a view of that shape and name will do as well.",
            table=name,
        )


def _stream(reading: DatabaseReading, name: str, scope: Scope, statement: str) -> Iterator[pa.RecordBatch]:
    schema = arrow_schema(name)
    with translated(reading.database, name), adbc.connect(reading.url, autocommit=False) as connection:
        with connection.cursor() as cursor:
            _take_instant(cursor, reading, scope)
            cursor.execute(statement)
            try:
                for batch in cursor.fetch_record_batch():
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            except (OSError, AdbcError) as error:  # ADBC raises an error in the middle of a stream as an OSError
                raise StoreNotWhole(
                    reading.database,
                    "the stream broke off",
                    "Run it again; the server's log says why it ended the statement.",
                    table=name,
                ) from error
        connection.rollback()


def _take_instant(cursor: adbc.Cursor, reading: DatabaseReading, scope: Scope) -> None:
    """Step into the reading's snapshot and hand over the scope's ids; statements of one transaction."""
    cursor.execute(_AT_ONE_INSTANT)
    cursor.execute(f"SET TRANSACTION SNAPSHOT '{reading.snapshot}'")
    for setting, ids in () if scope.is_fleet else parameters(scope).items():
        cursor.execute("SELECT set_config($1, $2, true)", (setting, ids))
        cursor.fetchall()
