"""Staging: a snapshot's rows as Parquet files by bucket, made in memory that the fleet's size does not set.

DuckDB reads a snapshot's files, routes their rows (`routing.py`), and writes each table's to the buckets that need
them, a file or more for each. It holds no more memory than it is given and puts the rest to disk, so that what
grows with the fleet is the folder, for as long as a commit takes. What becomes of the files is the lake's business.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self

import duckdb
import polars as pl

from trueup.contract.schemas import TABLES, Snapshot
from trueup.stores.lake.routing import BITMAP, HOME_BUCKETS, ROW, places, route, route_table

BUCKET: Final = "bucket"
_THREADS_MAX: Final = 4  # each holds rows of its own; more would not fit
_SCAN: Final = re.compile(r"Parquet SCAN \[(.+)\]")  # how Polars explains one
_PREFIX: Final = ".staging-"


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file of a table's rows, all of one bucket, which is not a column in it."""

    bucket: int
    file: Path
    rows: int


class Staging:
    """A snapshot, routed, in a folder that is gone afterwards."""

    def __init__(self, folder: Path, db: duckdb.DuckDBPyConnection, bucket_count: int) -> None:
        self._folder = folder
        self._db = db
        self._bucket_count = bucket_count

    @classmethod
    @contextmanager
    def of(cls, snapshot: Snapshot, bucket_count: int, inside: Path | None, memory_gb: float) -> Iterator[Self]:
        """Route a snapshot.

        Args:
            snapshot: every table; a frame that is not a scan of one Parquet file becomes one first.
            bucket_count: 1 to `trueup.stores.scope.BUCKETS_MAX`.
            inside: where to make the folder; where the system has such folders (TMPDIR) if None.
            memory_gb: what DuckDB may hold.
        """
        with TemporaryDirectory(prefix=_PREFIX, dir=inside) as name:
            folder = Path(name)
            with _database(folder, memory_gb) as db:
                for table in TABLES:
                    _view(snapshot[table], table, folder, db)
                route(db, bucket_count)
                yield cls(folder, db, bucket_count)

    def files(self, name: str, buckets: Collection[int]) -> list[StagedFile]:
        """A table's rows in these buckets, given once: its columns and `BITMAP`, or of HOME_BUCKETS its account_id."""
        folder = self._folder / f"{name}.files"
        self._db.execute(
            f"""
            COPY ({self._rows(name, buckets)}) TO {_quoted(folder)}
            (FORMAT parquet, COMPRESSION snappy, PARTITION_BY ({BUCKET}))"""
        )
        self._db.execute(f"DROP TABLE {HOME_BUCKETS if name == HOME_BUCKETS else route_table(name)}")
        return [_staged_file(file) for file in sorted(folder.glob(f"{BUCKET}=*/*.parquet"))]

    def _rows(self, name: str, buckets: Collection[int]) -> str:
        if name == HOME_BUCKETS:
            return f"SELECT account_id, {BUCKET} FROM {HOME_BUCKETS} WHERE {BUCKET} IN ({', '.join(map(str, buckets))})"
        columns = ", ".join(f't."{column}"' for column in TABLES[name].columns)
        return f"""
            SELECT {columns}, place.{BITMAP}, place.{BUCKET}
            FROM {name} AS t JOIN ({places(name, buckets, self._bucket_count)}) AS place ON t.{ROW} = place.{ROW}"""


def staged_schema(name: str) -> pl.Schema:
    """The columns of a table in the lake."""
    if name == HOME_BUCKETS:
        return pl.Schema({"account_id": pl.String(), BUCKET: pl.Int32()})
    return pl.Schema({**TABLES[name].columns, BITMAP: pl.Int64(), BUCKET: pl.Int32()})


@contextmanager
def _database(folder: Path, memory_gb: float) -> Iterator[duckdb.DuckDBPyConnection]:
    settings: Mapping[str, str | bool] = {
        "memory_limit": f"{memory_gb}GB",
        "temp_directory": str(folder / "spilled"),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
    }
    with duckdb.connect(":memory:", config=dict(settings)) as db:
        db.execute("SET enable_progress_bar = false")  # it would be drawn into a command's output
        db.execute(f"SET threads = least(current_setting('threads'), {_THREADS_MAX})")
        yield db


def _view(frame: pl.LazyFrame, name: str, folder: Path, db: duckdb.DuckDBPyConnection) -> None:
    """Let DuckDB see a table: a file, so that every reading has the same rows by the same numbers."""
    file = _file_of(frame, name)
    if file is None:
        file = folder / f"{name}.parquet"
        columns = [pl.col(column).cast(kind) for column, kind in TABLES[name].columns.items()]
        frame.select(columns).sink_parquet(file, compression="lz4")
    scan = f"read_parquet({_quoted(file)}, file_row_number = true, hive_partitioning = false)"
    db.execute(f"CREATE VIEW {name} AS SELECT *, file_row_number AS {ROW} FROM {scan}")


def _file_of(frame: pl.LazyFrame, name: str) -> Path | None:
    """The Parquet file that the frame is a scan of, if it is that and no more."""
    found = _SCAN.match(frame.explain(optimized=False))
    if found is None or frame.serialize() != pl.scan_parquet(found[1]).serialize():
        return None
    return Path(found[1]) if frame.collect_schema() == TABLES[name].schema else None


def _staged_file(file: Path) -> StagedFile:
    rows = pl.scan_parquet(file, hive_partitioning=False).select(pl.len()).collect().item()
    return StagedFile(int(file.parent.name.removeprefix(f"{BUCKET}=")), file, rows)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
