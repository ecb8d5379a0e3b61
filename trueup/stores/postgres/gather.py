"""Gather: read the tables of a database into a folder, and all the stores of a scope in the order of its dependencies.

This is the glue between the readings and the Parquet writer, without any scheduler in it: Dagster's assets, the recheck
and the apply that reads again before it writes all come through here. Stripe's reader is `trueup.stores.stripe`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from trueup.stores.parquet_writer import TableRead, write_table
from trueup.stores.postgres.dependencies import ReadingOf
from trueup.stores.postgres.reading import DatabaseReading, open_reading, read_table, tables_in
from trueup.stores.scope import Scope
from trueup.stores.settings import Database, Settings

SIDE_BY_SIDE: Final = 2  # tables of one database read at once: more only makes the server busier

OnRows = Callable[[str, int], None]
"""Called with a table's name and how many more of its rows have come."""


def gather_database(
    reading: DatabaseReading,
    scope: Scope,
    into: Path,
    names: Iterable[str] | None = None,
    on_rows: OnRows = lambda _name, _rows: None,
) -> dict[str, TableRead]:
    """Read tables of one instant of a database into Parquet files in a folder, side by side.

    Args:
        reading: the instant.
        scope: whose rows; expanded by `trueup.stores.postgres.dependencies.expand_scope`, if it is not the fleet.
        into: the folder.
        names: which tables; all of the database's if left out.
        on_rows: called with progress, from several threads.

    Raises:
        StoreError: a table could not be read whole; files of the others may be there.
    """
    wanted = tuple(names) if names is not None else tables_in(reading.database)
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix=reading.database) as threads:
        return {
            read.name: read for read in threads.map(lambda n: gather_table(reading, n, scope, into, on_rows), wanted)
        }


def gather_table(
    reading: DatabaseReading, name: str, scope: Scope, into: Path, on_rows: OnRows = lambda _name, _rows: None
) -> TableRead:
    """Read one table of a reading into a Parquet file in a folder."""
    batches = read_table(reading, name, scope)
    return write_table(name, batches, into, reading.observed_at, lambda rows: on_rows(name, rows))


@contextmanager
def readings(settings: Settings) -> Iterator[ReadingOf]:
    """A way to get at each database's reading; each is opened at its first use and held until the end."""
    held: dict[Database, DatabaseReading] = {}
    with ExitStack() as closing:

        def reading_of(database: Database) -> DatabaseReading:
            if database not in held:
                held[database] = closing.enter_context(open_reading(settings, database))
            return held[database]

        yield reading_of
