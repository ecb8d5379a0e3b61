"""Drivers' exceptions, translated into the errors of `trueup.stores.errors`.

psycopg, SQLAlchemy and ADBC report the same trouble in three ways; here they become one, by SQLSTATE. The server's
message is repeated only where it names a table, a column or a role; it may otherwise quote a row. Everything that talks
to PostgreSQL does so inside `translated`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from adbc_driver_manager import Error as AdbcError
from sqlalchemy.exc import DBAPIError

from trueup.stores.errors import (
    ColumnMissing,
    PrivilegeMissing,
    StoreError,
    StoreNotWhole,
    StoreUnreachable,
    TableMissing,
)

UNDEFINED_TABLE: Final = ("42P01", "3F000")
UNDEFINED_COLUMN: Final = ("42703", "42804", "42883", "42846")
NO_PRIVILEGE: Final = ("42501",)
NO_SUCH_DATABASE: Final = ("3D000",)
BAD_LOGIN: Final = ("28000", "28P01")
CONNECTION: Final = ("08000", "08001", "08003", "08004", "08006", "57P01", "57P02", "57P03", "53300")

_CHECK_ADDRESS: Final = "Check the address and that the server is up; `trueup doctor` tries every connection."
_CHECK_TABLES: Final = (
    "Check that the address leads to the right database; docs/contract/STORES.md lists its tables and columns."
)
_GRANT: Final = "Run `trueup init-db` with an owner's address; it prints and applies the grants that are needed."


@contextmanager
def translated(store: str, table: str | None = None) -> Iterator[None]:
    """Raise what a driver raises inside as a StoreError of this store, from the original."""
    try:
        yield
    except (psycopg.Error, DBAPIError, AdbcError) as error:
        raise translate(store, error, table) from error


def translate(store: str, error: Exception, table: str | None = None) -> StoreError:
    """The StoreError that a driver's exception amounts to."""
    state = sqlstate(error)
    if state in UNDEFINED_TABLE:
        return TableMissing(store, server_message(error), _CHECK_TABLES, table=table)
    if state in UNDEFINED_COLUMN:
        return ColumnMissing(store, server_message(error), _CHECK_TABLES, table=table)
    if state in NO_PRIVILEGE:
        return PrivilegeMissing(store, server_message(error), _GRANT, table=table)
    if state in BAD_LOGIN + NO_SUCH_DATABASE + CONNECTION or (state is None and _is_about_connecting(error)):
        return StoreUnreachable(store, server_message(error), _CHECK_ADDRESS, table=table)
    return StoreNotWhole(
        store,
        f"the server broke off ({state or type(error).__name__})",
        "Run it again; the server's log says why it ended the statement.",
        table=table,
    )


def sqlstate(error: Exception) -> str | None:
    """The five-character code that PostgreSQL gave, where the driver has it."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(origin, "sqlstate", None)
    return state if isinstance(state, str) and state else None


def server_message(error: Exception) -> str:
    """The first line of the server's message, without the statement and the driver's own prefix."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    lines = [line.strip() for line in str(origin).splitlines() if line.strip()]
    first = lines[0] if lines else type(origin).__name__
    return first.rpartition("ERROR:")[2].rpartition("FATAL:")[2].strip()


def _is_about_connecting(error: BaseException | None) -> bool:
    if isinstance(error, DBAPIError):
        return _is_about_connecting(error.orig)
    return isinstance(error, psycopg.OperationalError) or "Failed to connect" in str(error)
