"""All objects of one kind, in the order of Stripe's lists, with an index per filter.

A page costs the same wherever in the list it begins: the place is found by bisection over (created, id), never by
counting. The first request that filters by a field builds that field's index; from then on each write keeps it up.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from trueup.sandbox.stripe_api.packing import Packed, is_full, slot_text, slots_at, unpack


class Page(NamedTuple):
    """Objects newest first, and whether the list goes on in the direction of reading."""

    rows: list[Packed]
    has_more: bool


@dataclass(frozen=True)
class Query:
    """The terms of a list request. `where` is field path → accepted values; `hidden` values of a field are left out."""

    limit: int = 10
    starting_after: Packed | None = None
    ending_before: Packed | None = None
    created_from: int | None = None  # included
    created_to: int | None = None  # included
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)
    hidden: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Collection:
    """All objects of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._rows: dict[str, Packed] = {}
        self._order: list[Packed] = []  # oldest first
        self._by: dict[str, dict[object, list[Packed]]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, object_id: str) -> Packed | None:
        """The object, deleted customers included."""
        return self._rows.get(object_id)

    def fill(self, rows: Iterable[Packed]) -> None:
        """Many objects at once; one that is there already is replaced."""
        self._rows.update((row.id, row) for row in rows)
        self._order = sorted(row for row in self._rows.values() if not self._is_deleted(row))
        self._by.clear()

    def put(self, row: Packed) -> None:
        """One object, now: a list that is being read sees it if its place is still ahead."""
        self.drop(row.id)
        self._rows[row.id] = row
        for rows in () if self._is_deleted(row) else self._lists_of(row):
            insort(rows, row)

    def drop(self, object_id: str) -> bool:
        """Forgets an object; true if it was there."""
        row = self._rows.pop(object_id, None)
        if row is None:
            return False
        for rows in () if self._is_deleted(row) else self._lists_of(row):
            del rows[bisect_left(rows, row)]
        return True

    def page(self, query: Query) -> Page:
        """The page that the query asks for."""
        rows = self._candidates(query)
        low, high = _bounds(rows, query)
        places: Iterator[int] = iter(range(high - 1, low - 1, -1))
        if query.ending_before is not None:
            places = iter(range(low, high))
        found = _take(rows, places, self._filter(query), query.limit + 1)
        has_more = len(found) > query.limit
        found = found[: query.limit]
        return Page(found[::-1] if query.ending_before is not None else found, has_more)

    def value(self, row: Packed, path: str) -> object:
        """The object's value at a dotted path; null where it has none."""
        if not is_full(row.body) and path in slots_at(self.kind):
            plain: object = orjson.loads(slot_text(self.kind, row.body, slots_at(self.kind)[path].name))
            return plain
        at: object = orjson.loads(unpack(self.kind, row.body))
        for key in path.split("."):
            at = at.get(key) if isinstance(at, dict) else None
        return at.get("id") if isinstance(at, dict) else at

    def _candidates(self, query: Query) -> list[Packed]:
        """The shortest list that holds every match: an index entry of one accepted value, or all objects."""
        lists = [self._index(path).get(min(one), []) for path, one in query.where.items() if len(one) == 1]
        return min(lists, key=len, default=self._order)

    def _filter(self, query: Query) -> Callable[[Packed], bool] | None:
        if not query.where and not query.hidden:
            return None

        def is_wanted(row: Packed) -> bool:
            return all(self.value(row, path) in wanted for path, wanted in query.where.items()) and not any(
                self.value(row, path) in unwanted for path, unwanted in query.hidden.items()
            )

        return is_wanted

    def _index(self, path: str) -> dict[object, list[Packed]]:
        if path not in self._by:
            index: dict[object, list[Packed]] = {}
            for row in self._order:
                index.setdefault(_hashable(self.value(row, path)), []).append(row)
            self._by[path] = index
        return self._by[path]

    def _lists_of(self, row: Packed) -> Iterator[list[Packed]]:
        yield self._order
        for path, index in self._by.items():
            yield index.setdefault(_hashable(self.value(row, path)), [])

    def _is_deleted(self, row: Packed) -> bool:
        return is_full(row.body) and orjson.loads(row.body).get("deleted") is True


def _bounds(rows: list[Packed], query: Query) -> tuple[int, int]:
    """From which place, and up to but without which, rows of the sorted list can be on the page."""
    low, high = 0, len(rows)
    if query.created_from is not None:
        low = bisect_left(rows, (query.created_from,))
    if query.created_to is not None:
        high = bisect_left(rows, (query.created_to + 1,))
    if query.starting_after is not None:
        high = min(high, bisect_left(rows, query.starting_after[:2]))
    if query.ending_before is not None:
        low = max(low, bisect_left(rows, (query.ending_before.created, query.ending_before.id + "\0")))
    return low, high


def _take(
    rows: list[Packed], places: Iterator[int], is_wanted: Callable[[Packed], bool] | None, count: int
) -> list[Packed]:
    found: list[Packed] = []
    for place in places:
        if is_wanted is None or is_wanted(rows[place]):
            found.append(rows[place])
            if len(found) == count:
                break
    return found


def _hashable(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
