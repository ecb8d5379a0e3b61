"""The connection that writes: one to database subs_api, by the writer's address.

Everything that Trueup writes to a database goes through here, so that a change, its event, its audit entry and the
record that it was applied share a transaction. What is written is decided by who asks for the connection.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from trueup.stores.errors import SettingsError, TableMissing
from trueup.stores.postgres.translate import translated
from trueup.stores.settings import Settings

DATABASE: Final = "subs_api"


@contextmanager
def writing(settings: Settings) -> Iterator[Connection]:
    """A connection for writing; the caller begins and ends its transactions.

    Raises:
        SettingsError: no address is set.
        StoreError: StoreUnreachable, TableMissing, PrivilegeMissing … as the database answered.
    """
    if not settings.subs_api_writer_url:
        raise SettingsError(["TRUEUP_SUBS_API_URL is not set"], "Set it; `trueup doctor` checks it.")
    engine = create_engine(
        settings.subs_api_writer_url,
        poolclass=NullPool,
        connect_args={
            "connect_timeout": settings.connect_timeout_seconds,
            "application_name": "trueup",
            "options": "-c timezone=UTC",
        },
    )
    try:
        with translated(DATABASE), engine.connect() as connection:
            yield connection
    except TableMissing as error:
        raise TableMissing(DATABASE, error.message, "`trueup init-db` makes the auditor's tables.") from error
    finally:
        engine.dispose()


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """COPY rows into a table, in the connection's transaction. `table` and `columns` are our own names."""
    named = sql.SQL(", ").join(sql.Identifier(column) for column in columns)
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(*table.split(".")), named)
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"COPY needs psycopg, and this is {type(driver).__name__}")
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def quoted(columns: Iterable[str]) -> str:
    """Our own column names for a statement; some of them (table, key, column) are words of SQL."""
    return ", ".join(f'"{column}"' for column in columns)


def actor() -> str:
    """Who is doing this: the login and the machine, for the audit log."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        login = str(os.getuid())
    return f"{login}@{socket.gethostname()}"


def identity(settings: Settings) -> str:
    """Who makes a plan: TRUEUP_IDENTITY, a service's name; else the login on this machine."""
    return settings.identity or actor().partition("@")[0]


def utc_now() -> datetime:
    """The clock. What it says reaches the engine only as an argument."""
    return datetime.now(UTC)
