"""Every kind of Stripe object that is read, declared once: where it is, how it is listed, filtered and stored.

The lists, the reading of a subset, `trueup doctor` and the lake derive from this; so do the frames, whose columns and
types are in `trueup.contract.schemas`, under the same table names. What a row needs of other tables is declared in
`trueup.stores.dependencies`, and from when on it counts in `trueup.contract.as_of`.

A column that is not named here is never stored: no e-mail address, name or address of a customer has a way in. Where an
object is read, and its filters, are those of docs.stripe.com/api at version 2026-10-28.endive, read 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trueup.contract.schemas import TABLES
from trueup.stores.stripe.columns import (
    Column,
    Kind,
    billed_periods,
    customer_of_event,
    flag,
    instant,
    is_deleted,
    movements,
    number,
    only_type,
    price_ids,
    reference,
    text,
)


@dataclass(frozen=True)
class ObjectList:
    """One of Stripe's lists, with the parameters of every page."""

    table: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    is_dated: bool = True  # takes `created` bounds, so it can be cut into windows
    since: int | None = None  # the second from which on it is read
    per_account: float = 1.0  # how many objects an account has in the long run, roughly: which list is the longest


@dataclass(frozen=True, kw_only=True)
class StripeObject:
    """One kind of object: the table that it becomes, and how Stripe gives it."""

    table: str
    columns: Mapping[str, Column]
    path: str = ""  # of its list; an object's own is that and its id
    is_listed: bool = True
    params: Mapping[str, Any] = field(default_factory=dict)  # of its list
    payment_method_at: tuple[str, ...] = ()  # where it names its default payment method, which is asked for expanded
    filters: Mapping[str, str] = field(default_factory=dict)  # filter of its list → the column that it is about
    prefixes: tuple[str, ...] = ()  # how its ids begin, where no other kind's do: spares requests that must fail
    per_account: float = 1.0

    @property
    def key(self) -> str:
        """The column of its id."""
        return TABLES[self.table].key[0]

    @property
    def list(self) -> ObjectList:
        """Its list, whole."""
        expand = {"expand": [".".join(("data", *self.payment_method_at))]} if self.payment_method_at else {}
        return ObjectList(self.table, self.path, {**self.params, **expand}, per_account=self.per_account)

    @property
    def retrieve_params(self) -> dict[str, Any]:
        """The parameters of retrieving one by its id."""
        return {"expand": [".".join(self.payment_method_at)]} if self.payment_method_at else {}


