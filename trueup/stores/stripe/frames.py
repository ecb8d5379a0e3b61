"""Stripe's objects as rows: exactly the columns of `trueup.contract.schemas`, and what could not be stored, named.

A value that is not what its column holds becomes null and is recorded as malformed, by table, key, column and rule:
the value itself may be anything, so it is not repeated. What a sound value may *mean* is the contract's business.

Columns are taken one at a time over a whole page: first the quick way, which any wrong value breaks, then value by
value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from trueup.contract.schemas import COUNT, TABLES, TEXT
from trueup.stores.stripe.columns import Column, Kind, Wrong
from trueup.stores.stripe.objects import COLUMNS, OBJECT_OF
from trueup.stores.stripe.parsing import LOST

MALFORMED: Final[dict[str, pl.DataType]] = {"table": TEXT, "key": TEXT, "column": TEXT, "rule": TEXT}
"""One row per value, or whole object, that could not be taken. `key` is null where the object has no id."""

_NOTHING: Final[dict[str, Any]] = {}
_MICROSECONDS: Final = 1_000_000
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_LAST_SECOND: Final = 253_402_300_799  # the end of year 9999, the last that a calendar date can be written in


class Rows(NamedTuple):
    """Rows of one table, and what was malformed in them."""

    frame: pl.DataFrame
    malformed: pl.DataFrame


def rows(table: str, objects: Sequence[Any], *, is_text_sound: bool = True) -> Rows:
    """The objects of one page as rows, in their order; what is no object at all is only recorded."""
    whole = [given for given in objects if isinstance(given, dict)]
    found = {name: _values(column, whole, is_text_sound=is_text_sound) for name, column in COLUMNS[table].items()}
    keys = found[TABLES[table].key[0]].values
    violations = [_Violation(table, None, None, "is no object")] * (len(objects) - len(whole))
    violations += [_Violation(table, key, TABLES[table].key[0], "has no id") for key in keys if not key]
    for name, taken in found.items():
        violations += [_Violation(table, keys[place], name, rule) for place, rule in taken.wrong.items()]
    series = {name: _series(table, name, taken.values) for name, taken in found.items()}
    if "unreadable" in TABLES[table].columns:
        series["unreadable"] = _unreadable(found, len(whole))
    return Rows(pl.DataFrame([series[name] for name in TABLES[table].columns]), malformed(violations))


def payment_methods(table: str, objects: Sequence[Any], *, is_text_sound: bool = True) -> Rows | None:
    """The payment methods that these objects name as their default: whole where expanded, else the id alone."""
    path = OBJECT_OF[table].payment_method_at
    if not path:
        return None
    named = [_at(given, path) for given in objects if isinstance(given, dict)]
    found = [{"id": each} if isinstance(each, str) else each for each in named if isinstance(each, dict | str)]
    return rows("stripe_payment_methods", found, is_text_sound=is_text_sound) if found else None


class _Violation(NamedTuple):
    table: str
    key: str | None
    column: str | None
    rule: str


class _Taken(NamedTuple):
    values: list[Any]
    wrong: dict[int, str]  # place in the page → the rule that the value broke


def malformed(violations: Sequence[tuple[str, str | None, str | None, str]]) -> pl.DataFrame:
    """Violations as a frame of `MALFORMED`."""
    return pl.DataFrame(violations, schema=MALFORMED, orient="row")


def _values(column: Column, objects: list[dict[str, Any]], *, is_text_sound: bool) -> _Taken:
    try:
        values = _quickly(column, objects)
    except (AttributeError, TypeError, KeyError, Wrong):
        values = None
    if values is not None and is_text_sound and _are_sound(column.kind, values):
        return _Taken(values, {})
    return _one_by_one(column, objects)


def _quickly(column: Column, objects: list[dict[str, Any]]) -> list[Any]:
    if column.pick is not None:
        return [column.pick(given) for given in objects]
    match column.path:
        case (key,):
            return [given.get(key) for given in objects]
        case (outer, key):
            return [(given.get(outer) or _NOTHING).get(key) for given in objects]
    return [_down(given, column.path) for given in objects]


def _are_sound(kind: Kind, values: list[Any]) -> bool:
    """Whether every value is of the kind, by the set of their types: a reference here is a bare id."""
    types = set(map(type, values)) - {type(None)}
    match kind:
        case Kind.TEXT | Kind.REFERENCE:
            return types <= {str}
        case Kind.FLAG:
            return types <= {bool}
        case Kind.NUMBER | Kind.INSTANT:
            low, high = (0, _LAST_SECOND) if kind is Kind.INSTANT else (_SMALLEST, _LARGEST)
            return types <= {int} and all(low <= value <= high for value in values if value is not None)
    return all(value is None or _rule(kind, value) is None for value in values)


def _one_by_one(column: Column, objects: list[dict[str, Any]]) -> _Taken:
    values: list[Any] = []
    wrong: dict[int, str] = {}
    for place, given in enumerate(objects):
        value, rule = _taken(column, given)
        values.append(value)
        if rule is not None:
            wrong[place] = rule
    return _Taken(values, wrong)


def _taken(column: Column, given: dict[str, Any]) -> tuple[Any, str | None]:
    """One value as it is stored, and the rule that it breaks, if it does: it is null then."""
    try:
        value = _quickly(column, [given])[0]
    except Wrong as wrong:
        return None, str(wrong)
    except (AttributeError, TypeError, KeyError):
        return None, f"is not {column.kind.value}"
    if column.kind is Kind.REFERENCE and isinstance(value, dict):
        value = value.get("id", value)
    rule = None if value is None else _rule(column.kind, value)
    return (value, None) if rule is None else (None, rule)


def _rule(kind: Kind, value: object) -> str | None:
    """The rule that a value breaks, in words that follow the column's name."""
    if kind in _LIST_OF:
        one = _LIST_OF[kind]
        is_sound = isinstance(value, list) and all(each is not None and _rule(one, each) is None for each in value)
        return None if is_sound else f"is not {kind.value}"
    if not _IS[kind](value):
        return f"is not {kind.value}"
    if isinstance(value, str) and LOST in value:
        return "is not UTF-8"
    return None


