"""Judging: from what the stores said to what should be, and to what disagrees.

Here the frames of one reading are swept, handed to the engine, and searched for disagreements. Everything is decided in
`trueup/engine` and `trueup/drift`; this file carries the frames there and back. It is the one way to do so: for the
Dagster assets, for `trueup explain`, and for the reading that an apply takes before it writes. What the assets hand on
of a judgement is written and scanned here too (`store_judgement`, `StoredJudgement`); which accounts are judged
together is the business of `partitions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

import polars as pl

from trueup.audit.files import write_frame
from trueup.audit.manifest import Manifest
from trueup.contract import SweepResult, sweep
from trueup.contract.schemas import TABLES, Snapshot
from trueup.correction.changes import CORRECTED_FROM, rows_behind
from trueup.drift import find, implied
from trueup.engine.engine import Judged, compute
from trueup.engine.policy import Policy, load_policy
from trueup.stores.settings import Settings


@dataclass(frozen=True)
class Judgement:
    """What the engine made of one reading: its answer, what disagrees with it, and what each store implies."""

    judged: Judged
    findings: pl.DataFrame
    implied: pl.DataFrame


class ReadingStatus(Protocol):
    """When each store was read, and which of them cannot be relied on."""

    def observed_at(self) -> Mapping[str, datetime]: ...

    def broken(self, age_hours_max: float, /) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Basis:
    """What a reading is judged by: policy, instant, and how fresh rows have to be. It may leave this machine."""

    policy: Policy
    as_of: datetime
    max_age_hours: float
    settle_minutes: int

    @classmethod
    def of(cls, settings: Settings, as_of: datetime) -> Self:
        return cls(load_policy(settings.policy), as_of, settings.max_age_hours, settings.settle_minutes)

    @classmethod
    def of_run(cls, manifest: Manifest) -> Self:
        """What every stage of a run judges by, whatever has become of the settings since it began."""
        return cls(manifest.policy, manifest.as_of, manifest.max_age_hours, manifest.settle_minutes)


def sweep_snapshot(snapshot: Snapshot, basis: Basis) -> SweepResult:
    """The facts that rules can use, and the violations of the others."""
    return sweep(snapshot, as_of=basis.as_of, livemode=basis.policy.livemode)


def judge(swept: SweepResult, status: ReadingStatus, basis: Basis) -> Judgement:
    """Compute and compare the swept facts of a reading."""
    broken = status.broken(basis.max_age_hours)
    judged = compute(swept.frames, basis.policy, basis.as_of, violations=swept.violations, broken_stores=broken)
    findings = find(
        judged,
        basis.policy,
        basis.as_of,
        violations=swept.violations,
        observed_at=status.observed_at(),
        broken=broken,
        settle_minutes=basis.settle_minutes,
    )
    return Judgement(judged, findings, implied(judged))


@dataclass(frozen=True)
class StoredJudgement:
    """A judgement as stored in a folder by partition: what has a row for every account is only scanned."""

    desired: pl.LazyFrame
    implied: pl.LazyFrame
    findings: pl.DataFrame
    facts: Snapshot  # the stores' rows behind the findings that are ours to correct
    partitions: int = 1

    @classmethod
    def at(cls, folder: Path) -> Self:
        return cls(
            partitions=len(_files(folder, "desired")),
            desired=_scan(folder, "desired"),
            implied=_scan(folder, "implied"),
            findings=_scan(folder, "findings").collect(),
            facts={name: _scan(folder, name) for name in CORRECTED_FROM},
        )


def store_judgement(folder: Path, partition: str, judgement: Judgement, is_home: pl.Expr) -> None:
    """Store what a partition's judgement says of its own accounts: a folder per frame, a Parquet file per partition."""
    findings = judgement.findings.filter(is_home)
    frames = {
        "desired": judgement.judged.desired.filter(is_home),
        "implied": judgement.implied.filter(is_home),
        "findings": findings,
        **rows_behind(findings, judgement.judged.facts),
    }
    for name, frame in frames.items():
        write_frame(folder / name / f"{partition}.parquet", frame)


def _scan(folder: Path, name: str) -> pl.LazyFrame:
    return pl.scan_parquet(_files(folder, name))


def _files(folder: Path, name: str) -> list[Path]:
    return sorted((folder / name).glob("*.parquet"))


def write_snapshot(folder: Path, snapshot: Mapping[str, pl.LazyFrame]) -> None:
    """Store frames of the stores: one Parquet file per table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in snapshot.items():
        frame.sink_parquet(folder / f"{name}.parquet")


def read_snapshot(folder: Path) -> dict[str, pl.LazyFrame]:
    """Frames of the stores as they were stored."""
    return {name: pl.scan_parquet(folder / f"{name}.parquet") for name in TABLES}


def height(frame: pl.LazyFrame) -> int:
    """How many rows a scanned frame has."""
    return int(frame.select(pl.len()).collect(engine="streaming").item())
