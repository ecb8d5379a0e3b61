"""Money (rules 1 to 3): the status as of T, what is outstanding, when it was reversed, and whether it is owed.

Outstanding = base + reversal. The base is what was never paid; the reversal is what was paid and taken back, and only
a paid invoice has one. Amounts are minor units of the invoice's currency. When a debt counts as late is not decided
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.model.attempts import internal_charges, stripe_charges
from tests.model.facts import Facts, Row

TRANSITIONS = ("finalized_at", "paid_at", "voided_at", "uncollectible_at")
SETTLED = ("paid", "void", "draft")
FORGIVEN = ("user_forgiven", "subscription_paused")
NEVER_STARTED = ("incomplete", "incomplete_expired")
ENDED = ("canceled", "incomplete_expired")
CLOSED_DISPUTE = ("won", "lost")


@dataclass(frozen=True)
class Money:
    """What an invoice came to at T. `reversal_at`: when the reversal first exceeded the tolerance."""

    status: str
    outstanding: int
    reversal_at: datetime | None


@dataclass(frozen=True)
class TakenBack:
    """Money that went back: a refund, or a lost dispute, dated by its creation."""

    at: datetime
    amount: int


def status_at(row: Row, facts: Facts) -> str:
    if all(row[transition] is None for transition in TRANSITIONS):
        return str(row["status"])
    if facts.past(row["voided_at"]):
        return "void"
    if facts.past(row["paid_at"]):
        return "paid"
    if facts.past(row["uncollectible_at"]):
        return "uncollectible"
    if facts.past(row["finalized_at"]):
        return "open"
    return "draft"


def stripe_money(facts: Facts, row: Row, policy: Any) -> Money:
    status = status_at(row, facts)
    base = 0 if status in SETTLED else stripe_base(facts, row)
    taken_back = stripe_taken_back(facts, row["invoice_id"], policy) if status == "paid" else []
    overpaid = max(0, paid_by_invoice_payments(facts, row["invoice_id"]) - row["amount_due"])
    refunded = sum(refund.amount for refund in stripe_refunds_of_invoice(facts, row["invoice_id"]))
    credited = stripe_credited(facts, row["invoice_id"])
    return _money(row, status, base, taken_back, refunded, overpaid, credited, policy)


def internal_money(facts: Facts, row: Row, policy: Any) -> Money:
    status = status_at(row, facts)
    base = 0 if status in SETTLED else internal_base(facts, row)
    taken_back = internal_taken_back(facts, row["invoice_id"], policy) if status == "paid" else []
    charges = internal_charges(facts, row["invoice_id"])
    collected = sum(charge["amount"] for charge in charges if charge["status"] == "succeeded")
    overpaid = max(0, collected - row["amount_due"])
    credited = sum(note["amount"] for note in facts.internal_credit_notes_of_invoice[row["invoice_id"]])
    refunded = sum(refund.amount for refund in internal_refunds(facts, row["invoice_id"]))
    return _money(row, status, base, taken_back, refunded, overpaid, credited, policy)


def is_owed(  # noqa: PLR0911 - one answer per line of the rule
    money: Money, row: Row, subscription: Row | None, policy: Any, *, livemode: bool
) -> bool:
    """Rule 3, in its order; a draft, a void invoice and a paid one without reversal have nothing outstanding."""
    if money.status in ("draft", "void"):
        return False
    if money.status == "paid" and money.outstanding == 0:
        return False
    if money.status == "uncollectible" and row["uncollectible_reason"] in FORGIVEN:
        return False
    if subscription is not None:
        if row["billing_reason"] == "subscription_create" and subscription["status"] in NEVER_STARTED:
            return False
        if subscription["status"] in ENDED and policy.ended_subscription == "exclude":
            return False
    if livemode != policy.livemode:
        return False
    return money.outstanding > tolerance(row, policy)


def tolerance(row: Row, policy: Any) -> int:
    return policy.tolerance_minor.get(row["currency"], 0)


def _money(
    row: Row,
    status: str,
    base: int,
    taken_back: list[TakenBack],
    refunded: int,
    overpaid: int,
    credited: int,
    policy: Any,
) -> Money:
    """Base + reversal, never below 0, and the instant with which the reversal first exceeded the tolerance."""
    if status != "paid":
        return Money(status, max(0, base), None)
    if policy.reopen_on_refund == "always":
        credited = 0
    if policy.reopen_on_refund == "never":  # notes cover refunds first, even those that reopen nothing
        credited = max(0, credited - max(0, refunded - overpaid))
    reversal, reversal_at = 0, None
    for back in sorted(taken_back, key=lambda back: back.at):
        reversal += back.amount
        if reversal_at is None and _clip(reversal - overpaid - credited, row["amount_paid"]) > tolerance(row, policy):
            reversal_at = back.at
    return Money(status, _clip(reversal - overpaid - credited, row["amount_paid"]), reversal_at)


def _clip(amount: int, ceiling: int) -> int:
    return max(0, min(amount, ceiling))


# The Stripe view.


def stripe_base(facts: Facts, row: Row) -> int:
    changed_since = any(row[transition] is not None and row[transition] > facts.as_of for transition in TRANSITIONS)
    paid_since = any(
        instant is not None and instant > facts.as_of
        for payment in facts.all_payments_of_invoice[row["invoice_id"]]
        for instant in (payment["created_at"], payment["paid_at"])
    )
    if not changed_since and not paid_since:
        return int(row["amount_remaining"])
    return int(row["amount_due"]) - paid_by_invoice_payments(facts, row["invoice_id"])


def paid_by_invoice_payments(facts: Facts, invoice_id: str) -> int:
    """What the invoice's payments had paid by T."""
    return sum(
        payment["amount_paid"] or 0
        for payment in facts.payments_of_invoice[invoice_id]
        if facts.past(payment["paid_at"]) is not None
    )


