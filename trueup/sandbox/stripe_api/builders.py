"""Full Stripe objects from flat arguments, for tests and for `put`.

invoice(invoice_id="in_1", customer_id="cus_1", status="open", amount_due=900) -> {"id": "in_1", "object": "invoice", …}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from trueup.sandbox.stripe_api.objects import as_frame
from trueup.sandbox.stripe_api.packing import pack, unpack


def customer(**flat: object) -> dict[str, Any]:
    """A Customer; deleted ones are `{id, object, deleted: true}`."""
    return build("customers", flat)


def payment_method(**flat: object) -> dict[str, Any]:
    """A PaymentMethod."""
    return build("payment_methods", flat)


def subscription(**flat: object) -> dict[str, Any]:
    """A Subscription with an item for each of its prices."""
    return build("subscriptions", flat)


def invoice(**flat: object) -> dict[str, Any]:
    """An Invoice with one line."""
    return build("invoices", flat)


def invoice_payment(**flat: object) -> dict[str, Any]:
    """An InvoicePayment."""
    return build("invoice_payments", flat)


def payment_intent(**flat: object) -> dict[str, Any]:
    """A PaymentIntent."""
    return build("payment_intents", flat)


def charge(**flat: object) -> dict[str, Any]:
    """A Charge with its outcome."""
    return build("charges", flat)


def refund(**flat: object) -> dict[str, Any]:
    """A Refund."""
    return build("refunds", flat)


def dispute(**flat: object) -> dict[str, Any]:
    """A Dispute with its balance transactions."""
    return build("disputes", flat)


def credit_note(**flat: object) -> dict[str, Any]:
    """A CreditNote."""
    return build("credit_notes", flat)


def mandate(**flat: object) -> dict[str, Any]:
    """A Mandate."""
    return build("mandates", flat)


def event(**flat: object) -> dict[str, Any]:
    """An Event about an object of which it holds no more than the id and the customer."""
    return build("events", flat)


def build(kind: str, flat: Mapping[str, object]) -> dict[str, Any]:
    """The full object that the sandbox would serve for one flat record of this kind."""
    packed = pack(kind, as_frame(kind, [flat]))[0]
    built: dict[str, Any] = orjson.loads(unpack(kind, packed.body))
    return built
