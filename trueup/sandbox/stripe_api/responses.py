"""Responses: pages and single objects as JSON text, with references expanded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from trueup.sandbox.stripe_api.collection import Collection, Page
from trueup.sandbox.stripe_api.packing import Packed, is_full, slots_at, unpack
from trueup.sandbox.stripe_api.requests import references

Collections = Mapping[str, Collection]


def page_text(collections: Collections, kind: str, page: Page, expand: tuple[str, ...]) -> bytes:
    """A list object with its data."""
    rows = b",".join(object_text(collections, kind, row, expand) for row in page.rows)
    has_more = b"true" if page.has_more else b"false"
    return b'{"object":"list","url":"/v1/%b","has_more":%b,"data":[%b]}' % (kind.encode(), has_more, rows)


def object_text(collections: Collections, kind: str, row: Packed, expand: tuple[str, ...]) -> bytes:
    """One object. A reference to an object that the sandbox does not have stays an id."""
    if not expand:
        return unpack(kind, row.body)
    if is_full(row.body) or any(path not in slots_at(kind) for path in expand):
        return orjson.dumps(_expanded(collections, kind, orjson.loads(unpack(kind, row.body)), expand))
    return unpack(kind, row.body, _slots(collections, kind, row, expand))


def _slots(collections: Collections, kind: str, row: Packed, expand: tuple[str, ...]) -> dict[str, bytes]:
    texts = {}
    for path in expand:
        slot = slots_at(kind)[path]
        object_id = collections[kind].value(row, path)
        target = collections[slot.expands].get(object_id) if slot.expands and isinstance(object_id, str) else None
        if slot.expands and target is not None:
            texts[slot.name] = unpack(slot.expands, target.body)
    return texts


def _expanded(collections: Collections, kind: str, whole: dict[str, Any], expand: tuple[str, ...]) -> dict[str, Any]:
    for reference, target in references(kind).items():
        deeper = tuple(path.removeprefix(reference + ".") for path in expand if path.startswith(reference + "."))
        if reference in expand or deeper:
            _put(collections, whole, reference.split("."), target, deeper)
    return whole


def _put(
    collections: Collections, whole: dict[str, Any], path: list[str], target: str, deeper: tuple[str, ...]
) -> None:
    at: Any = whole
    for key in path[:-1]:
        at = at.get(key) if isinstance(at, dict) else None
    object_id = at.get(path[-1]) if isinstance(at, dict) else None
    row = collections[target].get(object_id) if isinstance(object_id, str) else None
    if row is not None:
        at[path[-1]] = _expanded(collections, target, orjson.loads(unpack(target, row.body)), deeper)
