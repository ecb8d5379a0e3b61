"""Parts: a look is judged whole if it is small, and bucket by bucket if it is not, so that memory does not grow.

The lake keeps every row in each bucket that needs it, so a bucket can be judged by itself and gives its own accounts
the results that the whole fleet would. Parts are swept and judged one after the other, or by a cluster (`cluster.py`);
each leaves files of its own, and what follows scans them. How a part is judged is the same for both, and is in
`judging.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from trueup.audit.cluster import on_each
from trueup.audit.gather import Look
from trueup.audit.judge import Basis, Kept, judge, keep, read_snapshot, sweep_snapshot, write_snapshot
from trueup.audit.progress import working_on
from trueup.audit.run_folder import read_frame, write_frame
from trueup.contract import SweepResult
from trueup.contract.schemas import Snapshot
from trueup.stores.lake.tables import Lake
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

_FACTS: Final = "facts"
_VIOLATIONS: Final = "contract_violations.parquet"
_JUDGED: Final = "judged"
_OWN_RUN: Final = "look"  # the one run of a look's own lake


@dataclass(frozen=True)
class Part:
    """Some of the accounts of a look, with every row that they need: a bucket of it, or all that was read."""

    look: Look
    scope: Scope
    bucket_count: int
    lake: Lake
    lake_run: str  # under which the lake has the look, if the part is a bucket

    @property
    def name(self) -> str:
        return "whole" if self._bucket is None else f"bucket_{self._bucket}"

    @property
    def facts(self) -> Path:
        """The folder of its swept facts."""
        return self.look.folder / _FACTS / self.name

    @property
    def is_home(self) -> pl.Expr:
        """Over account_id: whether the account is the part's own, and not one that its accounts lean on."""
        return self.scope.reports_on(pl.col("account_id"), self.bucket_count)

    def rows(self) -> Snapshot:
        """What the stores said of its accounts."""
        if self._bucket is None:
            return self.look.snapshot()
        rows = self.lake.open(self.lake_run, (self._bucket,))
        return {name: frame.collect(engine="streaming").lazy() for name, frame in rows.items()}

    @property
    def _bucket(self) -> int | None:
        return None if self.scope.buckets is None else self.scope.buckets[0]


def parts_of(look: Look, scope: Scope, settings: Settings, lake_run: str | None) -> list[Part]:
    """The parts of a look at a scope: all of it, or of a large one its buckets.

    `lake_run` is the run under which the history has the look. A large look that is not in it gets a lake of its own,
    in its folder.
    """
    lake = Lake.of(settings)
    if _accounts(look) <= settings.accounts_at_once:
        return [Part(look, Scope.fleet(), settings.bucket_count, lake, lake_run or "")]
    if lake_run is None:
        lake, lake_run = Lake(look.folder / "lake", settings.lake_memory_gb), _OWN_RUN
        _commit(lake, lake_run, look, scope if scope.accounts is None else Scope.fleet(), settings)
    buckets = [Scope.of_buckets((bucket,)) for bucket in lake.run(lake_run).buckets]
    return [Part(look, bucket, settings.bucket_count, lake, lake_run) for bucket in buckets]


def history_run(look: Look, scope: Scope, run_id: str) -> str | None:
    """The run under which the history has a run's first look, if it takes it.

    A list of accounts is no part of the fleet's history, and a snapshot with a broken store would be a false past.
    """
    return run_id if scope.accounts is None and not look.faults() else None


def keep_in_history(look: Look, scope: Scope, settings: Settings, run_id: str) -> None:
    """Keep what a fleet or buckets of it said in the lake, so that a past day can be looked at again."""
    if history_run(look, scope, run_id):
        _commit(Lake.of(settings), run_id, look, scope, settings)


def _commit(lake: Lake, run_id: str, look: Look, scope: Scope, settings: Settings) -> None:
    with working_on("keep in the lake"):
        lake.commit(run_id, look.snapshot(), look.observed_at(), scope, settings.bucket_count)


def _accounts(look: Look) -> int:
    """How many accounts a look saw, as far as can be told where a store was not read."""
    rows = {table: count for read in look.reads.values() for table, count in read.rows.items()}
    return max(rows.get(table, 0) for table in ("accounts", "subs_account", "subs_customer", "stripe_customers"))


def sweep_parts(parts: Sequence[Part], settings: Settings, as_of: datetime) -> pl.DataFrame:
    """Sweep every part and keep its facts; the violations of all parts, each once."""
    return pl.concat(on_each("sweep", partial(_sweep, basis=Basis.of(settings, as_of)), parts, settings))


def judge_parts(parts: Sequence[Part], settings: Settings, as_of: datetime) -> Kept:
    """Judge every part on the facts that were kept, and keep what comes of it."""
    for _ in on_each("judge", partial(_judge, basis=Basis.of(settings, as_of)), parts, settings):
        pass
    return kept(parts[0].look)


def kept(look: Look) -> Kept:
    """What came of a look whose parts were judged."""
    return Kept.at(look.folder / _JUDGED)


def _sweep(part: Part, basis: Basis) -> pl.DataFrame:
    swept = sweep_snapshot(part.rows(), basis)
    write_snapshot(part.facts, swept.frames)
    write_frame(part.facts / _VIOLATIONS, swept.violations)
    return swept.violations.filter(part.is_home)


def _judge(part: Part, basis: Basis) -> None:
    swept = SweepResult(read_snapshot(part.facts), read_frame(part.facts / _VIOLATIONS))
    keep(part.look.folder / _JUDGED, part.name, judge(swept, part.look, basis), part.is_home)
