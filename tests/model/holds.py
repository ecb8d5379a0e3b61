"""What holds an invoice's clock (rule 6): a hold on the account, an open dispute, a payment on its way.

Each is a list of spans of local days; which days of an invoice's age they take away is `calendar.held_days`'s business.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.model import money
from tests.model.attempts import internal_charges, stripe_charges
from tests.model.calendar import FOREVER, Span, local_date
from tests.model.facts import Facts, Row

DEBIT_TYPES = ("sepa_debit", "bacs_debit", "au_becs_debit", "acss_debit", "us_bank_account", "nz_bank_account")
HOLDING_DISPUTE = (
    "needs_response",
    "under_review",
    "appeal_needs_response",
    "appeal_under_review",
    *money.CLOSED_DISPUTE,
)


def hold_spans(facts: Facts, flags: Row | None, timezone: str) -> list[Span]:
    """The account's legal or manual hold, unless it begins after T; without an end it goes on."""
    if flags is None or facts.past(flags["hold_from"]) is None:
        return []
    until = flags["hold_until"]
    return [Span(local_date(flags["hold_from"], timezone), FOREVER if until is None else local_date(until, timezone))]


def dispute_spans(facts: Facts, disputes: list[Row], policy: Any, timezone: str) -> list[Span]:
    return [
        _dispute_span(facts, dispute, policy, timezone) for dispute in disputes if dispute["status"] in HOLDING_DISPUTE
    ]


def _dispute_span(facts: Facts, dispute: Row, policy: Any, timezone: str) -> Span:
    """In local dates: from its creation to its closing, at the latest so many days on."""
    first = local_date(dispute["created_at"], timezone)
    latest = first + timedelta(days=policy.dispute_max_days)
    closed = money.closed_at(facts, dispute)
    return Span(first, latest if closed is None else min(latest, local_date(closed, timezone)))


def stripe_flight_spans(facts: Facts, invoice_id: str, policy: Any, timezone: str) -> list[Span]:
    charges = stripe_charges(facts, invoice_id)
    paths = [*facts.payments_of_invoice[invoice_id], *charges]  # a charge names its intent too
    intents = [facts.intents.get(path["payment_intent_id"]) for path in paths]
    return _flight_spans(facts, intents, charges, policy, timezone)


def internal_flight_spans(facts: Facts, invoice_id: str, policy: Any, timezone: str) -> list[Span]:
    """Flights reach the internal view through the provider ids of its charges."""
    provider_ids = [row["stripe_charge_id"] for row in internal_charges(facts, invoice_id)]
    charges = [facts.charges[provider_id] for provider_id in provider_ids if provider_id in facts.charges]
    intents = [facts.intents.get(charge["payment_intent_id"]) for charge in charges]
    for charge in charges:
        intents += facts.intents_of_latest_charge[charge["charge_id"]]
    return _flight_spans(facts, intents, charges, policy, timezone)


def _flight_spans(
    facts: Facts, intents: list[Row | None], charges: list[Row], policy: Any, timezone: str
) -> list[Span]:
    spans = []
    for intent in intents:
        if intent is not None and intent["status"] == "processing":
            latest = _latest_charge(facts, intent)
            begun = latest["created_at"] if latest else intent["created_at"]
            spans.append(_flight(begun, _intent_type(facts, intent, latest), policy, timezone))
    return spans + [
        _flight(charge["created_at"], _charge_type(facts, charge), policy, timezone)
        for charge in charges
        if charge["status"] == "pending"
    ]


def _latest_charge(facts: Facts, intent: Row) -> Row | None:
    """The last that the intent had tried by T; the one that it names may have come later."""
    charges = facts.charges_of_intent[intent["payment_intent_id"]]
    named = facts.charges.get(intent["latest_charge_id"])
    return named or max(charges, key=lambda charge: (charge["created_at"], charge["charge_id"]), default=None)


def _flight(begun: datetime, method_type: str | None, policy: Any, timezone: str) -> Span:
    maximum = policy.in_flight_max_days.debit if method_type in DEBIT_TYPES else policy.in_flight_max_days.card
    first = local_date(begun, timezone)
    return Span(first, first + timedelta(days=maximum))


def _intent_type(facts: Facts, intent: Row, latest: Row | None) -> str | None:
    """The type of the instrument in use: the charge knows it best, then the intent, then the instrument itself."""
    if latest is not None and latest["payment_method_type"] is not None:
        return str(latest["payment_method_type"])
    return intent["payment_method_type"] or _type_of(facts, intent["payment_method_id"])


def _charge_type(facts: Facts, charge: Row) -> str | None:
    return charge["payment_method_type"] or _type_of(facts, charge["payment_method_id"])


def _type_of(facts: Facts, payment_method_id: str | None) -> str | None:
    method = facts.payment_methods.get(payment_method_id)
    return method["type"] if method else None
