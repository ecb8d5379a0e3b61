"""What the findings of a snapshot are made from: its rows as of T, and the model's own answers.

Every account that any store names has its two views here, if cf_prod knows it or not; its timezone is then the
policy's. Which rows are in conflict is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, NamedTuple

from tests.model.account import Bench, Result
from tests.model.calendar import local_date
from tests.model.facts import Facts, Row, by, grouped, read
from tests.model.invoice import Invoice
from tests.model.views import internal_view, stripe_view

LIVE = ("active", "trialing", "past_due", "unpaid")


class Finding(NamedTuple):
    """One disagreement: whose, which, about what, how bad."""

    account_id: str | None
    code: str
    object_id: str | None
    severity: str


@dataclass(frozen=True)
class Ledgers:
    """An account's invoices in both views, whoever pays them, and its local date."""

    account_id: str
    today: date
    timezone: str
    stripe: dict[str, Invoice]
    internal: list[Invoice]

    @property
    def deciding(self) -> list[Invoice]:
        """Stripe decides what Stripe collects; billing_prod decides what has no Stripe id."""
        return [*self.stripe.values(), *(invoice for invoice in self.internal if not invoice.row["stripe_invoice_id"])]


class Audit:
    """A snapshot as of T, the desired states, and the look-ups that the findings ask for."""

    def __init__(self, snapshot: Mapping[str, Any], policy: Any, as_of: datetime, violations: list[Row]) -> None:
        self.policy = policy
        self.as_of = as_of
        self.violations = violations
        self.tables = read(snapshot)
        self.facts = Facts(self.tables, as_of)
        bench = Bench(self.facts, policy, violations, frozenset())
        self.desired: dict[str, Result] = {account_id: bench.result(account_id) for account_id in self.facts.accounts}
        self.customers_of = bench.customers_of
        self.accounts_of = bench.accounts_of
        self.stored_copies = by(self.tables["dunning_states"], "account_id")
        self.products = by(self.tables["products"], "plan_code")
        self.subscriptions_of_customer = grouped(self.facts.subscriptions.values(), "customer_id")
        self.invoices_of_stripe_id = grouped(self.all_invoices, "stripe_invoice_id")
        self.stripe_invoices_of_subscription = grouped(self.facts.stripe_invoices.values(), "subscription_id")
        self.outside_invoices_of_subscription = grouped(
            [row for row in self.all_invoices if row["stripe_invoice_id"] is None], "stripe_subscription_id"
        )
        self.entitlements_of = grouped(self._entitlements(), "account_id")

    def _entitlements(self) -> list[Row]:
        return [
            row
            for row in self.tables["entitlements"]
            if row["granted_at"] is None or row["granted_at"] <= self.as_of  # granted later: not there yet
        ]

    @cached_property
    def all_invoices(self) -> list[Row]:
        """billing_prod's invoices of every account, as they were known at T."""
        return [row for rows in self.facts.invoices_of_account.values() for row in rows]

    @cached_property
    def ledgers(self) -> dict[str, Ledgers]:
        """Account → its invoices, for every account that maps to a customer or has an invoice."""
        names = {*self.facts.accounts, *self.facts.invoices_of_account, *self.customers_of}
        return {account_id: self._ledgers(account_id) for account_id in sorted(names)}

    def _ledgers(self, account_id: str) -> Ledgers:
        row = self.facts.accounts.get(account_id)
        timezone = (row["timezone"] if row else None) or self.policy.timezone
        customers = self.customers_of.get(account_id, set())
        stripe = stripe_view(self.facts, account_id, customers, self.policy, timezone)
        internal = internal_view(self.facts, account_id, stripe, self.policy, timezone)
        return Ledgers(account_id, local_date(self.as_of, timezone), timezone, stripe, internal)

    def is_our_mode(self, row: Row) -> bool:
        """What Stripe keeps in the other mode, test data say, is nobody's disagreement; our own rows have no mode."""
        return row.get("livemode") is None or row["livemode"] == self.policy.livemode

    def live_subscriptions(self, customer_id: str) -> list[Row]:
        return [
            row
            for row in self.subscriptions_of_customer[customer_id]
            if row["status"] in LIVE and self.is_our_mode(row)
        ]

    def live_subscriptions_of(self, account_id: str) -> list[Row]:
        return [row for customer in self.customers_of.get(account_id, ()) for row in self.live_subscriptions(customer)]
