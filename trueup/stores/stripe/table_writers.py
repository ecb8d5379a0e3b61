"""Where rows go while Stripe is being read: one Parquet file per table, filled from many threads, whole or not there.

Rows are gathered to batches of some size before they are written, so memory grows neither with the list nor with the
number of pages. Payment methods, which many objects name, come out once each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq

from trueup.contract.schemas import TABLES
from trueup.stores.parquet_writer import TableRead, arrow_schema
from trueup.stores.stripe.frames import MALFORMED, Rows

BATCH_ROWS: Final = 20_000
MALFORMED_FILE: Final = "stripe_malformed.parquet"

OnRows = Callable[[str, int], None]
"""Called with a table's name and how many more of its rows have come; from several threads."""


class TableWriters:
    """The files of one reading. `finish` puts them in their place; without it, `discard` leaves nothing."""

    def __init__(self, tables: list[str], into: Path, on_rows: OnRows) -> None:
        into.mkdir(parents=True, exist_ok=True)
        self._into, self._on_rows = into, on_rows
        self._writers = {name: _TableWriter(name, into) for name in tables}
        self._malformed: list[pl.DataFrame] = []
        self._lock = threading.Lock()

    def add(self, table: str, rows: Rows | None) -> None:
        """Takes the rows of one page of a table."""
        if rows is None:
            return
        with self._lock:
            self._writers[table].add(rows.frame)
            if not rows.malformed.is_empty():
                self._malformed.append(rows.malformed)
        self._on_rows(table, rows.frame.height)

    def finish(self, observed_at: dict[str, datetime]) -> dict[str, TableRead]:
        """Closes all files and puts them in their place; that of the malformed values beside them."""
        reads = {name: writer.finish(observed_at[name]) for name, writer in self._writers.items()}
        faults = pl.concat([pl.DataFrame(schema=MALFORMED), *self._malformed]).unique(maintain_order=True)
        faults.sort("table", "key", "column", nulls_last=False).write_parquet(self._into / MALFORMED_FILE)
        return reads

    def discard(self) -> None:
        for writer in self._writers.values():
            writer.discard()


class _TableWriter:
    def __init__(self, name: str, into: Path) -> None:
        self._name = name
        self._path = into / f"{name}.parquet"
        self._unfinished = self._path.with_suffix(".unfinished")
        self._schema = arrow_schema(name)
        self._writer = pq.ParquetWriter(self._unfinished, self._schema, compression="zstd", compression_level=1)
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = self._rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        self._waiting.append(frame)
        self._waiting_rows += frame.height
        if self._waiting_rows >= BATCH_ROWS:
            self._flush()

    def finish(self, observed_at: datetime) -> TableRead:
        self._flush()
        self._writer.close()
        if self._name == "stripe_payment_methods":
            self._once_each()
        self._unfinished.replace(self._path)
        bytes_written = self._path.stat().st_size
        return TableRead(self._name, "stripe", self._rows, bytes_written, observed_at, self._path)

    def discard(self) -> None:
        self._writer.close()
        self._unfinished.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._waiting:
            batch = pl.concat(self._waiting)
            self._writer.write_table(batch.to_arrow().cast(self._schema))
            self._rows += batch.height
        self._waiting, self._waiting_rows = [], 0

    def _once_each(self) -> None:
        """Each id once, from an object that was expanded where there is one: an id alone says less."""
        columns = list(TABLES[self._name].columns)
        named = pl.scan_parquet(self._unfinished)
        once = named.sort("payment_method_id", "created_at", "type", nulls_last=True)
        once = once.unique("payment_method_id", keep="first", maintain_order=True).select(columns)
        frame = once.collect(engine="streaming")
        pq.write_table(frame.to_arrow().cast(self._schema), self._unfinished, compression="zstd", compression_level=1)
        self._rows = frame.height
