"""Files: how the stages of a run leave frames and JSON for each other, each file whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl


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
