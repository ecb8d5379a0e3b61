"""All objects of the sandbox: loading them, and changing them while lists are being read.

Takes frames of flat records, lists of flat records or full objects, and files named for their kind
(`charges.parquet`, `charges-07.ndjson`).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from trueup.sandbox.stripe_api.collection import Collection, Page, Query
from trueup.sandbox.stripe_api.objects import KINDS, as_frame
from trueup.sandbox.stripe_api.packing import Packed, pack, pack_full

Records = pl.DataFrame | Iterable[Mapping[str, Any]]

_LINES_A_BATCH = 50_000


class ObjectStore:
    """All collections, with one lock for writers and readers."""

    def __init__(self) -> None:
        self.collections = {kind: Collection(kind) for kind in KINDS}
        self._lock = threading.Lock()

    def load(self, kind: str, records: Records) -> None:
        """Many objects at once: a frame of flat records, or flat records and full objects as dicts."""
        packed = pack(kind, records) if isinstance(records, pl.DataFrame) else _packed(kind, list(records))
        with self._lock:
            self.collections[kind].fill(packed)
        gc.freeze()  # millions of small tuples that stay: the collector need not walk them again and again

    def load_file(self, path: Path) -> None:
        """A Parquet file of flat records, or NDJSON lines of flat records or full objects, named for its kind.

        Raises:
            ValueError: the name does not begin with a kind, or the suffix is neither `.parquet` nor `.ndjson`.
        """
        kind = path.name.split(".")[0].split("-")[0]
        if kind not in KINDS or path.suffix not in {".parquet", ".ndjson"}:
            raise ValueError(f"{path.name}: name it KIND.parquet or KIND.ndjson, KIND being one of {', '.join(KINDS)}")
        if path.suffix == ".parquet":
            self.load(kind, pl.read_parquet(path))
            return
        with path.open("rb") as lines:
            while batch := list(islice(lines, _LINES_A_BATCH)):
                self.load(kind, [orjson.loads(line) for line in batch])

    def put(self, kind: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Objects put or replaced now, each in its place in lists that are being read."""
        packed = _packed(kind, records)
        with self._lock:
            for row in packed:
                self.collections[kind].put(row)

    def drop(self, kind: str, object_id: str) -> bool:
        """Forgets an object, as if it had never been; true if it was there."""
        with self._lock:
            return self.collections[kind].drop(object_id)

    def page(self, kind: str, query: Query) -> Page:
        with self._lock:
            return self.collections[kind].page(query)


def _packed(kind: str, records: Sequence[Mapping[str, Any]]) -> list[Packed]:
    """A record with an `object` key is a full object; the others are flat."""
    flat = [record for record in records if "object" not in record]
    full = [pack_full(dict(record)) for record in records if "object" in record]
    return (pack(kind, as_frame(kind, flat)) if flat else []) + full
