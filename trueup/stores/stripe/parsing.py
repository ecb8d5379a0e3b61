"""Responses parsed: fast where they are sound, and still read where a text in them is not.

Stripe writes UTF-8; a text in another encoding, or half a surrogate pair, would otherwise cost a page of sound objects.
Mended places hold U+FFFD, by which `frames.py` knows the values that were lost.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

import orjson

LOST: Final = "\ufffd"


class Parsed(NamedTuple):
    """A response's value, and whether every text in it came through as it was."""

    value: Any
    is_text_sound: bool


def parsed(body: bytes) -> Parsed | None:
    """The JSON value of a response, or None if it is no JSON."""
    try:
        return Parsed(orjson.loads(body), is_text_sound=True)
    except orjson.JSONDecodeError:
        return _mended(body)


def _mended(body: bytes) -> Parsed | None:
    """The same, for bytes that are not UTF-8 and for lone surrogates."""
    try:
        value = json.loads(body.decode("utf-8", "replace"), strict=False)
        clean = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        return Parsed(json.loads(clean), is_text_sound=False)
    except (ValueError, RecursionError):
        return None
