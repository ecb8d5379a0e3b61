"""Partitions: a small reading is judged whole, a large one bucket by bucket, so that memory does not grow.

The lake keeps every row in each bucket that needs it, so a bucket can be judged by itself and gives its own accounts
the results that the whole fleet would. Parts are swept and judged one after the other, or by a cluster (`cluster.py`);
each leaves files of its own, and what follows scans them. How a partition is judged is the same for both, and is in
`judge.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from trueup.audit.cluster import on_each
from trueup.audit.files import read_frame, write_frame
from trueup.audit.gather import ScopeReading
from trueup.audit.judge import (
    Basis,
    StoredJudgement,
    judge,
    read_snapshot,
    store_judgement,
    sweep_snapshot,
    write_snapshot,
)
from trueup.audit.progress import working_on
from trueup.contract import SweepResult
from trueup.contract.schemas import Snapshot
from trueup.stores.lake.tables import Lake
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

_FACTS: Final = "facts"
_VIOLATIONS: Final = "contract_violations.parquet"
_JUDGED: Final = "judged"
_OWN_RUN: Final = "reading"  # the one run of a reading's own lake


@dataclass(frozen=True)
class Partition:
    """Some of the accounts of a reading, with every row that they need: a bucket of it, or all that was read."""

    reading: ScopeReading
    scope: Scope
    bucket_count: int
    lake: Lake
    lake_run: str  # under which the lake has the reading, if the partition is a bucket

    @property
    def name(self) -> str:
        return "whole" if self._bucket is None else f"bucket_{self._bucket}"

    @property
    def facts(self) -> Path:
        """The folder of its swept facts."""
        return self.reading.folder / _FACTS / self.name

    @property
    def is_home(self) -> pl.Expr:
        """Over account_id: whether the account is the partition's own, and not one that its accounts depend on."""
        return self.scope.reports_on(pl.col("account_id"), self.bucket_count)

    def rows(self) -> Snapshot:
        """What the stores said of its accounts."""
        if self._bucket is None:
            return self.reading.snapshot()
        rows = self.lake.open(self.lake_run, (self._bucket,))
        return {name: frame.collect(engine="streaming").lazy() for name, frame in rows.items()}

    @property
    def _bucket(self) -> int | None:
        return None if self.scope.buckets is None else self.scope.buckets[0]


def partitions_of(reading: ScopeReading, scope: Scope, settings: Settings, lake_run: str | None) -> list[Partition]:
    """The partitions of a reading at a scope: all of it, or of a large one its buckets.

    `lake_run` is the run under which the history has the reading. A large reading that is not in it gets a lake of its
    own, in its folder.
    """
    lake = Lake.of(settings)
    if _accounts(reading) <= settings.accounts_at_once:
        return [Partition(reading, Scope.fleet(), settings.bucket_count, lake, lake_run or "")]
    if lake_run is None:
        lake, lake_run = Lake(reading.folder / "lake", settings.lake_memory_gb), _OWN_RUN
        _commit(lake, lake_run, reading, scope if scope.accounts is None else Scope.fleet(), settings)
    buckets = [Scope.of_buckets((bucket,)) for bucket in lake.run(lake_run).buckets]
    return [Partition(reading, bucket, settings.bucket_count, lake, lake_run) for bucket in buckets]


def archived_run_id(reading: ScopeReading, scope: Scope, run_id: str) -> str | None:
    """The run under which the history has a run's initial reading, if it takes it.

    A list of accounts is no part of the fleet's history, and a snapshot with a broken store would be a false past.
    """
    return run_id if scope.accounts is None and not reading.faults() else None


def archive_reading(reading: ScopeReading, scope: Scope, settings: Settings, run_id: str) -> None:
    """Archive what the stores said of the fleet, or of buckets of it, so that a past day can be read again."""
    if archived_run_id(reading, scope, run_id):
        _commit(Lake.of(settings), run_id, reading, scope, settings)


def _commit(lake: Lake, run_id: str, reading: ScopeReading, scope: Scope, settings: Settings) -> None:
    with working_on("keep in the lake"):
        lake.commit(run_id, reading.snapshot(), reading.observed_at(), scope, settings.bucket_count)


def _accounts(reading: ScopeReading) -> int:
    """How many accounts a reading saw, as far as can be told where a store was not read."""
    rows = {table: count for read in reading.reads.values() for table, count in read.rows.items()}
    return max(rows.get(table, 0) for table in ("accounts", "subs_account", "subs_customer", "stripe_customers"))


def sweep_partitions(partitions: Sequence[Partition], settings: Settings, basis: Basis) -> pl.DataFrame:
    """Sweep every partition and store its facts; the violations of all partitions, each once."""
    return pl.concat(on_each("sweep", partial(_sweep, basis=basis), partitions, settings))


def judge_partitions(partitions: Sequence[Partition], settings: Settings, basis: Basis) -> StoredJudgement:
    """Judge every partition on the facts that were stored, and store what comes of it."""
    for _ in on_each("judge", partial(_judge, basis=basis), partitions, settings):
        pass
    return stored_judgement(partitions[0].reading)


def stored_judgement(reading: ScopeReading) -> StoredJudgement:
    """What came of a reading whose partitions were judged."""
    return StoredJudgement.at(reading.folder / _JUDGED)


def _sweep(partition: Partition, basis: Basis) -> pl.DataFrame:
    swept = sweep_snapshot(partition.rows(), basis)
    write_snapshot(partition.facts, swept.frames)
    write_frame(partition.facts / _VIOLATIONS, swept.violations)
    return swept.violations.filter(partition.is_home)


def _judge(partition: Partition, basis: Basis) -> None:
    swept = SweepResult(read_snapshot(partition.facts), read_frame(partition.facts / _VIOLATIONS))
    store_judgement(
        partition.reading.folder / _JUDGED, partition.name, judge(swept, partition.reading, basis), partition.is_home
    )
