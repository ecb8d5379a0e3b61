"""Judging: from what the stores said to what should be, and to what disagrees.

Here the frames of one look are swept, handed to the engine, and searched for disagreements. Everything is decided in
`dunning/`; this file carries the frames there and back. It is the one way to do so: for the Dagster assets, for
`trueup explain`, and for the look that an apply takes before it writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from dunning.as_of import known_at
from dunning.contract import Swept, sweep
from dunning.drift import find, implied
from dunning.engine import Judged, compute
from dunning.policy import Policy
from dunning.schemas import TABLES, Snapshot
from stores.runs import write_frame
from stores.settings import Settings

KEPT: Final = tuple(field.name for field in fields(Judged) if field.name != "facts")


@dataclass(frozen=True)
class Judgement:
    """What the engine made of one look: its answer, what disagrees with it, and what each store implies."""

    judged: Judged
    findings: pl.DataFrame
    implied: pl.DataFrame


class Seen(Protocol):
    """When each store was read, and which of them cannot be relied on."""

    def observed_at(self) -> Mapping[str, datetime]: ...

    def broken(self, age_hours_max: float, /) -> Mapping[str, str]: ...


def sweep_snapshot(snapshot: Snapshot, policy: Policy, as_of: datetime) -> Swept:
    """The facts that rules can use, and the faults of the others."""
    return sweep(snapshot, as_of=as_of, livemode=policy.livemode)


def judge(swept: Swept, seen: Seen, policy: Policy, as_of: datetime, settings: Settings) -> Judgement:
    """Compute and compare the swept facts of a look."""
    broken = seen.broken(settings.max_age_hours)
    judged = compute(swept.frames, policy, as_of, faults=swept.faults, broken_stores=broken)
    findings = find(
        judged,
        policy,
        as_of,
        faults=swept.faults,
        observed_at=seen.observed_at(),
        broken=broken,
        settle_minutes=settings.settle_minutes,
    )
    return Judgement(judged, findings, implied(judged))


def keep(folder: Path, judgement: Judgement) -> None:
    """Keep a judgement: one Parquet file per frame, but for the facts, which are kept already."""
    for name in KEPT:
        write_frame(folder / f"{name}.parquet", getattr(judgement.judged, name))
    write_frame(folder / "findings.parquet", judgement.findings)
    write_frame(folder / "implied.parquet", judgement.implied)


def kept(folder: Path, facts: Snapshot, as_of: datetime) -> Judgement:
    """The judgement that was kept, over the swept facts it was made from."""
    frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in (*KEPT, "findings", "implied")}
    findings, implied_by = frames.pop("findings"), frames.pop("implied")
    return Judgement(Judged(**frames, facts=known_at(facts, as_of)), findings, implied_by)


def write_snapshot(folder: Path, snapshot: Mapping[str, pl.LazyFrame]) -> None:
    """Keep frames of the stores: one Parquet file per table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in snapshot.items():
        frame.sink_parquet(folder / f"{name}.parquet")


def read_snapshot(folder: Path) -> dict[str, pl.LazyFrame]:
    """Frames of the stores as they were kept."""
    return {name: pl.scan_parquet(folder / f"{name}.parquet") for name in TABLES}
