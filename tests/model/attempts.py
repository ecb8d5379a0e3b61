"""Attempts (rule 4) and what a decline means.

Stripe view: the charges that the invoice's payments lead to, directly or by their payment intent. Internal view:
billing_prod's charges of the invoice, one per provider id. Which instrument they make dead is `payment_method`'s
business, what they cost is `money`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.model.facts import Facts, Row

COUNTED_TRIGGERS = ("initial", "scheduled")


@dataclass(frozen=True)
class Attempt:
    """One try to collect one invoice."""

    charge_id: str
    at: datetime
    status: str
    trigger: str
    payment_method_id: str | None
    decline_class: str | None  # null when it did not fail
    decisive_code: str | None
    row: Row

    def is_counted(self, reversal_at: datetime | None) -> bool:
        """It failed, used up a cycle, and belongs to the debt as it stands (after the reversal if there is one)."""
        return (
            self.status == "failed"
            and self.trigger in COUNTED_TRIGGERS
            and self.decline_class != "gateway"
            and (reversal_at is None or self.at > reversal_at)
        )


def stripe_attempts(facts: Facts, invoice_id: str, policy: Any) -> list[Attempt]:
    return [
        _attempt(
            row["charge_id"],
            row["created_at"],
            row["status"],
            _trigger(facts, row["charge_id"]),
            row["payment_method_id"],
            [row["network_advice_code"], row["advice_code"], row["decline_code"], row["failure_code"]],
            policy,
            row,
        )
        for row in stripe_charges(facts, invoice_id)
    ]


def internal_attempts(facts: Facts, invoice_id: str, policy: Any) -> list[Attempt]:
    return [
        _attempt(
            row["charge_id"],
            row["attempted_at"],
            row["status"],
            row["trigger"],
            None,
            [row["advice_code"], row["decline_code"]],
            policy,
            row,
        )
        for row in internal_charges(facts, invoice_id)
    ]


def stripe_charges(facts: Facts, invoice_id: str) -> list[Row]:
    """The invoice's charges, each once."""
    found: dict[str, Row] = {}
    for payment in facts.payments_of_invoice[invoice_id]:
        direct = facts.charges.get(payment["charge_id"])
        if direct is not None:
            found[direct["charge_id"]] = direct
        for charge in facts.charges_of_intent[payment["payment_intent_id"]]:
            found[charge["charge_id"]] = charge
    return [found[charge_id] for charge_id in sorted(found)]


def internal_charges(facts: Facts, invoice_id: str) -> list[Row]:
    """billing_prod's charges of the invoice, one per provider id: the one with the smallest charge_id."""
    found: dict[tuple[str, str], Row] = {}
    for row in sorted(facts.internal_charges_of_invoice[invoice_id], key=lambda row: row["charge_id"]):
        provider_id = row["stripe_charge_id"]
        found.setdefault(("provider", provider_id) if provider_id else ("own", row["charge_id"]), row)
    return list(found.values())


def decline_class(codes: list[str | None], table: dict[str, str]) -> tuple[str, str | None]:
    """The class of a failed attempt and the code that decided it; `codes` in order of precedence."""
    known = [code for code in codes if code is not None and code in table]
    for code in known:
        if table[code] == "hard":
            return "hard", code
    if known:
        return table[known[0]], known[0]
    return "soft", None


def _trigger(facts: Facts, stripe_charge_id: str) -> str:
    ours = facts.internal_charges_of_provider_id[stripe_charge_id]
    if not ours:
        return "scheduled"
    return min(ours, key=lambda row: row["charge_id"])["trigger"]


def _attempt(
    charge_id: str,
    at: datetime,
    status: str,
    trigger: str,
    payment_method_id: str | None,
    codes: list[str | None],
    policy: Any,
    row: Row,
) -> Attempt:
    kind, code = decline_class(codes, policy.decline_codes) if status == "failed" else (None, None)
    return Attempt(charge_id, at, status, trigger, payment_method_id, kind, code, row)
