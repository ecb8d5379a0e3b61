"""The Parquet writer: what was read of a store, as one file per table in a folder.

A file appears whole or not at all, and is written batch by batch, so that memory does not grow with the table. Stages
of a run hand such folders to each other. What is archived for time travel is in `trueup/stores/lake`, not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from trueup.contract.schemas import TABLES, Snapshot

_ARROW: Final[dict[Any, pa.DataType]] = {
    pl.String: pa.string(),
    pl.Int64: pa.int64(),
    pl.Boolean: pa.bool_(),
    pl.Date: pa.date32(),
    pl.Datetime: pa.timestamp("us", "UTC"),
}


@dataclass(frozen=True, slots=True)
class TableRead:
    """One table or object list as it was read: where it lies, how much it is, and the instant it shows."""

    name: str
    store: str
    rows: int
    bytes: int
    observed_at: datetime
    path: Path

    def scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.path).select(list(TABLES[self.name].columns))


def write_table(
    name: str,
    batches: Iterable[pa.RecordBatch],
    into: Path,
    observed_at: datetime,
    on_rows: Callable[[int], None] = lambda _: None,
) -> TableRead:
    """Write the batches of one table to `into`/<name>.parquet; a reading that breaks off leaves nothing."""
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{name}.parquet"
    unfinished = path.with_suffix(".unfinished")
    rows = 0
    try:
        with pq.ParquetWriter(unfinished, arrow_schema(name), compression="zstd", compression_level=1) as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
                on_rows(batch.num_rows)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    unfinished.replace(path)
    return TableRead(name, TABLES[name].store, rows, path.stat().st_size, observed_at, path)


def scan_tables(folder: Path, names: Iterable[str] = TABLES) -> Snapshot:
    """The tables of a folder as the engine takes them."""
    return {name: pl.scan_parquet(folder / f"{name}.parquet").select(list(TABLES[name].columns)) for name in names}


def arrow_schema(name: str) -> pa.Schema:
    """The Arrow schema of a table of `trueup.contract.schemas`."""
    return pa.schema([pa.field(column, _arrow(dtype)) for column, dtype in TABLES[name].columns.items()])


def _arrow(dtype: pl.DataType) -> pa.DataType:
    if isinstance(dtype, pl.List):
        return pa.list_(_ARROW[dtype.inner.base_type()])
    return _ARROW[type(dtype)]