OBJECTS: Final = (
    StripeObject(
        table="stripe_customers",
        path="/v1/customers",
        payment_method_at=("invoice_settings", "default_payment_method"),
        per_account=1,
        columns={
            "customer_id": text("id"),
            "created_at": instant("created"),
            "livemode": flag("livemode"),
            "is_deleted": Column(Kind.FLAG, pick=is_deleted),
            "metadata_account_id": text("metadata.account_id"),
            "default_payment_method_id": reference("invoice_settings.default_payment_method"),
            "default_source_id": reference("default_source"),
        },
    ),
    StripeObject(
        table="stripe_subscriptions",
        path="/v1/subscriptions",
        params={"status": "all"},  # without it, Stripe leaves canceled ones out
        payment_method_at=("default_payment_method",),
        filters={"customer": "customer_id"},
        per_account=1.2,
        columns={
            "subscription_id": text("id"),
            "customer_id": reference("customer"),
            "status": text("status"),
            "created_at": instant("created"),
            "ended_at": instant("ended_at"),
            "canceled_at": instant("canceled_at"),
            "livemode": flag("livemode"),
            "collection_method": text("collection_method"),
            "pause_collection": text("pause_collection.behavior"),
            "default_payment_method_id": reference("default_payment_method"),
            "default_source_id": reference("default_source"),
            "price_ids": Column(Kind.TEXTS, pick=price_ids),
        },
    ),
    StripeObject(
        table="stripe_invoices",
        path="/v1/invoices",
        payment_method_at=("default_payment_method",),
        filters={"customer": "customer_id"},
        prefixes=("in_",),
        per_account=8,
        columns={
            "invoice_id": text("id"),
            "customer_id": reference("customer"),
            "subscription_id": reference("parent.subscription_details.subscription"),
            "status": text("status"),
            "billing_reason": text("billing_reason"),
            "collection_method": text("collection_method"),
            "currency": text("currency"),
            "amount_due": number("amount_due"),
            "amount_paid": number("amount_paid"),
            "amount_remaining": number("amount_remaining"),
            "attempt_count": number("attempt_count"),
            "attempted": flag("attempted"),
            "auto_advance": flag("auto_advance"),
            "created_at": instant("created"),
            "due_at": instant("due_date"),
            "effective_at": instant("effective_at"),
            "finalized_at": instant("status_transitions.finalized_at"),
            "paid_at": instant("status_transitions.paid_at"),
            "voided_at": instant("status_transitions.voided_at"),
            "uncollectible_at": instant("status_transitions.marked_uncollectible_at"),
            "uncollectible_reason": text("status_details.uncollectible.reason"),
            "next_payment_attempt_at": instant("next_payment_attempt"),
            "default_payment_method_id": reference("default_payment_method"),
            "default_source_id": reference("default_source"),
            "livemode": flag("livemode"),
            "metadata_invoice_id": text("metadata.invoice_id"),
            "billed_periods": Column(Kind.TEXTS, pick=billed_periods),
        },
    ),
    StripeObject(
        table="stripe_invoice_payments",
        path="/v1/invoice_payments",
        filters={"invoice": "invoice_id", "payment": "payment_intent_id"},
        per_account=8,
        columns={
            "invoice_payment_id": text("id"),
            "invoice_id": reference("invoice"),
            "status": text("status"),
            "amount_paid": number("amount_paid"),
            "amount_requested": number("amount_requested"),
            "currency": text("currency"),
            "created_at": instant("created"),
            "paid_at": instant("status_transitions.paid_at"),
            "canceled_at": instant("status_transitions.canceled_at"),
            "payment_type": text("payment.type"),
            "payment_intent_id": reference("payment.payment_intent"),
            "charge_id": reference("payment.charge"),
            "livemode": flag("livemode"),
        },
    ),
    StripeObject(
        table="stripe_payment_intents",
        path="/v1/payment_intents",
        filters={"customer": "customer_id"},
        per_account=9,
        columns={
            "payment_intent_id": text("id"),
            "customer_id": reference("customer"),
            "status": text("status"),
            "amount": number("amount"),
            "currency": text("currency"),
            "created_at": instant("created"),
            "latest_charge_id": reference("latest_charge"),
            "payment_method_id": reference("payment_method"),
            "payment_method_type": Column(Kind.TEXT, pick=only_type),
            "livemode": flag("livemode"),
        },
    ),
    StripeObject(
        table="stripe_charges",
        path="/v1/charges",
        filters={"customer": "customer_id", "payment_intent": "payment_intent_id"},
        prefixes=("ch_", "py_"),
        per_account=10,
        columns={
            "charge_id": text("id"),
            "customer_id": reference("customer"),
            "payment_intent_id": reference("payment_intent"),
            "status": text("status"),
            "amount": number("amount"),
            "amount_refunded": number("amount_refunded"),
            "currency": text("currency"),
            "created_at": instant("created"),
            "payment_method_id": reference("payment_method"),
            "payment_method_type": text("payment_method_details.type"),
            "failure_code": text("failure_code"),
            "decline_code": text("outcome.reason"),
            "advice_code": text("outcome.advice_code"),
            "network_advice_code": text("outcome.network_advice_code"),
            "livemode": flag("livemode"),
        },
    ),
    StripeObject(
        table="stripe_refunds",
        path="/v1/refunds",
        filters={"charge": "charge_id", "payment_intent": "payment_intent_id"},
        per_account=0.2,
        columns={
            "refund_id": text("id"),
            "charge_id": reference("charge"),
            "payment_intent_id": reference("payment_intent"),
            "status": text("status"),
            "amount": number("amount"),
            "currency": text("currency"),
            "created_at": instant("created"),
        },
    ),
    StripeObject(
        table="stripe_disputes",
        path="/v1/disputes",
        filters={"charge": "charge_id", "payment_intent": "payment_intent_id"},
        per_account=0.05,
        columns={
            "dispute_id": text("id"),
            "charge_id": reference("charge"),
            "payment_intent_id": reference("payment_intent"),
            "status": text("status"),
            "amount": number("amount"),
            "currency": text("currency"),
            "created_at": instant("created"),
            "balance_transaction_ats": Column(Kind.INSTANTS, pick=movements),
            "livemode": flag("livemode"),
        },
    ),
    StripeObject(
        table="stripe_credit_notes",
        path="/v1/credit_notes",
        filters={"customer": "customer_id", "invoice": "invoice_id"},
        per_account=0.3,
        columns={
            "credit_note_id": text("id"),
            "invoice_id": reference("invoice"),
            "customer_id": reference("customer"),
            "status": text("status"),
            "amount": number("amount"),
            "post_payment_amount": number("post_payment_amount"),
            "pre_payment_amount": number("pre_payment_amount"),
            "currency": text("currency"),
            "created_at": instant("created"),
            "effective_at": instant("effective_at"),
            "voided_at": instant("voided_at"),
            "livemode": flag("livemode"),
        },
    ),
    StripeObject(
        table="stripe_events",
        path="/v1/events",  # Stripe keeps thirty days of them
        per_account=5,
        columns={
            "event_id": text("id"),
            "type": text("type"),
            "created_at": instant("created"),
            "object_id": text("data.object.id"),
            "customer_id": Column(Kind.REFERENCE, pick=customer_of_event),
            "livemode": flag("livemode"),
        },
    ),
    StripeObject(
        table="stripe_mandates",
        path="/v1/mandates",
        is_listed=False,  # by id alone
        columns={
            "mandate_id": text("id"),
            "payment_method_id": reference("payment_method"),
            "payment_method_type": text("payment_method_details.type"),
            "status": text("status"),
            "network_status": text("payment_method_details.bacs_debit.network_status"),
            "accepted_at": instant("customer_acceptance.accepted_at"),
            "livemode": flag("livemode"),
        },
    ),
    StripeObject(
        table="stripe_payment_methods",
        is_listed=False,  # they come expanded, inside of what names them
        prefixes=("pm_",),
        columns={
            "payment_method_id": text("id"),
            "customer_id": reference("customer"),
            "type": text("type"),
            "created_at": instant("created"),
            "exp_month": number("card.exp_month"),
            "exp_year": number("card.exp_year"),
        },
    ),
)

OBJECT_OF: Final[Mapping[str, StripeObject]] = {each.table: each for each in OBJECTS}
LISTS: Final = tuple(each.list for each in OBJECTS if each.is_listed)
COLUMNS: Final[Mapping[str, Mapping[str, Column]]] = {each.table: each.columns for each in OBJECTS}


def may_be(table: str, object_id: str) -> bool:
    """Whether an id can be one of this table's: no other kind of object claims how it begins."""
    claims = {each.table for each in OBJECTS if object_id.startswith(each.prefixes)} if object_id else set()
    return not claims or table in claims
