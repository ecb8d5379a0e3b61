"""Loading: a fleet into real databases and a Stripe sandbox.

Rows go by COPY, in pieces, so that a million accounts neither fill the memory nor look as if nothing happened. What the
tables held before is gone: a fleet is the whole content of its stores.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import polars as pl
import psycopg
from psycopg import sql

from trueup.sandbox.fleet.fleet import Fleet
from trueup.stores.postgres.models import DATABASE_OF
from trueup.stores.settings import DATABASES, Settings, libpq_url

PIECE_ROWS: Final = 200_000
_NULL: Final = "\\N"
_INSTANT_FORMAT: Final = "%Y-%m-%d %H:%M:%S%.6f+00"

Progress = Callable[[str, int, int], None]
"""Called with what was just loaded (a table or a kind of object), and rows done and rows in all."""


class Loadable(Protocol):
    """A Stripe sandbox, in this process or another."""

    def load(self, objects: Mapping[str, pl.DataFrame]) -> None:
        """Takes frames of flat records by kind."""


def load_fleet(
    fleet: Fleet,
    stores: Settings | Mapping[str, str],
    sandbox: Loadable | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Puts a fleet into its stores, in place of what their tables hold.

    Args:
        fleet: what to load.
        stores: settings, or database name → address. The tables must be there
            (`trueup.sandbox.postgres.create_store_tables`).
        sandbox: where Stripe's objects go; none: only the databases are loaded.
        on_progress: called after every piece.
    """
    tables, stripe = fleet.tables, fleet.stripe if sandbox else {}
    meter = _Meter(sum(map(len, [*tables.values(), *stripe.values()])), on_progress)
    for database in DATABASES:
        url = getattr(stores, f"{database}_url") if isinstance(stores, Settings) else stores[database]
        _load_database(url, {name: rows for name, rows in tables.items() if DATABASE_OF[name] == database}, meter)
    if sandbox:
        for kind, records in stripe.items():
            sandbox.load({kind: records})
            meter.add(kind, len(records))


class _Meter:
    """Counts rows for whoever watches."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self.total = total
        self.done = 0
        self.report = on_progress or (lambda _name, _done, _total: None)

    def add(self, name: str, rows: int) -> None:
        self.done += rows
        self.report(name, self.done, self.total)


def _load_database(url: str, tables: Mapping[str, pl.DataFrame], meter: _Meter) -> None:
    """All tables of one database, in one transaction."""
    with psycopg.connect(libpq_url(url)) as connection, connection.cursor() as cursor:
        for name, rows in tables.items():
            cursor.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(name)))
            for piece in rows.iter_slices(PIECE_ROWS):
                _copy(cursor, name, piece)
                meter.add(name, len(piece))
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        for name in tables:
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(name)))


def _copy(cursor: psycopg.Cursor, name: str, rows: pl.DataFrame) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, rows.columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL {})").format(
        sql.Identifier(name), columns, sql.Literal(_NULL)
    )
    buffer = io.BytesIO()
    _plain(rows).write_csv(buffer, include_header=False, null_value=_NULL, datetime_format=_INSTANT_FORMAT)
    with cursor.copy(statement) as copy:
        copy.write(buffer.getbuffer())


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Lists as PostgreSQL writes arrays; the catalogue's features hold nothing that needs quoting."""
    lists = [name for name, kind in rows.schema.items() if isinstance(kind, pl.List)]
    return rows.with_columns(("{" + pl.col(name).list.join(",") + "}").alias(name) for name in lists)
