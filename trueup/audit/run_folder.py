"""Runs: the folder in which the stages of one run leave what they made.

Stages hand each other files, not Python objects, so that each can run in its own process and a run can be looked at
after it has ended. The folder is `<home>/runs/<run id>/`; a file appears there whole or not at all. What the stages
compute is not decided here, and what is kept for time travel is the lake's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from trueup.stores.scope import Scope
from trueup.stores.settings import Settings


@dataclass(frozen=True)
class Run:
    """One run of the auditor: its id, its terms and its folder."""

    run_id: str
    folder: Path
    as_of: datetime
    started_at: datetime
    scope: Scope

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


def write_frame(path: Path, frame: pl.DataFrame) -> Path:
    """Write a Parquet file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    frame.write_parquet(unfinished)
    return unfinished.replace(path)


def sink_frame(path: Path, frame: pl.LazyFrame) -> Path:
    """Write a Parquet file of a frame that is never in memory as a whole; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    frame.sink_parquet(unfinished)
    return unfinished.replace(path)


def write_json(path: Path, value: Any) -> Path:  # noqa: ANN401 -- whatever JSON can hold
    """Write a JSON file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    return unfinished.replace(path)


def read_frame(path: Path) -> pl.DataFrame:
    """A frame that `write_frame` wrote."""
    return pl.read_parquet(path)


def read_json(path: Path) -> Any:  # noqa: ANN401 -- whatever JSON can hold
    """A value that `write_json` wrote."""
    return orjson.loads(path.read_bytes())
