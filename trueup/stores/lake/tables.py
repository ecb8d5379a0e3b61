"""The lake: what the six stores held, run by run, so that any past day can be looked at and computed again.

One Delta table per table of a snapshot, partitioned by bucket, in a folder or an object store. A run replaces the
buckets it read, each table in one atomic commit, and then commits a manifest: the run id, the version of every table,
and the instant each store was read. A run exists when its manifest does; `open` reads exactly the versions that it
names, so that a run in progress, or one that was killed, is never seen. Older versions stay, and are what time travel
reads. Lists of accounts are no part of the fleet's history and never come here; they stay in their run's folder.

Each bucket is whole in itself: rows that several buckets need are in each of them (`routing.py`), and a reading of
several buckets, or all, has every row once. The files are made in memory that the fleet's size does not set
(`staging.py`), and then put where Delta wants them. Why Delta: docs/decisions/0001-lake-delta.md.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote
from uuid import uuid4

import orjson
import polars as pl
import stamina
from deltalake import CommitProperties, DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction
from duckdb import OperationalError as DuckDBError
from duckdb import OutOfMemoryException

from trueup.contract.schemas import TABLES, Snapshot
from trueup.stores.errors import StoreNotWhole, TrueupError
from trueup.stores.lake.routing import BITMAP, HOME_BUCKETS, bucket_of_bit
from trueup.stores.lake.staging import BUCKET, StagedFile, Staging, staged_schema
from trueup.stores.scope import NO_BUCKET, Scope
from trueup.stores.settings import MEMORY_GB, Settings

_MANIFESTS: Final = "manifests"
_ATTEMPTS: Final = 50  # at one commit, when others commit to the same table
_RETENTION: Final = {  # Delta forgets its log after 30 days unless it is told not to, and with it every past day
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


class RunUnknown(TrueupError):
    """No such run is in the lake, or none that covers what was asked."""


@dataclass(frozen=True, slots=True)
class LakeRun:
    """A run's manifest in the lake."""

    run_id: str
    committed_at: datetime
    bucket_count: int
    buckets: tuple[int, ...]  # that it read; all of them, and -1, for the fleet
    observed_at: Mapping[str, datetime]  # store → the instant its tables show
    versions: Mapping[str, int]  # table → Delta version

    @property
    def is_fleet(self) -> bool:
        return len(self.buckets) == self.bucket_count + 1

    def as_json(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = orjson.loads(text)
        instants = {store: datetime.fromisoformat(at) for store, at in values["observed_at"].items()}
        return cls(
            run_id=values["run_id"],
            committed_at=datetime.fromisoformat(values["committed_at"]),
            bucket_count=values["bucket_count"],
            buckets=tuple(values["buckets"]),
            observed_at=instants,
            versions=values["versions"],
        )


class Lake:
    """The lake at an address: a folder, or an object store that Delta knows (`s3://…`, `gs://…`, `az://…`).

    `memory_gb` is the most that a commit holds in memory; the rest goes to disk.
    """

    def __init__(self, uri: str | Path, memory_gb: float = MEMORY_GB) -> None:
        self.uri = str(uri).rstrip("/")
        self.memory_gb = memory_gb

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.lake_uri, settings.lake_memory_gb)

    def commit(
        self,
        run_id: str,
        snapshot: Snapshot,
        observed_at: Mapping[str, datetime],
        scope: Scope,
        bucket_count: int,
        now: datetime | None = None,
    ) -> LakeRun:
        """Archive what a run read, and make the run visible, whole or not at all.

        Args:
            run_id: a run is committed once; again gives what is there.
            snapshot: every table, as gathered for the scope; scans of Parquet files cost less than queries.
            observed_at: store → the instant its tables show.
            scope: the fleet, or buckets, which replace those that are there.
            bucket_count: 1 to `trueup.stores.scope.BUCKETS_MAX`, the same for the life of a lake.
            now: the instant of the commit, for tests.

        Raises:
            ValueError: the scope is a list of accounts.
            TrueupError: the lake was made with another number of buckets.
            StoreNotWhole: the lake did not take it.
        """
        if scope.accounts is not None:
            raise ValueError("a list of accounts is no part of the fleet's history; leave it in the run's folder")
        known = self._known(run_id)
        if known is not None:
            return known
        self._refuse_other_bucket_count(bucket_count)
        buckets = scope.buckets or (*range(bucket_count), NO_BUCKET)
        with _translated():
            with Staging.of(snapshot, bucket_count, self._folder, self.memory_gb) as staging:
                versions = {
                    name: self._replace(run_id, name, staging.files(name, buckets), buckets, bucket_count)
                    for name in (*TABLES, HOME_BUCKETS)
                }
            run = LakeRun(run_id, now or datetime.now(UTC), bucket_count, buckets, dict(observed_at), versions)
            self._append_manifest(run)
        return run

    def open(self, run_id: str, buckets: Iterable[int] | None = None) -> Snapshot:
        """What the stores held in a run: all that it read, or some of its buckets with their dependencies.

        Every row is there once, without the lake's own columns. Of one bucket's snapshot only the results of that
        bucket's accounts count (`home_accounts`); the rest is there because they depend on it.

        Raises:
            RunUnknown: no such run, or it did not read those buckets.
        """
        run = self.run(run_id)
        wanted = self._wanted(run, buckets)
        return {name: self._scan(run, name, wanted) for name in TABLES}

    def home_accounts(self, run_id: str, buckets: Iterable[int] | None = None) -> pl.LazyFrame:
        """The accounts whose home bucket is one of these: account_id."""
        run = self.run(run_id)
        wanted = self._wanted(run, buckets)
        return self._table(run, HOME_BUCKETS).filter(pl.col(BUCKET).is_in(wanted)).select("account_id")

    def run(self, run_id: str) -> LakeRun:
        """A run's manifest.

        Raises:
            RunUnknown: no such run was committed.
        """
        known = self._known(run_id)
        if known is None:
            raise RunUnknown(f"The lake has no run {run_id}.", "`trueup audit` makes one; a killed run leaves none.")
        return known

    def runs(self) -> list[LakeRun]:
        """All runs, oldest first."""
        manifests = self._manifests()
        if manifests is None:
            return []
        bodies = manifests.sort("committed_at", "run_id").select("body").collect().to_series()
        return [LakeRun.from_json(body) for body in bodies]

    def latest(self, before: datetime | None = None, buckets: Iterable[int] | None = None) -> LakeRun | None:
        """The last run that had read these buckets (all, if left out) by an instant, in all six stores."""
        wanted = None if buckets is None else set(buckets)
        for run in reversed(self.runs()):
            covers = run.is_fleet if wanted is None else wanted <= set(run.buckets)
            if covers and (before is None or max(run.observed_at.values()) <= before):
                return run
        return None

    def _replace(
        self, run_id: str, name: str, files: list[StagedFile], buckets: tuple[int, ...], bucket_count: int
    ) -> int:
        """Put these rows in the place of the buckets' own, in one commit; the version that it made."""
        self._make_room(name)
        schema = DeltaSchema.from_arrow(staged_schema(name))
        DeltaTable.create(self._address(name), schema, "ignore", partition_by=[BUCKET], configuration=_RETENTION)
        added: list[AddAction | RemoveAction] = [self._add(name, staged) for staged in files]
        is_fleet = len(buckets) > bucket_count  # which replaces whatever is there, gone buckets too
        return _overwrite(self._address(name), schema, added, run_id, None if is_fleet else buckets)

    def _add(self, name: str, staged: StagedFile) -> AddAction:
        """Put a file into the table's folder, where Delta does not see it yet."""
        path = f"{BUCKET}={staged.bucket}/part-{uuid4()}.parquet"
        address = f"{self._address(name)}/{path}"
        if self._folder is None:
            pl.scan_parquet(staged.file, hive_partitioning=False).sink_parquet(address)
            size = DeltaStorageHandler(self._address(name)).get_file_info([path])[0].size
        else:
            Path(address).parent.mkdir(exist_ok=True)
            size = Path(shutil.move(staged.file, address)).stat().st_size
        stats = orjson.dumps({"numRecords": staged.rows}).decode()
        return AddAction(
            path, size, {BUCKET: str(staged.bucket)}, int(time.time() * 1000), data_change=True, stats=stats
        )

    def _append_manifest(self, run: LakeRun) -> None:
        self._make_room(_MANIFESTS)
        row = pl.LazyFrame({"run_id": [run.run_id], "committed_at": [run.committed_at], "body": [run.as_json()]})
        options = {} if self._delta(_MANIFESTS) else {"configuration": _RETENTION}
        row.cast({"committed_at": pl.Datetime("us", "UTC")}).sink_delta(
            self._address(_MANIFESTS), mode="append", delta_write_options=options
        )

    def _known(self, run_id: str) -> LakeRun | None:
        manifests = self._manifests()
        if manifests is None:
            return None
        bodies = manifests.filter(pl.col("run_id") == run_id).select("body").collect().to_series()
        return LakeRun.from_json(bodies[0]) if len(bodies) else None

    def _refuse_other_bucket_count(self, bucket_count: int) -> None:
        last = next(iter(reversed(self.runs())), None)
        if last is not None and last.bucket_count != bucket_count:
            raise TrueupError(
                f"The lake was made with {last.bucket_count} buckets; the settings say {bucket_count}.",
                "Set TRUEUP_BUCKET_COUNT back, or begin another lake with TRUEUP_LAKE.",
            )

    def _wanted(self, run: LakeRun, buckets: Iterable[int] | None) -> list[int]:
        wanted = sorted(set(run.buckets if buckets is None else buckets))
        missing = [str(bucket) for bucket in wanted if bucket not in run.buckets]
        if missing:
            raise RunUnknown(
                f"Run {run.run_id} did not read bucket {', '.join(missing)}.",
                f"It read {', '.join(str(bucket) for bucket in run.buckets)}; other runs may have the rest.",
            )
        return wanted

    def _scan(self, run: LakeRun, name: str, buckets: list[int]) -> pl.LazyFrame:
        """One table's rows in these buckets, each once: from the first of them that has it."""
        bits = sum(1 << (run.bucket_count if bucket == NO_BUCKET else bucket) for bucket in buckets)
        first = (pl.col(BITMAP) & bits).bitwise_trailing_zeros()
        is_first = bucket_of_bit(first, run.bucket_count) == pl.col(BUCKET)
        rows = self._table(run, name).filter(pl.col(BUCKET).is_in(buckets))
        return (rows if len(buckets) == 1 else rows.filter(is_first)).select(list(TABLES[name].columns))

    def _table(self, run: LakeRun, name: str) -> pl.LazyFrame:
        return _scanned(DeltaTable(self._address(name), version=run.versions[name]))

    def _manifests(self) -> pl.LazyFrame | None:
        table = self._delta(_MANIFESTS)
        return None if table is None else _scanned(table)

    def _delta(self, name: str) -> DeltaTable | None:
        try:
            return DeltaTable(self._address(name))
        except TableNotFoundError:
            return None

    def _address(self, name: str) -> str:
        return f"{self.uri}/{name}"

    @property
    def _folder(self) -> Path | None:
        """The lake's folder, if it is in one; it is there afterwards."""
        if "://" in self.uri:
            return None
        Path(self.uri).mkdir(parents=True, exist_ok=True)
        return Path(self.uri).absolute()

    def _make_room(self, name: str) -> None:
        if self._folder is not None:
            Path(self._address(name)).mkdir(exist_ok=True)


