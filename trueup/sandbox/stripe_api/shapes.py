"""What the leaves of a template are, and how flat columns become JSON text.

A template is Stripe's object as nested Python values in which a `Slot` stands for what differs between objects. A
slot's expression turns flat columns into the JSON text that belongs there, column-wise, so that half a million
records are ready in seconds. The templates themselves are in `templates.py`; merging them with a record is
`packing.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl


@dataclass(frozen=True, eq=False)
class Slot:
    """A place whose JSON text differs from object to object.

    `expands` names the kind of object whose id stands here, where `expand[]` may put the object itself.
    """

    name: str
    text: pl.Expr
    expands: str | None = None


@dataclass(frozen=True, eq=False)
class Served:
    """A place whose JSON text is made from a slot's when the object is served: what is long, or says nothing new."""

    slot: Slot
    make: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Template:
    """One kind's full object, with slots; where `instead` is not null, its text is the whole object."""

    shape: dict[str, Any]
    instead: pl.Expr | None = None


def column(name: str, *, expands: str | None = None) -> Slot:
    """The column's own value: text, number, flag, list or null."""
    return Slot(name, json(pl.col(name)), expands)


def derived(name: str, value: pl.Expr) -> Slot:
    """A value computed from several columns."""
    return Slot(name, json(value))


def optional(name: str, condition: pl.Expr, shape: object, *, otherwise: object = None) -> Slot:
    """A nested shape where the condition holds, else another."""
    return Slot(name, pl.when(condition).then(text_of(shape)).otherwise(text_of(otherwise)))


def path(slot: Slot, before: str, after: str) -> Served:
    """An address with the slot's text in it."""
    return Served(slot, lambda text: b'"%b%b%b"' % (before.encode(), text[1:-1], after.encode()))


def json(value: pl.Expr) -> pl.Expr:
    """The JSON text of a value, escaped as JSON wants it (so no control character is left in it)."""
    return pl.struct(v=value).struct.json_encode().str.slice(len('{"v":')).str.head(-1)


def text_of(shape: object) -> pl.Expr:
    """The JSON text of a nested shape with slots, as one expression."""
    return pl.concat_str(_text(part) for part in segments(shape))


def segments(shape: object) -> Iterator[str | Slot | Served]:
    """The shape's JSON text cut at its leaves: fixed text and leaves by turns, in order."""
    leaves: list[Slot | Served] = []
    text = orjson.dumps(_marked(shape, leaves)).decode()
    fixed = text.split(f'"{_MARK}"')
    yield fixed[0]
    for leaf, following in zip(leaves, fixed[1:], strict=True):
        yield leaf
        yield following


_MARK = "<-here->"


def _marked(shape: object, leaves: list[Slot | Served]) -> object:
    """The shape with a mark in the place of each leaf; the leaves are collected in the order of the text."""
    if isinstance(shape, Slot | Served):
        leaves.append(shape)
        return _MARK
    if isinstance(shape, dict):
        return {key: _marked(value, leaves) for key, value in shape.items()}
    if isinstance(shape, list):
        return [_marked(value, leaves) for value in shape]
    return shape


def _text(part: str | Slot | Served) -> pl.Expr:
    if isinstance(part, Served):
        raise TypeError("what is made when an object is served belongs to the outermost shape, not inside a slot")
    return pl.lit(part) if isinstance(part, str) else part.text