def stripe_credited(facts: Facts, invoice_id: str) -> int:
    """Post-payment credit notes by T that were not void at T."""
    return sum(
        note["post_payment_amount"] or 0
        for note in facts.credit_notes_of_invoice[invoice_id]
        if not _is_void(facts, note)
    )


def _is_void(facts: Facts, note: Row) -> bool:
    if note["voided_at"] is not None:
        return facts.past(note["voided_at"]) is not None
    return note["status"] == "void"


def stripe_taken_back(facts: Facts, invoice_id: str, policy: Any) -> list[TakenBack]:
    back = []
    if policy.reopen_on_refund != "never":
        back += stripe_refunds_of_invoice(facts, invoice_id)
    if policy.reopen_on_lost_dispute:
        back += [
            TakenBack(dispute["created_at"], dispute["amount"])
            for dispute in stripe_disputes(facts, invoice_id)
            if is_lost(facts, dispute, policy)
        ]
    return back


def stripe_refunds_of_invoice(facts: Facts, invoice_id: str) -> list[TakenBack]:
    """Succeeded refunds by T, each on the smallest of the invoices that its payment served."""
    return [
        TakenBack(refund["created_at"], refund["amount"])
        for refund in refunds(facts, invoice_id)
        if refund["status"] == "succeeded" and invoice_id == min(invoices_served(facts, refund))
    ]


def refunds(facts: Facts, invoice_id: str) -> list[Row]:
    """Refunds of the invoice's payments, each once."""
    found = {}
    for charge in stripe_charges(facts, invoice_id):
        found.update({refund["refund_id"]: refund for refund in facts.refunds_of_charge[charge["charge_id"]]})
    for payment in facts.payments_of_invoice[invoice_id]:
        found.update({refund["refund_id"]: refund for refund in facts.refunds_of_intent[payment["payment_intent_id"]]})
    return list(found.values())


def invoices_served(facts: Facts, reversal: Row) -> set[str]:
    """Every invoice that the payment behind a refund was for."""
    charge = facts.charges.get(reversal["charge_id"])
    intents = {reversal["payment_intent_id"], charge["payment_intent_id"] if charge else None}
    payments = [
        *facts.payments_of_charge[reversal["charge_id"]],
        *(payment for intent in intents for payment in facts.payments_of_intent[intent]),
    ]
    return {payment["invoice_id"] for payment in payments}


def stripe_disputes(facts: Facts, invoice_id: str) -> list[Row]:
    """Disputes of the invoice's payments, each once."""
    found = {}
    for charge in stripe_charges(facts, invoice_id):
        found.update({dispute["dispute_id"]: dispute for dispute in facts.disputes_of_charge[charge["charge_id"]]})
    for payment in facts.payments_of_invoice[invoice_id]:
        found.update(
            {dispute["dispute_id"]: dispute for dispute in facts.disputes_of_intent[payment["payment_intent_id"]]}
        )
    return list(found.values())


# Disputes close.


def closed_at(facts: Facts, dispute: Row) -> datetime | None:
    """When a dispute closed, as far as is known at T; none while it was open, or if nobody knows."""
    closing = _closing(facts, dispute) if dispute["status"] in CLOSED_DISPUTE else None
    return closing if closing is not None and closing <= facts.as_of else None


