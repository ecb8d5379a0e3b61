"""Stripe's objects as templates: the keys and types of API version 2026-10-28.endive, with slots for what differs.

Keys and types follow Stripe's own published examples of each object; values are ours, and hold no name, address or
telephone number. What a slot takes from a flat record is said in `objects.py`. A key that Stripe dropped (an
invoice's `charge`, `paid`, `payment_intent` and `subscription`) is absent here too, so that a reader that still asks
for it finds nothing, as it would in the field.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.sandbox.stripe_api.shapes import Template, text_of
from trueup.sandbox.stripe_api.templates import billing, payments

TEMPLATES: Final[dict[str, Template]] = {
    "customers": Template(billing.CUSTOMER, instead=pl.when("is_deleted").then(text_of(billing.DELETED_CUSTOMER))),
    "payment_methods": Template(payments.PAYMENT_METHOD),
    "subscriptions": Template(billing.SUBSCRIPTION),
    "invoices": Template(billing.INVOICE),
    "invoice_payments": Template(payments.INVOICE_PAYMENT),
    "payment_intents": Template(payments.PAYMENT_INTENT),
    "charges": Template(payments.CHARGE),
    "refunds": Template(payments.REFUND),
    "disputes": Template(payments.DISPUTE),
    "credit_notes": Template(billing.CREDIT_NOTE),
    "mandates": Template(payments.MANDATE),
    "events": Template(payments.EVENT),
}
