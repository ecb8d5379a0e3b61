"""Dependencies: through which columns a row of one table is needed by an account, declared once for every table.

An account's result depends on its own rows, on those of the accounts that share its parent or its Stripe customer, and
on what is tied to either by an id. A *link* says: a row is needed wherever a row of another table is, if the two hold
the same value. The SQL that reads a subset (`postgres/selects.py`), what it is expanded by (`postgres/dependencies.py`)
and the lake's routing (`lake/routing.py`) are made from this graph; reading a subset of Stripe (`stripe/subset.py`)
follows the same links by Stripe's filters, and `tests/stores/test_subset_equals_fleet.py` holds all of them together.

A table that is added gets its line here, after the tables that its links name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from trueup.contract.schemas import TABLES

ACCOUNTS: Final = "(accounts)"  # the accounts of a scope and those related to them
CUSTOMERS: Final = "(customers)"  # the Stripe customers of these


class Link(NamedTuple):
    """A row is needed where its `column` holds what a needed row of `table` holds in `to`.

    With `by_account`, only rows of `table` count that an account needs as its own: it may itself follow this table.
    """

    column: str
    table: str
    to: str = ""
    by_account: bool = False


_OF_ACCOUNT: Final = Link("account_id", ACCOUNTS)
_OF_CUSTOMER: Final = Link("customer_id", CUSTOMERS)
_OF_STRIPE_INVOICE: Final = Link("invoice_id", "stripe_invoices", "invoice_id")
_OF_PAYMENT: Final = (
    Link("charge_id", "stripe_charges", "charge_id"),
    Link("payment_intent_id", "stripe_payment_intents", "payment_intent_id"),
)
_OF_INVOICE: Final = Link("invoice_id", "invoices", "invoice_id")
_EVENT_OBJECTS: Final = (
    "stripe_invoices",
    "stripe_charges",
    "stripe_payment_intents",
    "stripe_disputes",
    "stripe_refunds",
    "stripe_subscriptions",
    "stripe_credit_notes",
    "stripe_invoice_payments",
    "stripe_payment_methods",
    "stripe_mandates",
)
_DEFAULT_PAYMENT_METHODS: Final = tuple(
    Link("payment_method_id", table, column)
    for table in ("stripe_customers", "stripe_subscriptions", "stripe_invoices")
    for column in ("default_payment_method_id", "default_source_id")
)

LINKS: Final[Mapping[str, tuple[Link, ...]]] = {
    "stripe_customers": (_OF_CUSTOMER,),
    "stripe_subscriptions": (_OF_CUSTOMER,),
    "stripe_invoices": (_OF_CUSTOMER,),
    "stripe_invoice_payments": (_OF_STRIPE_INVOICE,),
    "stripe_payment_intents": (
        _OF_CUSTOMER,
        Link("payment_intent_id", "stripe_invoice_payments", "payment_intent_id"),
    ),
    "stripe_charges": (
        _OF_CUSTOMER,
        Link("charge_id", "stripe_invoice_payments", "charge_id"),
        Link("payment_intent_id", "stripe_payment_intents", "payment_intent_id"),
    ),
    "stripe_refunds": _OF_PAYMENT,
    "stripe_disputes": _OF_PAYMENT,
    "stripe_credit_notes": (_OF_CUSTOMER, _OF_STRIPE_INVOICE),
    "stripe_payment_methods": (
        _OF_CUSTOMER,
        *_DEFAULT_PAYMENT_METHODS,
        Link("payment_method_id", "subs_mandate", "stripe_payment_method_id", by_account=True),
    ),
    "stripe_mandates": (
        Link("mandate_id", "subs_mandate", "stripe_mandate_id", by_account=True),
        Link("payment_method_id", "stripe_payment_methods", "payment_method_id"),
    ),
    "stripe_events": (
        _OF_CUSTOMER,
        *(Link("object_id", table, TABLES[table].key[0]) for table in _EVENT_OBJECTS),
    ),
    "accounts": (_OF_ACCOUNT,),
    "entitlements": (_OF_ACCOUNT,),
    "products": (),  # needed by everybody
    "dunning_states": (_OF_ACCOUNT,),
    "subs_account": (_OF_ACCOUNT,),
    "subs_dunning": (_OF_ACCOUNT,),
    "subs_stuck_events": (_OF_ACCOUNT,),
    "invoices": (
        _OF_ACCOUNT,
        Link("stripe_invoice_id", "stripe_invoices", "invoice_id"),
        # A charge may name the invoice of another account: without that row it would seem to name none.
        Link("invoice_id", "charges", "invoice_id", by_account=True),
    ),
    "charges": (_OF_ACCOUNT, Link("stripe_charge_id", "stripe_charges", "charge_id"), _OF_INVOICE),
    "schedules": (_OF_ACCOUNT, _OF_INVOICE),
    "credit_notes": (_OF_INVOICE,),
    "subs_customer": (_OF_ACCOUNT, Link("stripe_customer_id", CUSTOMERS)),
    "subs_mandate": (_OF_ACCOUNT, Link("stripe_payment_method_id", "stripe_payment_methods", "payment_method_id")),
}
"""Table → its links, in an order in which every link (but by account) leads to a table above it."""

TIES: Final[Mapping[str, tuple[Link, ...]]] = {
    name: ties
    for name, links in LINKS.items()
    if TABLES[name].store != "stripe" and (ties := tuple(link for link in links if link.table.startswith("stripe_")))
}
"""Table of a database → the links by which Stripe's objects alone tie its rows to an account."""

STORES_TIED_TO_STRIPE: Final = frozenset(TABLES[name].store for name in TIES)
"""Stores of which a subset can be read only after Stripe."""


def columns_followed(table: str) -> tuple[str, ...]:
    """The columns of a table that rows of other tables follow."""
    links = (link for each in LINKS.values() for link in each if not link.by_account)
    return tuple(dict.fromkeys(link.to for link in links if link.table == table))
