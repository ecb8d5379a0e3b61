"""Runs: the folder in which the stages of one run leave what they made.

Stages hand each other files, not Python objects, so that each can run in its own process and a run can be inspected
after it has ended. The folder is `<home>/runs/<run id>/`; its first file is the run's manifest. What the stages compute
is not decided here, and what is archived for time travel is the lake's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from trueup.audit.files import read_frame, read_json, sink_frame, write_frame, write_json
from trueup.audit.manifest import Manifest
from trueup.engine.policy import Policy
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

__all__ = ["Run", "find_run", "read_frame", "read_json", "run_folder", "sink_frame", "write_frame", "write_json"]


@dataclass(frozen=True)
class Run:
    """One run of the auditor: its manifest and its folder."""

    manifest: Manifest
    folder: Path

    @classmethod
    def begin(cls, settings: Settings, manifest: Manifest) -> Run:
        """Begin the run of this manifest: make its folder, and write the manifest before anything else."""
        folder = run_folder(settings, manifest.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        manifest.write(folder)
        return cls(manifest, folder)

    @property
    def run_id(self) -> str:
        return self.manifest.run_id

    @property
    def as_of(self) -> datetime:
        return self.manifest.as_of

    @property
    def started_at(self) -> datetime:
        return self.manifest.started_at

    @property
    def scope(self) -> Scope:
        return self.manifest.scope

    @property
    def policy(self) -> Policy:
        return self.manifest.policy

    @property
    def initial(self) -> Path:
        """What the stores said when all of the scope was read."""
        return self.folder / "initial"

    @property
    def recheck(self) -> Path:
        """What they said when the disagreeing accounts were read again."""
        return self.folder / "recheck"

    def write(self, name: str, frame: pl.DataFrame) -> Path:
        return write_frame(self.folder / f"{name}.parquet", frame)

    def sink(self, name: str, frame: pl.LazyFrame) -> Path:
        return sink_frame(self.folder / f"{name}.parquet", frame)

    def scan(self, name: str) -> pl.LazyFrame:
        return pl.scan_parquet(self.folder / f"{name}.parquet")

    def read(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def has(self, name: str) -> bool:
        return (self.folder / f"{name}.parquet").exists()


def run_folder(settings: Settings, run_id: str) -> Path:
    """Where the run of this id leaves its files."""
    return settings.home / "runs" / run_id


def find_run(settings: Settings, run_id: str) -> Run | None:
    """The run of this id, if its folder is still there."""
    folder = run_folder(settings, run_id)
    manifest = Manifest.read(folder)
    return None if manifest is None else Run(manifest, folder)
