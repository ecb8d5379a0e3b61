"""Parse a request: the parameters of lists and of `expand`, or the error that Stripe would respond with.

Stripe refuses unknown parameters with messages and codes that clients rely on; so does the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from trueup.sandbox.stripe_api.collection import Collection, Query
from trueup.sandbox.stripe_api.errors import StripeRefusal, no_such
from trueup.sandbox.stripe_api.objects import OBJECT_OF
from trueup.sandbox.stripe_api.packing import Packed, slots_at

LIMIT_DEFAULT: Final = 10
LIMIT_MAX: Final = 100
EXPAND_DEPTH_MAX: Final = 4

# The filters that Stripe's lists take: parameter → the field path in the object.
FILTERS: Final[dict[str, dict[str, str]]] = {
    "customers": {"email": "email"},
    "payment_methods": {"customer": "customer", "type": "type"},
    "subscriptions": {"customer": "customer", "status": "status", "collection_method": "collection_method"},
    "invoices": {
        "customer": "customer",
        "status": "status",
        "collection_method": "collection_method",
        "subscription": "parent.subscription_details.subscription",
    },
    "invoice_payments": {
        "invoice": "invoice",
        "status": "status",
        "payment[type]": "payment.type",
        "payment[payment_intent]": "payment.payment_intent",
    },
    "payment_intents": {"customer": "customer"},
    "charges": {"customer": "customer", "payment_intent": "payment_intent"},
    "refunds": {"charge": "charge", "payment_intent": "payment_intent"},
    "disputes": {"charge": "charge", "payment_intent": "payment_intent"},
    "credit_notes": {"customer": "customer", "invoice": "invoice"},
    "events": {"type": "type", "types": "type"},
}

# References that the templates keep inside a larger slot.
_NESTED_REFERENCES: Final = {
    "invoices": {"parent.subscription_details.subscription": "subscriptions"},
    "invoice_payments": {"payment.payment_intent": "payment_intents", "payment.charge": "charges"},
}

_STATUS_ENDED: Final = frozenset({"canceled", "incomplete_expired"})
_CREATED: Final = ("created", "created[gt]", "created[gte]", "created[lt]", "created[lte]")
_PAGING: Final = ("limit", "starting_after", "ending_before", "expand", *_CREATED)
_INDEXED: Final = re.compile(r"^(expand|types)\[\d*\]$")

Parameters = Mapping[str, list[str]]
"""Parameter → its values, in order; `expand[]`, `expand[0]` and `types[]` under their bare names."""


@dataclass(frozen=True)
class ListRequest:
    """A parsed list request."""

    query: Query
    expand: tuple[str, ...]


def parameters(pairs: Iterable[tuple[str, str]]) -> Parameters:
    """The parameters of a query string."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        indexed = _INDEXED.match(name)
        found.setdefault(indexed[1] if indexed else name, []).append(value)
    return found


def parse_list_request(collection: Collection, given: Parameters) -> ListRequest:
    """The query and expansions of a list request.

    Raises:
        StripeRefusal: a parameter that Stripe does not know, or a value that it does not take.
    """
    filters = FILTERS.get(collection.kind, {})
    _refuse_unknown(given, {*filters, *_PAGING})
    one = {name: values[-1] for name, values in given.items()}
    if "starting_after" in one and "ending_before" in one:
        raise StripeRefusal("You cannot parameterize both `starting_after` and `ending_before`.", param="ending_before")
    created_from, created_to = _created(one)
    where, hidden = _wanted(collection.kind, given, filters)
    query = Query(
        limit=_limit(one.get("limit")),
        starting_after=_cursor(collection, one, "starting_after"),
        ending_before=_cursor(collection, one, "ending_before"),
        created_from=created_from,
        created_to=created_to,
        where=where,
        hidden=hidden,
    )
    return ListRequest(query, expansions(collection.kind, given.get("expand", []), in_list=True))


def parse_retrieve_request(kind: str, given: Parameters) -> tuple[str, ...]:
    """The expansions of a retrieve request."""
    _refuse_unknown(given, {"expand"})
    return expansions(kind, given.get("expand", []), in_list=False)


def expansions(kind: str, asked: Iterable[str], *, in_list: bool) -> tuple[str, ...]:
    """The paths to expand, in the object; in a list request each begins with `data.`."""
    paths = []
    for path in asked:
        inside = path.removeprefix("data.") if in_list and path.startswith("data.") else None if in_list else path
        if inside is None or not _can_expand(kind, inside):
            raise StripeRefusal(f"This property cannot be expanded ({path}).", param="expand")
        paths.append(inside)
    return tuple(paths)


def references(kind: str) -> dict[str, str]:
    """Dotted path → kind of the object whose id stands there."""
    plain = {path: slot.expands for path, slot in slots_at(kind).items() if slot.expands}
    return plain | _NESTED_REFERENCES.get(kind, {})


def _can_expand(kind: str, path: str, depth: int = EXPAND_DEPTH_MAX) -> bool:
    for reference, target in references(kind).items():
        if path == reference:
            return depth > 0
        if path.startswith(reference + "."):
            return depth > 0 and _can_expand(target, path.removeprefix(reference + "."), depth - 1)
    return False


def _refuse_unknown(given: Parameters, known: set[str]) -> None:
    unknown = sorted(given.keys() - known)
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        message = f"Received unknown parameter{plural}: {', '.join(unknown)}"
        raise StripeRefusal(message, code="parameter_unknown", param=unknown[0])


def _limit(given: str | None) -> int:
    limit = LIMIT_DEFAULT if given is None else _integer("limit", given)
    if not 1 <= limit <= LIMIT_MAX:
        fault = "must be greater than or equal to 1" if limit < 1 else f"must be less than or equal to {LIMIT_MAX}"
        raise StripeRefusal(f"Invalid limit: {limit}. This value {fault}.", param="limit")
    return limit


def _cursor(collection: Collection, one: Mapping[str, str], name: str) -> Packed | None:
    if name not in one:
        return None
    row = collection.get(one[name])
    if row is None:
        raise no_such(OBJECT_OF[collection.kind], one[name], param=name, status=400)
    return row


def _created(one: Mapping[str, str]) -> tuple[int | None, int | None]:
    given = {name: _integer(name, one[name]) for name in _CREATED if name in one}
    lows = [given[n] + step for n, step in (("created", 0), ("created[gte]", 0), ("created[gt]", 1)) if n in given]
    highs = [given[n] - step for n, step in (("created", 0), ("created[lte]", 0), ("created[lt]", 1)) if n in given]
    return max(lows, default=None), min(highs, default=None)


def _integer(name: str, given: str) -> int:
    try:
        return int(given)
    except ValueError:
        raise StripeRefusal(f"Invalid integer: {given}", code="parameter_invalid_integer", param=name) from None


def _wanted(
    kind: str, given: Parameters, filters: Mapping[str, str]
) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    where = {path: frozenset(given[name]) for name, path in filters.items() if name in given}
    if kind != "subscriptions":
        return where, {}
    status = where.pop("status", None)
    if status is None:
        return where, {"status": frozenset({"canceled"})}
    if "all" in status:
        return where, {}
    return {**where, "status": _STATUS_ENDED if "ended" in status else status}, {}
