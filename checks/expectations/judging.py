"""Judging: Great Expectations at work, on a table of a database or on a frame.

It is imported when first used, since that takes seconds. Its context is ephemeral: nothing is written, nothing is sent.
A database is judged by SQL, inside the reading's own snapshot, over the very select that a reading uses: exactly the
columns that the reader's role may see, and none that holds personal data. Great Expectations gets counts and never
values: it is asked for no examples, so that none can end up in a log.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import psycopg
from sqlalchemy import Connection, Engine, event

from checks.expectations.suites import Suite, parameters
from trueup.contract.schemas import TABLES
from trueup.stores.errors import StoreNotWhole
from trueup.stores.postgres.reading import DatabaseReading, refuse_unreadable
from trueup.stores.postgres.selects import select
from trueup.stores.scope import Scope

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
    from great_expectations.datasource.fluent.interfaces import Batch
    from great_expectations.datasource.fluent.sql_datasource import SQLDatasource

Counts = Mapping[str, int]
"""Claim → how many rows break it."""

SLICE_ROWS: Final = 500_000  # of a frame, judged at once: pandas needs memory for all of it

# The driver and the name tell Great Expectations which SQL to write; the connections are the reading's.
_ADDRESS: Final = "postgresql+psycopg://reader@database/name"
_NO_EXAMPLES: Final = {"result_format": "BASIC", "partial_unexpected_count": 0}


@contextmanager
def judging_database(reading: DatabaseReading) -> Iterator[DatabaseJudge]:
    """Great Expectations on one database, as it was at the reading's instant."""
    sources: Any = _context().data_sources  # its stub leaves out `kwargs`
    source = sources.add_or_update_postgres(
        reading.database, connection_string=_ADDRESS, kwargs={"creator": lambda: psycopg.connect(reading.url)}
    )
    engine: Engine = source.get_execution_engine().engine
    try:
        yield DatabaseJudge(source, engine, reading)
    finally:
        engine.dispose()
        source.get_engine().dispose()  # the one it tried the connection with


class DatabaseJudge:
    """Judges tables of one database."""

    def __init__(self, source: SQLDatasource, engine: Engine, reading: DatabaseReading) -> None:
        self._source = source
        self._reading = reading
        self._selects: set[str] = set()
        event.listen(engine, "begin", self._take_instant)
        event.listen(engine, "before_cursor_execute", self._fetch_no_table, retval=True)

    def judge(self, suite: Suite) -> Counts:
        """How many rows of the table break each claim of its suite.

        Raises:
            TableMissing, ColumnMissing, PrivilegeMissing: the table is not there for the reader's role.
            StoreNotWhole: the database did not answer to the end.
        """
        is_by_view = refuse_unreadable(self._reading, suite.table)
        statement = select(
            suite.table,
            Scope.fleet(),
            self._reading.bucket_count,
            is_text_checked=self._reading.is_text_checked,
            is_by_view=is_by_view,
        )
        self._selects.add(statement)
        asset = self._source.add_query_asset(suite.table, query=statement)
        return _validate(asset.add_batch_definition_whole_table("whole").get_batch(), suite)

    def _take_instant(self, connection: Connection) -> None:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{self._reading.snapshot}'")

    def _fetch_no_table(self, _c: object, _cursor: object, statement: str, values: Any, *_rest: object) -> Any:  # noqa: ANN401 -- SQLAlchemy's
        """To learn a select's columns Great Expectations runs it as it is, and the driver would fetch the table."""
        return (f"{statement} LIMIT 0" if statement in self._selects else statement), values


def judge_frame(rows: pl.LazyFrame, suite: Suite) -> Counts:
    """How many rows of a frame break each claim of a suite.

    Equal keys are always in the same slice, so that the sum over the slices is the count over all.
    """
    counts = dict.fromkeys((one.claim for one in suite.expected), 0)
    for piece in _slices(rows.select(suite.columns_needed), TABLES[suite.table].key):
        for claim, found in _validate(_batch_of(piece), suite).items():
            counts[claim] += found
    return counts


def _slices(rows: pl.LazyFrame, key: Iterable[str]) -> Iterator[pl.DataFrame]:
    pieces = 1 + rows.select(pl.len()).collect().item() // SLICE_ROWS
    piece_of = pl.struct(key).hash() % pieces
    for piece in range(pieces):
        yield (rows.filter(piece_of == piece) if pieces > 1 else rows).collect()


def _batch_of(piece: pl.DataFrame) -> Batch:
    asset = _context().data_sources.add_or_update_pandas("frame").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": piece.to_pandas()})


@cache
def _context() -> EphemeralDataContext:
    great_expectations = _library()
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    nothing_on_disk = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
    )
    context: EphemeralDataContext = great_expectations.get_context(mode="ephemeral", project_config=nothing_on_disk)
    return context


def _library() -> ModuleType:
    with warnings.catch_warnings():  # importing it warns of modules that Python deprecates, which is no fault here
        warnings.simplefilter("ignore")
        import great_expectations
    return great_expectations


def _validate(batch: Batch, suite: Suite) -> Counts:
    result = batch.validate(
        _library().ExpectationSuite(**suite.document), result_format=_NO_EXAMPLES, expectation_parameters=parameters()
    )
    counts = {one.expectation_config.meta["claim"]: one.result.get("unexpected_count") for one in result.results}
    unjudged = sorted(one.claim for one in suite.expected if counts.get(one.claim) is None)
    if unjudged:  # what went wrong may quote rows, and so is not repeated here
        raise StoreNotWhole(
            suite.store,
            f"Great Expectations could not judge {', '.join(unjudged)}",
            "The server's log tells which statement failed; if none did, the suite does not fit the table.",
            table=suite.table,
        )
    return counts
