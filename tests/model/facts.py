"""What was known at T (rule 1): the rows that existed then, and the look-ups between them.

A row created or effective after T does not exist. What has no date of its own (default instruments, subscription
status, mandates, exemption) is taken as it is now. A transition, a payment or a voiding that lies after T has not
happened yet; a hold that begins after T does not exist; a letter sent after T was not sent. Nothing here decides
anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from trueup.contract.schemas import TABLES

Row = dict[str, Any]

EFFECTIVE_COLUMNS = {
    "accounts": ("created_at",),
    "invoices": ("effective_at",),
    "charges": ("attempted_at", "effective_at"),
    "credit_notes": ("created_at",),
    "subs_customer": ("created_at",),
    "stripe_customers": ("created_at",),
    "stripe_subscriptions": ("created_at",),
    "stripe_invoices": ("created_at", "effective_at"),
    "stripe_invoice_payments": ("created_at",),
    "stripe_payment_intents": ("created_at",),
    "stripe_charges": ("created_at",),
    "stripe_refunds": ("created_at",),
    "stripe_disputes": ("created_at",),
    "stripe_credit_notes": ("created_at", "effective_at"),
}
"""Table → the columns that date its rows. A table that is not here holds settings, taken as they are now."""


class Facts:
    """The snapshot as it was known at `as_of`, with one look-up per question that the rules ask."""

    def __init__(self, tables: Mapping[str, list[Row]], as_of: datetime) -> None:
        self.as_of = as_of
        self.all = tables
        known = {name: [row for row in rows if existed(name, row, as_of)] for name, rows in tables.items()}

        self.accounts = by(known["accounts"], "account_id")
        self.flags = by(tables["subs_account"], "account_id")
        self.stored_dunning = by(tables["subs_dunning"], "account_id")
        self.mappings = known["subs_customer"]

        self.invoices_of_account = grouped(known["invoices"], "account_id")
        self.internal_charges_of_invoice = grouped(known["charges"], "invoice_id")
        self.internal_charges_of_provider_id = grouped(known["charges"], "stripe_charge_id")
        self.internal_credit_notes_of_invoice = grouped(known["credit_notes"], "invoice_id")

        self.customers = by(known["stripe_customers"], "customer_id")
        self.subscriptions = by(known["stripe_subscriptions"], "subscription_id")
        self.payment_methods = by(tables["stripe_payment_methods"], "payment_method_id")
        self.stripe_mandates = by(tables["stripe_mandates"], "mandate_id")
        self.mandates_of_payment_method = grouped(tables["subs_mandate"], "stripe_payment_method_id")

        self.stripe_invoices = by(known["stripe_invoices"], "invoice_id")
        self.stripe_invoices_of_customer = grouped(known["stripe_invoices"], "customer_id")
        self.payments_of_invoice = grouped(known["stripe_invoice_payments"], "invoice_id")
        self.all_payments_of_invoice = grouped(tables["stripe_invoice_payments"], "invoice_id")
        self.payments_of_intent = grouped(known["stripe_invoice_payments"], "payment_intent_id")
        self.payments_of_charge = grouped(known["stripe_invoice_payments"], "charge_id")
        self.intents = by(known["stripe_payment_intents"], "payment_intent_id")
        self.intents_of_latest_charge = grouped(known["stripe_payment_intents"], "latest_charge_id")
        self.charges = by(known["stripe_charges"], "charge_id")
        self.charges_of_intent = grouped(known["stripe_charges"], "payment_intent_id")
        self.refunds_of_charge = grouped(known["stripe_refunds"], "charge_id")
        self.refunds_of_intent = grouped(known["stripe_refunds"], "payment_intent_id")
        self.internal_invoices = by(known["invoices"], "invoice_id")
        self.all_refunds_of_intent = grouped(tables["stripe_refunds"], "payment_intent_id")
        self.all_refunds_of_charge = grouped(tables["stripe_refunds"], "charge_id")
        self.disputes_of_charge = grouped(known["stripe_disputes"], "charge_id")
        self.disputes_of_intent = grouped(known["stripe_disputes"], "payment_intent_id")
        self.credit_notes_of_invoice = grouped(known["stripe_credit_notes"], "invoice_id")
        self.all_events_about = grouped(tables["stripe_events"], "object_id")

    def past(self, instant: datetime | None) -> datetime | None:
        """The instant if it had come by T, else nothing: what is later has not happened."""
        return instant if instant is not None and instant <= self.as_of else None


def read(snapshot: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Every frame of a snapshot as a list of rows."""
    return {name: snapshot[name].lazy().collect().to_dicts() for name in TABLES}


def existed(table: str, row: Row, as_of: datetime) -> bool:
    """Nothing that dates the row lies after T."""
    return all(row[column] is None or row[column] <= as_of for column in EFFECTIVE_COLUMNS.get(table, ()))


def by(rows: Iterable[Row], key: str) -> dict[str, Row]:
    return {row[key]: row for row in rows}


def grouped(rows: Iterable[Row], key: str) -> Mapping[str, list[Row]]:
    """Rows by a column; a null names nothing and groups nothing."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row[key] is not None:
            groups[row[key]].append(row)
    return Groups(groups)


class Groups(dict[str, list[Row]]):
    """A grouping in which an unknown key, or none, has no rows."""

    def __missing__(self, key: str | None) -> list[Row]:
        return []
