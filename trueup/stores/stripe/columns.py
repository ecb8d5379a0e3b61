"""Which column comes from where in Stripe's objects, table by table: the whole of what is stored.

A column that is not named here is never stored: no e-mail address, name or address of a customer has a way in. Paths
are those of API version 2026-10-28.endive (an invoice's subscription is at `parent.subscription_details.subscription`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


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


def _text(path: str) -> Column:
    return Column(Kind.TEXT, tuple(path.split(".")))


def _reference(path: str) -> Column:
    return Column(Kind.REFERENCE, tuple(path.split(".")))


def _number(path: str) -> Column:
    return Column(Kind.NUMBER, tuple(path.split(".")))


def _flag(path: str) -> Column:
    return Column(Kind.FLAG, tuple(path.split(".")))


def _instant(path: str) -> Column:
    return Column(Kind.INSTANT, tuple(path.split(".")))


def _is_deleted(given: dict[str, Any]) -> bool:
    return given.get("deleted") is True


def _price_ids(given: dict[str, Any]) -> list[Any]:
    """The prices of all items; an item whose price is gone has none."""
    items = given.get("items") or {}
    if items.get("has_more"):
        raise Wrong("holds more items than Stripe gave")
    prices = [item.get("price") for item in items.get("data") or []]
    return [price.get("id") if isinstance(price, dict) else price for price in prices if price is not None]


def _billed_periods(given: dict[str, Any]) -> list[str] | None:
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


def _only_type(given: dict[str, Any]) -> object:
    types = given.get("payment_method_types")
    if types is not None and not isinstance(types, list):
        raise Wrong("is not a list of texts")
    return types[0] if types is not None and len(types) == 1 else None


def _movements(given: dict[str, Any]) -> list[Any]:
    return [movement["created"] for movement in given.get("balance_transactions") or []]


def _customer_of_event(given: dict[str, Any]) -> object:
    about = (given.get("data") or {}).get("object") or {}
    return about.get("id") if about.get("object") == "customer" else about.get("customer")


PAYMENT_METHOD_AT: Final[Mapping[str, tuple[str, ...]]] = {
    "stripe_customers": ("invoice_settings", "default_payment_method"),
    "stripe_subscriptions": ("default_payment_method",),
    "stripe_invoices": ("default_payment_method",),
}
"""Where an expanded payment method stands in the objects of a table."""

COLUMNS: Final[dict[str, dict[str, Column]]] = {
    "stripe_customers": {
        "customer_id": _text("id"),
        "created_at": _instant("created"),
        "livemode": _flag("livemode"),
        "is_deleted": Column(Kind.FLAG, pick=_is_deleted),
        "metadata_account_id": _text("metadata.account_id"),
        "default_payment_method_id": _reference("invoice_settings.default_payment_method"),
        "default_source_id": _reference("default_source"),
    },
    "stripe_payment_methods": {
        "payment_method_id": _text("id"),
        "customer_id": _reference("customer"),
        "type": _text("type"),
        "created_at": _instant("created"),
        "exp_month": _number("card.exp_month"),
        "exp_year": _number("card.exp_year"),
    },
    "stripe_subscriptions": {
        "subscription_id": _text("id"),
        "customer_id": _reference("customer"),
        "status": _text("status"),
        "created_at": _instant("created"),
        "ended_at": _instant("ended_at"),
        "canceled_at": _instant("canceled_at"),
        "livemode": _flag("livemode"),
        "collection_method": _text("collection_method"),
        "pause_collection": _text("pause_collection.behavior"),
        "default_payment_method_id": _reference("default_payment_method"),
        "default_source_id": _reference("default_source"),
        "price_ids": Column(Kind.TEXTS, pick=_price_ids),
    },
    "stripe_invoices": {
        "invoice_id": _text("id"),
        "customer_id": _reference("customer"),
        "subscription_id": _reference("parent.subscription_details.subscription"),
        "status": _text("status"),
        "billing_reason": _text("billing_reason"),
        "collection_method": _text("collection_method"),
        "currency": _text("currency"),
        "amount_due": _number("amount_due"),
        "amount_paid": _number("amount_paid"),
        "amount_remaining": _number("amount_remaining"),
        "attempt_count": _number("attempt_count"),
        "attempted": _flag("attempted"),
        "auto_advance": _flag("auto_advance"),
        "created_at": _instant("created"),
        "due_at": _instant("due_date"),
        "effective_at": _instant("effective_at"),
        "finalized_at": _instant("status_transitions.finalized_at"),
        "paid_at": _instant("status_transitions.paid_at"),
        "voided_at": _instant("status_transitions.voided_at"),
        "uncollectible_at": _instant("status_transitions.marked_uncollectible_at"),
        "uncollectible_reason": _text("status_details.uncollectible.reason"),
        "next_payment_attempt_at": _instant("next_payment_attempt"),
        "default_payment_method_id": _reference("default_payment_method"),
        "default_source_id": _reference("default_source"),
        "livemode": _flag("livemode"),
        "metadata_invoice_id": _text("metadata.invoice_id"),
        "billed_periods": Column(Kind.TEXTS, pick=_billed_periods),
    },
    "stripe_invoice_payments": {
        "invoice_payment_id": _text("id"),
        "invoice_id": _reference("invoice"),
        "status": _text("status"),
        "amount_paid": _number("amount_paid"),
        "amount_requested": _number("amount_requested"),
        "currency": _text("currency"),
        "created_at": _instant("created"),
        "paid_at": _instant("status_transitions.paid_at"),
        "canceled_at": _instant("status_transitions.canceled_at"),
        "payment_type": _text("payment.type"),
        "payment_intent_id": _reference("payment.payment_intent"),
        "charge_id": _reference("payment.charge"),
        "livemode": _flag("livemode"),
    },
    "stripe_payment_intents": {
        "payment_intent_id": _text("id"),
        "customer_id": _reference("customer"),
        "status": _text("status"),
        "amount": _number("amount"),
        "currency": _text("currency"),
        "created_at": _instant("created"),
        "latest_charge_id": _reference("latest_charge"),
        "payment_method_id": _reference("payment_method"),
        "payment_method_type": Column(Kind.TEXT, pick=_only_type),
        "livemode": _flag("livemode"),
    },
    "stripe_charges": {
        "charge_id": _text("id"),
        "customer_id": _reference("customer"),
        "payment_intent_id": _reference("payment_intent"),
        "status": _text("status"),
        "amount": _number("amount"),
        "amount_refunded": _number("amount_refunded"),
        "currency": _text("currency"),
        "created_at": _instant("created"),
        "payment_method_id": _reference("payment_method"),
        "payment_method_type": _text("payment_method_details.type"),
        "failure_code": _text("failure_code"),
        "decline_code": _text("outcome.reason"),
        "advice_code": _text("outcome.advice_code"),
        "network_advice_code": _text("outcome.network_advice_code"),
        "livemode": _flag("livemode"),
    },
    "stripe_refunds": {
        "refund_id": _text("id"),
        "charge_id": _reference("charge"),
        "payment_intent_id": _reference("payment_intent"),
        "status": _text("status"),
        "amount": _number("amount"),
        "currency": _text("currency"),
        "created_at": _instant("created"),
    },
    "stripe_disputes": {
        "dispute_id": _text("id"),
        "charge_id": _reference("charge"),
        "payment_intent_id": _reference("payment_intent"),
        "status": _text("status"),
        "amount": _number("amount"),
        "currency": _text("currency"),
        "created_at": _instant("created"),
        "balance_transaction_ats": Column(Kind.INSTANTS, pick=_movements),
        "livemode": _flag("livemode"),
    },
    "stripe_credit_notes": {
        "credit_note_id": _text("id"),
        "invoice_id": _reference("invoice"),
        "customer_id": _reference("customer"),
        "status": _text("status"),
        "amount": _number("amount"),
        "post_payment_amount": _number("post_payment_amount"),
        "pre_payment_amount": _number("pre_payment_amount"),
        "currency": _text("currency"),
        "created_at": _instant("created"),
        "effective_at": _instant("effective_at"),
        "voided_at": _instant("voided_at"),
        "livemode": _flag("livemode"),
    },
    "stripe_mandates": {
        "mandate_id": _text("id"),
        "payment_method_id": _reference("payment_method"),
        "payment_method_type": _text("payment_method_details.type"),
        "status": _text("status"),
        "network_status": _text("payment_method_details.bacs_debit.network_status"),
        "accepted_at": _instant("customer_acceptance.accepted_at"),
        "livemode": _flag("livemode"),
    },
    "stripe_events": {
        "event_id": _text("id"),
        "type": _text("type"),
        "created_at": _instant("created"),
        "object_id": _text("data.object.id"),
        "customer_id": Column(Kind.REFERENCE, pick=_customer_of_event),
        "livemode": _flag("livemode"),
    },
}
