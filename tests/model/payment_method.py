"""The instrument (rule 7 and the mandate of rule 8): which one is effective, is it dead, may it be debited, since when.

An `Instrument` answers for one invoice on any day; only a card's expiry makes its answer depend on the day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from tests.model.attempts import Attempt
from tests.model.calendar import end_of_month
from tests.model.facts import Facts, Row
from tests.model.holds import DEBIT_TYPES

KILLING = ("hard", "customer_action")
EXPIRY_CODES = ("expired_card", "invalid_expiry_year")


@dataclass(frozen=True)
class Instrument:
    """What an invoice would be collected with.

    `failures` are the hard and customer_action ones later than the latest success; `came_at` is null when nobody knows.
    """

    payment_method_id: str | None
    failures: list[Attempt] = field(default_factory=list)
    expires_on: date | None = None
    needs_mandate: bool = False
    has_active_mandate: bool = False
    came_at: datetime | None = None

    def is_unusable(self, today: date) -> bool:
        return bool(self._killing(today))

    def is_unusable_hard(self, today: date) -> bool:
        return "hard" in self._killing(today)

    @property
    def expires_on_if_it_matters(self) -> date | None:
        """The day from which the answer may change: only a failure for expiry asks for the card's expiry."""
        return self.expires_on if any(is_about_expiry(failure) for failure in self.failures) else None

    def _killing(self, today: date) -> set[str | None]:
        is_renewed = self.expires_on is not None and self.expires_on > today
        return {failure.decline_class for failure in self.failures if not (is_renewed and is_about_expiry(failure))}


def is_about_expiry(failure: Attempt) -> bool:
    """The customer had to act, and one of the codes, decisive or not, says that the card's date was the matter."""
    codes = ("network_advice_code", "advice_code", "decline_code", "failure_code")
    has_expiry_code = any(failure.row.get(code) in EXPIRY_CODES for code in codes)
    return failure.decline_class == "customer_action" and has_expiry_code


def effective(facts: Facts, invoice: Row, subscription: Row | None, attempts: list[Attempt]) -> Instrument:
    """The instrument of a Stripe invoice; `attempts` are those of the whole account."""
    payment_method_id = _first_of_six(invoice, subscription, facts.customers.get(invoice["customer_id"]))
    if payment_method_id is None:
        return Instrument(None)
    method = facts.payment_methods.get(payment_method_id)  # an old source is named by its owner and known to nobody
    tried_with = [attempt for attempt in attempts if attempt.payment_method_id == payment_method_id]
    needs_mandate = method is not None and method["type"] in DEBIT_TYPES
    mandates = active_mandates(facts, payment_method_id, method["type"]) if method and needs_mandate else []
    return Instrument(
        payment_method_id,
        killing_failures(tried_with),
        _expires_on(method),
        needs_mandate,
        bool(mandates),
        _came_at(facts, method, mandates),
    )


def outside_stripe(attempts: list[Attempt]) -> Instrument:
    """An invoice that Stripe does not know has no instrument that we know; its own declines speak for it."""
    return Instrument(None, killing_failures(attempts))


def killing_failures(attempts: list[Attempt]) -> list[Attempt]:
    """Hard and customer_action failures later than the latest success."""
    succeeded = [attempt.at for attempt in attempts if attempt.status == "succeeded"]
    return [
        attempt
        for attempt in attempts
        if attempt.decline_class in KILLING and (not succeeded or attempt.at > max(succeeded))
    ]


def active_mandates(facts: Facts, payment_method_id: str, method_type: str) -> list[Row]:
    """Mandates that subs_mandate knows for the payment method and that Stripe says are active."""
    known = [
        facts.stripe_mandates.get(row["stripe_mandate_id"])
        for row in facts.mandates_of_payment_method[payment_method_id]
    ]
    return [mandate for mandate in known if mandate is not None and _is_active(mandate, method_type)]


def _is_active(mandate: Row, method_type: str) -> bool:
    if mandate["status"] != "active":
        return False
    return method_type != "bacs_debit" or mandate["network_status"] in ("accepted", "pending")


def _first_of_six(invoice: Row, subscription: Row | None, customer: Row | None) -> str | None:
    for owner in (invoice, subscription, customer):
        for slot in ("default_payment_method_id", "default_source_id"):
            if owner is not None and owner[slot] is not None:
                return str(owner[slot])
    return None


def _expires_on(method: Row | None) -> date | None:
    if method is None or method["exp_year"] is None or method["exp_month"] is None:
        return None
    return end_of_month(method["exp_year"], method["exp_month"])


def _came_at(facts: Facts, method: Row | None, mandates: list[Row]) -> datetime | None:
    """The later of the instrument's creation and its earliest active mandate's acceptance; after T counts as T."""
    accepted = [mandate["accepted_at"] for mandate in mandates if mandate["accepted_at"] is not None]
    instants = [method["created_at"]] if method is not None and method["created_at"] is not None else []
    if accepted:
        instants.append(min(accepted))
    return min(max(instants), facts.as_of) if instants else None