def _scanned(table: DeltaTable) -> pl.LazyFrame:
    """The rows of a table at its version.

    Polars 2.1 does not find the files of a table in a folder whose name an address must escape, such as one with a
    space or an umlaut; there they are named to it one by one.
    """
    rows = pl.scan_delta(table)
    if not (table.table_uri.startswith("file://") and "%" in table.table_uri):
        return rows
    schema = rows.collect_schema()
    files = [unquote(address) for address in table.file_uris()]
    if not files:
        return pl.LazyFrame(schema=schema)
    in_path = {name: schema[name] for name in table.metadata().partition_columns}
    return pl.scan_parquet(files, hive_partitioning=bool(in_path), hive_schema=in_path or None).select(schema.names())


@stamina.retry(on=CommitFailedError, attempts=_ATTEMPTS, timeout=None, wait_initial=0.01, wait_max=1.0)
def _overwrite(
    address: str,
    schema: DeltaSchema,
    added: list[AddAction | RemoveAction],
    run_id: str,
    buckets: tuple[int, ...] | None,
) -> int:
    """One commit that has these files replace the buckets' own, or all; the version that it made.

    Someone else's commit since we looked at the table makes ours fail, and we look again: else what they have just
    added to the same buckets would stay beside ours.
    """
    table = DeltaTable(address)
    of_buckets = None if buckets is None else [(BUCKET, "in", [str(bucket) for bucket in buckets])]
    once = CommitProperties(custom_metadata={"run_id": run_id}, max_commit_retries=0)
    table.create_write_transaction(added, "overwrite", schema, [BUCKET], of_buckets, commit_properties=once)
    return table.version() + 1  # `table` is as it was before


@contextmanager
def _translated() -> Iterator[None]:
    """Delta's messages may quote rows; ours do not."""
    try:
        yield
    except OutOfMemoryException as error:
        raise StoreNotWhole(
            "lake",
            "routing the rows did not fit the memory it was given; nothing of the run is visible",
            "Give it more with TRUEUP_LAKE_MEMORY_GB, and run again.",
        ) from error
    except (DeltaError, DuckDBError, OSError) as error:
        raise StoreNotWhole(
            "lake",
            f"it did not take the run ({type(error).__name__}); nothing of the run is visible",
            "Check the lake's address, its free space and its rights, and run again.",
        ) from error
