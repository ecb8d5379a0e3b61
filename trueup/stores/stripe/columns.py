"""What a column of a Stripe object may be, and how its value is found in the object.

Which columns there are is declared in `objects.py`. Paths are those of API version 2026-10-28.endive (an invoice's
subscription is at `parent.subscription_details.subscription`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Kind(Enum):
    """What a value must be to be stored."""

    TEXT = "a text"
    REFERENCE = "an id or an object with an id"
    NUMBER = "a whole number"
    FLAG = "true or false"
    INSTANT = "an instant"
    TEXTS = "a list of texts"
    INSTANTS = "a list of instants"


@dataclass(frozen=True)
class Column:
    """A column: where it stands in the object, and what it must be. `pick` works out what no path can say."""

    kind: Kind
    path: tuple[str, ...] = ()
    pick: Callable[[dict[str, Any]], Any] | None = None


class Wrong(Exception):
    """What stands in the place of a value is no such thing."""


def text(path: str) -> Column:
    """A text at a path."""
    return Column(Kind.TEXT, tuple(path.split(".")))


def reference(path: str) -> Column:
    """An id at a path, or the id of the object there."""
    return Column(Kind.REFERENCE, tuple(path.split(".")))


def number(path: str) -> Column:
    """A whole number at a path."""
    return Column(Kind.NUMBER, tuple(path.split(".")))


def flag(path: str) -> Column:
    """True or false at a path."""
    return Column(Kind.FLAG, tuple(path.split(".")))


def instant(path: str) -> Column:
    """An instant, in seconds of the epoch, at a path."""
    return Column(Kind.INSTANT, tuple(path.split(".")))


def is_deleted(given: dict[str, Any]) -> bool:
    """Whether the object says that it was deleted; absent otherwise."""
    return given.get("deleted") is True


def price_ids(given: dict[str, Any]) -> list[Any]:
    """The prices of all items; an item whose price is gone has none."""
    items = given.get("items") or {}
    if items.get("has_more"):
        raise Wrong("holds more items than Stripe gave")
    prices = [item.get("price") for item in items.get("data") or []]
    return [price.get("id") if isinstance(price, dict) else price for price in prices if price is not None]


def billed_periods(given: dict[str, Any]) -> list[str] | None:
    """What the lines bill, prorations apart: subscription item @ Unix second from which. None: no lines given.

    Lines beyond the ten that come with an invoice are not asked for. Where a line says what it bills: "The Invoice Line
    Item object", docs.stripe.com/api/invoice-line-item/object, read on 2026-11-28.
    """
    lines = given.get("lines")
    if lines is None:
        return None
    periods = []
    for line in lines.get("data") or []:
        details = (line.get("parent") or {}).get("subscription_item_details") or {}
        item, start = details.get("subscription_item"), (line.get("period") or {}).get("start")
        if item is not None and start is not None and not details.get("proration"):
            periods.append(f"{item}@{start}")
    return periods


def only_type(given: dict[str, Any]) -> object:
    """The type of payment method, where the object allows just one."""
    types = given.get("payment_method_types")
    if types is not None and not isinstance(types, list):
        raise Wrong("is not a list of texts")
    return types[0] if types is not None and len(types) == 1 else None


def movements(given: dict[str, Any]) -> list[Any]:
    """When each balance transaction of a dispute was made."""
    return [movement["created"] for movement in given.get("balance_transactions") or []]


def customer_of_event(given: dict[str, Any]) -> object:
    """The customer that an event is about, or whose object it is about."""
    about = (given.get("data") or {}).get("object") or {}
    return about.get("id") if about.get("object") == "customer" else about.get("customer")
