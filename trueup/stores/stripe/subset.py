"""Reading only what some customers depend on.

Each list is read the cheaper way: whole, keeping what is wanted, or by Stripe's filters, one request a customer,
invoice or charge. How long a list is nobody tells, so unless an earlier reading did, it is read whole for as long as
that costs no more than the filtered way would, and given up for it then: at most twice the cheapest way. Whichever
way, what comes is kept only if it is wanted, for a server may ignore a filter.

What is wanted, so that the subset's accounts get the results that the whole would give them:
the customers, and their subscriptions, invoices, payment intents, charges and credit notes; the invoices and charges
that our ledger ties to the accounts, whosever they are, with their customers; the payments of the invoices, with
their payment intents and charges; refunds and disputes of these; the invoices' credit notes and subscriptions; and of
the events those that close one of the disputes.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import compress
from typing import Any, Final

import polars as pl

from trueup.stores.stripe.frames import rows
from trueup.stores.stripe.lists import Budget, OnPage, read_lists
from trueup.stores.stripe.objects import OBJECT_OF, ObjectList, may_be
from trueup.stores.stripe.port import LIST_LIMIT, Refused, Unanswered
from trueup.stores.stripe.reading import Reading


def read_subset(
    reading: Reading, customers: Collection[str], stripe_ids: Collection[str], rows_last_read: Mapping[str, int]
) -> None:
    """Reads what these customers, and the invoices and charges of these ids, depend on."""
    subset = _Subset(reading, rows_last_read)
    mine = {"customer_id": set(customers)}
    subset.retrieve("stripe_customers", customers)
    for table in ("stripe_subscriptions", "stripe_invoices", "stripe_payment_intents", "stripe_charges"):
        subset.read(table, {"customer": customers}, mine)
    subset.retrieve("stripe_invoices", stripe_ids)
    subset.retrieve("stripe_charges", stripe_ids)
    _follow_payments(subset)
    _follow_money_back(subset, customers)
    subset.retrieve("stripe_subscriptions", subset.of("stripe_invoices", "subscription_id"))
    owners = subset.of("stripe_invoices", "customer_id") | subset.of("stripe_charges", "customer_id")
    subset.retrieve("stripe_customers", owners)


def _follow_payments(subset: _Subset) -> None:
    """Payments of the invoices, and the payment intents and charges that they name."""
    invoices = subset.of("stripe_invoices", "invoice_id")
    subset.read("stripe_invoice_payments", {"invoice": invoices}, {"invoice_id": invoices})
    named = subset.of("stripe_invoice_payments", "payment_intent_id") | subset.of("stripe_charges", "payment_intent_id")
    own = subset.of("stripe_payment_intents", "payment_intent_id")
    subset.retrieve("stripe_payment_intents", named)
    foreign = subset.of("stripe_payment_intents", "payment_intent_id") - own
    subset.read("stripe_charges", {"payment_intent": foreign}, {"payment_intent_id": foreign})
    charges = subset.of("stripe_invoice_payments", "charge_id")
    subset.retrieve("stripe_charges", charges | subset.of("stripe_payment_intents", "latest_charge_id"))
    # A payment without an invoice of ours may be another's: then it is not unlinked.
    linked = subset.of("stripe_invoice_payments", "payment_intent_id")
    loose = subset.of("stripe_payment_intents", "payment_intent_id") - linked
    subset.read("stripe_invoice_payments", {"payment": loose}, {"payment_intent_id": loose})


def _follow_money_back(subset: _Subset, customers: Collection[str]) -> None:
    """Refunds, disputes and credit notes, and the events that close the disputes."""
    charges = subset.of("stripe_charges", "charge_id")
    intents = subset.of("stripe_payment_intents", "payment_intent_id")
    for table in ("stripe_refunds", "stripe_disputes"):
        wanted = {"charge_id": charges, "payment_intent_id": intents}
        subset.read(table, {"charge": charges, "payment_intent": intents}, wanted)
    invoices = subset.of("stripe_invoices", "invoice_id")
    wanted = {"customer_id": set(customers), "invoice_id": invoices}
    subset.read("stripe_credit_notes", {"customer": customers, "invoice": invoices}, wanted)
    subset.read_closings()


class _Subset:
    """What has been read of the subset so far, by the ids in it."""

    def __init__(self, reading: Reading, rows_last_read: Mapping[str, int]) -> None:
        self._reading, self._rows_last_read = reading, rows_last_read
        self._values: dict[tuple[str, str], set[str]] = {}
        self._first: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def of(self, table: str, column: str) -> set[str]:
        """The values that a column holds in the rows read so far."""
        with self._lock:
            return set(self._values.get((table, column), ()))

    def read(self, table: str, by: Mapping[str, Collection[str]], wanted: Mapping[str, Collection[str]]) -> None:
        """The rows of a list of which one of the columns holds a wanted value: whole, or filtered by each value."""
        of = OBJECT_OF[table].list
        filtered = [_filtered(of, name, value) for name, values in by.items() for value in sorted(values)]
        if not filtered or self._read_whole(of, len(filtered), wanted):
            return
        is_filtered = all(self._honours_filter(of, name, min(values)) for name, values in by.items() if values)
        lists = filtered if is_filtered else [of]
        read_lists(self._reading.port, lists, self._reading.workers, self._on_page(wanted))

    def read_closings(self) -> None:
        """The events that closed one of the disputes."""
        if "stripe_disputes" not in self._first:
            return
        since = int(self._first["stripe_disputes"].timestamp())
        closings = replace(OBJECT_OF["stripe_events"].list, params={"types": [_DISPUTE_CLOSED]}, since=since)
        wanted = {"object_id": self.of("stripe_disputes", "dispute_id")}
        read_lists(self._reading.port, [closings], self._reading.workers, self._on_page(wanted))

    def retrieve(self, table: str, ids: Collection[str]) -> None:
        """Objects by their ids, unless they are here already."""
        missing = {name for name in ids if may_be(table, name)} - self.of(table, OBJECT_OF[table].key)
        self._reading.retrieve_all(table, missing, self._keep)

    def _read_whole(self, of: ObjectList, requests: int, wanted: Mapping[str, Collection[str]]) -> bool:
        """Reads the list whole, if that costs no more than so many requests; false if it was given up."""
        known = self._rows_last_read.get(of.table)
        if known is not None and known > requests * LIST_LIMIT:
            return False
        budget = Budget(requests if known is None else None)
        read_lists(self._reading.port, [of], self._reading.workers, self._on_page(wanted), budget)
        return not budget.is_spent

    def _honours_filter(self, of: ObjectList, name: str, value: str) -> bool:
        """Whether the server heeds a filter. One that does not would give us the whole list for every value."""
        try:
            page = self._reading.port.page(of.path, _filtered(of, name, value).params)
        except (Refused, Unanswered):
            return False
        given = [each for each in page.objects if isinstance(each, dict)]
        told = rows(of.table, given, is_text_sound=page.is_text_sound).frame[OBJECT_OF[of.table].filters[name]]
        return bool(told.is_in([value]).all())

    def _on_page(self, wanted: Mapping[str, Collection[str]]) -> OnPage:
        is_wanted = pl.any_horizontal(
            pl.col(column).is_in(pl.Series(sorted(values), dtype=pl.String).implode())
            for column, values in wanted.items()
        )

        def on_page(of: ObjectList, objects: list[Any], is_text_sound: bool) -> None:  # noqa: FBT001  # lists.OnPage
            given = [each for each in objects if isinstance(each, dict)]
            mask = (
                rows(of.table, given, is_text_sound=is_text_sound).frame.select(is_wanted.fill_null(False)).to_series()
            )
            self._keep(of.table, list(compress(given, mask)), is_text_sound=is_text_sound)

        return on_page

    def _keep(self, table: str, objects: list[Any], *, is_text_sound: bool = True) -> None:
        """Keeps what has not come before: the ways to an object are several."""
        with self._lock:
            here = self._values.setdefault((table, OBJECT_OF[table].key), set())
            new = [each for each in objects if not isinstance(each.get("id"), str) or each["id"] not in here]
            frame = rows(table, new, is_text_sound=is_text_sound).frame
            for column in (name for name in frame.columns if name.endswith("_id")):
                self._values.setdefault((table, column), set()).update(frame[column].drop_nulls())
            first = frame["created_at"].min()
            if isinstance(first, datetime):
                self._first[table] = min(first, self._first.get(table, first))
        if new:
            self._reading.store(table, new, is_text_sound=is_text_sound)


_DISPUTE_CLOSED: Final = "charge.dispute.closed"


def _filtered(of: ObjectList, name: str, value: str) -> ObjectList:
    by = {name: {"type": "payment_intent", "payment_intent": value} if name == "payment" else value}
    return replace(of, params={**of.params, **by}, is_dated=False)