_LIST_OF: Final = {Kind.TEXTS: Kind.TEXT, Kind.INSTANTS: Kind.INSTANT}

_IS: Final[dict[Kind, Callable[[Any], bool]]] = {
    Kind.TEXT: lambda value: isinstance(value, str),
    Kind.REFERENCE: lambda value: isinstance(value, str),
    Kind.FLAG: lambda value: isinstance(value, bool),
    Kind.NUMBER: lambda value: type(value) is int and _SMALLEST <= value <= _LARGEST,
    Kind.INSTANT: lambda value: type(value) is int and 0 <= value <= _LAST_SECOND,
}


def _series(table: str, name: str, values: list[Any]) -> pl.Series:
    dtype = TABLES[table].columns[name]
    match COLUMNS[table][name].kind:
        case Kind.INSTANT:
            # Multiplied here: an operation of Polars lets go of the interpreter's lock, and eight threads want it.
            return pl.Series(name, [None if v is None else v * _MICROSECONDS for v in values], dtype=dtype)
        case Kind.INSTANTS:
            seconds = pl.Series(name, values, dtype=pl.List(COUNT))
            return seconds.list.eval(pl.element() * _MICROSECONDS).cast(dtype)
    return pl.Series(name, values, dtype=dtype)


def _unreadable(found: dict[str, _Taken], count: int) -> pl.Series:
    """Per row the names, joined by commas, of the columns whose value could not be taken."""
    names = [[name for name, taken in found.items() if place in taken.wrong] for place in range(count)]
    return pl.Series("unreadable", [",".join(each) or None for each in names], dtype=TEXT)


def _down(given: dict[str, Any], path: tuple[str, ...]) -> object:
    """What stands at a path; null where something on the way is null or absent."""
    at: Any = given
    for key in path:
        at = (at or _NOTHING).get(key)
    return at


def _at(given: dict[str, Any], path: tuple[str, ...]) -> object:
    try:
        return _down(given, path)
    except AttributeError:
        return None
