"""Locks: rows of `trueup.locks` that one process holds while it works, on a connection of their own.

Waiting for one is bounded and seen: the holder is named at once, and after the limit the wait ends with an error.
Taking a row's lock needs a right to UPDATE, so a role that only reads can keep nobody waiting. Rows of billing stores
are locked by those who write them (`trueup.stores.apply`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from trueup.correction.refusals import ApplyBusy
from trueup.stores.auditor.connection import writing
from trueup.stores.settings import Settings

Name = Literal["apply", "relay"]

_NO_TIMEOUT: Final = text("SET idle_in_transaction_session_timeout = 0")
_NAME_SESSION: Final = text("SELECT set_config('application_name', :name, false)")
_TAKE: Final = text("SELECT name FROM trueup.locks WHERE name = :name FOR UPDATE NOWAIT")
_WAIT: Final = text("SELECT name FROM trueup.locks WHERE name = :name FOR UPDATE")
_LIMIT: Final = text("SELECT set_config('lock_timeout', :limit, true)")
_HOLDERS: Final = text("""
    SELECT DISTINCT a.usename || coalesce(' (' || nullif(a.application_name, '') || ')', '') || ', process ' || a.pid
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.relation = 'trueup.locks'::regclass AND l.mode = 'RowShareLock' AND l.granted AND l.pid <> pg_backend_pid()
    ORDER BY 1
""")


@contextmanager
def held(
    settings: Settings, name: Name, wait_seconds: float, on_wait: Callable[[str], None] = lambda _holder: None
) -> Iterator[None]:
    """Hold a lock for as long as the context is open.

    Args:
        settings: the writer's address.
        name: which.
        wait_seconds: how long to wait for another holder.
        on_wait: called with who holds it, as soon as waiting begins.

    Raises:
        ApplyBusy: it was held for longer than that.
    """
    with writing(settings) as connection:
        connection.execute(_NO_TIMEOUT)
        connection.execute(_NAME_SESSION, {"name": f"trueup {name}"})
        connection.commit()
        if not _is_taken(connection, name, None):
            connection.rollback()
            _wait(connection, name, wait_seconds, on_wait)
        yield
        connection.rollback()


def _wait(connection: Connection, name: Name, wait_seconds: float, on_wait: Callable[[str], None]) -> None:
    holder = ", ".join(connection.execute(_HOLDERS).scalars()) or "somebody"
    on_wait(holder)
    if _is_taken(connection, name, wait_seconds):
        return
    raise ApplyBusy(
        f"{holder} holds the lock `{name}`, and did for the {wait_seconds:.0f} s that this one waited.",
        "Wait until it has ended and try again. A process that hangs is ended on its machine, or with "
        "pg_terminate_backend.",
        holder=holder,
        waited_seconds=wait_seconds,
    )


def _is_taken(connection: Connection, name: Name, wait_seconds: float | None) -> bool:
    """Whether the lock is ours now: at once, or after waiting so long."""
    try:
        if wait_seconds is not None:
            connection.execute(_LIMIT, {"limit": f"{max(1, round(wait_seconds * 1000))}ms"})
        taken = connection.execute(_TAKE if wait_seconds is None else _WAIT, {"name": name})
        return taken.scalar_one_or_none() is not None
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            return False
        raise
