"""Identifiers that look like the providers' own, a million at a time.

Stripe's ids carry the second of their creation in base 62 before a part that is the merchant's and a random tail, so
they sort by age, as real ones do. Which object gets which id is decided by the caller's generator, hence by its seed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Ints = npt.NDArray[np.int64]

_ALPHABET: Final = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", dtype=np.uint8)
_MERCHANT: Final = "B7WZ01zgkW"
_TIME_WIDTH: Final = 6
_TAIL_WIDTH: Final = 8
_CUSTOMER_WIDTH: Final = 14


def dated(prefix: str, created: pl.Series, rng: np.random.Generator) -> pl.Series:
    """Ids such as `in_1Pgc6tB7WZ01zgkWu9fdqL6I` for objects created at these instants, in their order."""
    seconds = created.dt.epoch("s").to_numpy().astype(np.int64)
    head = _text(_digits(seconds, _TIME_WIDTH))
    return (prefix + "_" + head + _MERCHANT + random_text(len(created), _TAIL_WIDTH, rng)).alias("id")


def customers(count: int, rng: np.random.Generator) -> pl.Series:
    """Ids such as `cus_QXg1o8vcGmoR32`."""
    return ("cus_" + random_text(count, _CUSTOMER_WIDTH, rng)).alias("id")


def random_text(count: int, width: int, rng: np.random.Generator) -> pl.Series:
    """Random base 62 texts of one width."""
    return _text(rng.integers(0, len(_ALPHABET), size=(count, width), dtype=np.int64))


def numbered(prefix: str, numbers: Ints, width: int) -> pl.Series:
    """Ids of our own stores: a prefix and a number padded with zeros."""
    return pl.select(prefix + pl.lit(pl.Series(numbers)).cast(pl.String).str.zfill(width)).to_series().alias("id")


def _digits(numbers: Ints, width: int) -> Ints:
    """The base 62 digits of each number, most significant first."""
    powers = 62 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return np.asarray(numbers[:, None] // powers % 62, dtype=np.int64)


def _text(digits: Ints) -> pl.Series:
    """One text for each row of digits; the bytes go to Arrow whole, never through Python's strings."""
    count, width = digits.shape
    if count == 0:
        return pl.Series([], dtype=pl.String)
    buffer = pa.py_buffer(np.ascontiguousarray(_ALPHABET[digits]).tobytes())
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, [None, buffer])
    return pl.Series(pl.from_arrow(fixed.cast(pa.binary()).cast(pa.string())))