def _closing(facts: Facts, dispute: Row) -> datetime | None:
    events = [
        event["created_at"]
        for event in facts.all_events_about[dispute["dispute_id"]]
        if event["type"] == "charge.dispute.closed"
    ]
    if events:
        return max(events)
    after_the_first = sorted(dispute["balance_transaction_ats"] or [])[1:]
    return after_the_first[-1] if after_the_first else None


def is_lost(facts: Facts, dispute: Row, policy: Any) -> bool:
    """Lost, unless it closed after T; a loss that nobody can date is taken as it is now."""
    cap = dispute["created_at"] + timedelta(days=policy.dispute_max_days)
    closing = _closing(facts, dispute)
    return dispute["status"] == "lost" and (closing is None or min(cap, closing) <= facts.as_of)


# The internal view.


def internal_base(facts: Facts, row: Row) -> int:
    is_paid_later = row["paid_at"] is not None and row["paid_at"] > facts.as_of
    return int(row["amount_due"]) - (0 if is_paid_later else int(row["amount_paid"]))


def internal_taken_back(facts: Facts, invoice_id: str, policy: Any) -> list[TakenBack]:
    back = []
    if policy.reopen_on_refund != "never":
        back += internal_refunds(facts, invoice_id)
    if policy.reopen_on_lost_dispute:
        back += [
            TakenBack(dispute["created_at"], dispute["amount"])
            for dispute in internal_disputes(facts, invoice_id)
            if is_lost(facts, dispute, policy)
        ]
    return back


def internal_refunds(facts: Facts, invoice_id: str) -> list[TakenBack]:
    """What billing_prod says went back of the invoice's charges by T.

    A Stripe charge that the account has on several invoices went back once: on the one with the smallest id.
    """
    back = []
    for charge in internal_charges(facts, invoice_id):
        same = [charge]
        if charge["stripe_charge_id"] is not None:
            same = [
                other
                for other in facts.internal_charges_of_provider_id[charge["stripe_charge_id"]]
                if other["account_id"] == charge["account_id"]
                and other["invoice_id"] in facts.internal_invoices
                and other in internal_charges(facts, other["invoice_id"])
            ]
        if invoice_id == min(same, key=lambda other: _object_id(facts, other["invoice_id"]))["invoice_id"]:
            recorded = max(other["amount_refunded"] or 0 for other in same)
            back += [
                part for part in dated_refunds(facts, {**charge, "amount_refunded": recorded}) if part.at <= facts.as_of
            ]
    return back


def _object_id(facts: Facts, invoice_id: str) -> str:
    row = facts.internal_invoices[invoice_id]
    return str(row["stripe_invoice_id"] or invoice_id)


def stripe_refunds(facts: Facts, charge_id: str | None) -> list[Row]:
    """Succeeded refunds of a charge, before and after T; one that names only an intent is of its succeeded charge."""
    found = [row for row in facts.all_refunds_of_charge[charge_id] if row["status"] == "succeeded"]
    charge = facts.charges.get(charge_id)
    if charge is not None and charge["status"] == "succeeded" and charge["payment_intent_id"] is not None:
        siblings = [
            other["charge_id"]
            for other in facts.charges_of_intent[charge["payment_intent_id"]]
            if other["status"] == "succeeded"
        ]
        if min(siblings) == charge_id:
            found += [
                row
                for row in facts.all_refunds_of_intent[charge["payment_intent_id"]]
                if row["status"] == "succeeded" and row["charge_id"] is None
            ]
    return found


def dated_refunds(facts: Facts, charge: Row) -> list[TakenBack]:
    """The charge's `amount_refunded`, spread over Stripe's refunds of it, the last taking what is left over.

    Refunds later than T date their part as well: that part went back after T.
    """
    left = charge["amount_refunded"] or 0
    stripe = stripe_refunds(facts, charge["stripe_charge_id"])
    if not stripe:
        return [TakenBack(charge["updated_at"], left)] if left else []
    parts = []
    stripe.sort(key=lambda refund: (refund["created_at"], refund["refund_id"]))
    for refund in stripe:
        part = left if refund is stripe[-1] else min(refund["amount"], left)
        parts.append(TakenBack(refund["created_at"], part))
        left -= part
    return parts


def internal_disputes(facts: Facts, invoice_id: str) -> list[Row]:
    """Disputes of the charges that billing_prod knows by their provider id, each once."""
    found = {}
    for charge in internal_charges(facts, invoice_id):
        provider_id = charge["stripe_charge_id"]
        found.update({dispute["dispute_id"]: dispute for dispute in facts.disputes_of_charge[provider_id]})
    return list(found.values())
