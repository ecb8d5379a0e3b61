"""What is at stake in a finding, once more: the paragraph "At stake" of docs/contract/FINDINGS.md, code by code.

A finding is looked up by its account, code and object alone, apart from the rules that find it. Where several rows
could be meant (a charge that is recorded twice, say) every amount that one of them gives is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.model import money
from tests.model.audit import Audit, Finding
from tests.model.findings_money import collected, credited, lost, refunded, refunds_of
from tests.model.invoice import Invoice

Stake = tuple[int, str] | None

OF_THE_ACCOUNT = (
    "DUN_EXEMPT_IGNORED",
    "DISPUTE_OPEN_BUT_DUNNING",
    "DUN_STUCK_AFTER_PAYMENT",
    "DUN_NOT_STARTED",
    "DUN_EARLY_SUSPENSION",
    "DUN_STATE_MISMATCH",
    "FLAG_BAD_DEBT_STALE",
    "FLAG_BAD_DEBT_MISSING",
    "ENT_ON_WHEN_SUSPENDED",
    "ENT_OFF_WHEN_GOOD",
)
OF_THE_INVOICE = (
    "INV_MISSING_INTERNAL",
    "RETRY_SCHEDULE_STALLED",
    "RETRY_ON_HARD_DECLINE",
    "RETRY_DOUBLE_OWNER",
    "RETRY_ON_SETTLED",
    "NO_ATTEMPT_MADE",
    "MAN_MISSING",
    "ACCT_CHILD_HAS_DEBT",
)


def at_stake(audit: Audit, finding: Finding) -> set[Stake]:
    """Minor units and currency; None where it cannot be told or nothing is at stake by the text."""
    if finding.code in OF_THE_ACCOUNT:
        return {_of_account(audit, finding)}
    if finding.code in OF_THE_INVOICE:
        return _or_none((bill.outstanding, bill.row["currency"]) for bill in _deciding(audit, finding))
    how = BY_CODE.get(finding.code)
    return {None} if how is None else _or_none(how(audit, finding))


def _or_none(stakes: Iterable[Stake]) -> set[Stake]:
    return set(stakes) or {None}


def _of_account(audit: Audit, finding: Finding) -> Stake:
    outstanding = audit.desired[finding.account_id or ""]["outstanding_minor"]
    return (outstanding[0]["amount"], outstanding[0]["currency"]) if len(outstanding) == 1 else None


def _deciding(audit: Audit, finding: Finding) -> list[Invoice]:
    return [bill for own in audit.ledgers.values() for bill in own.deciding if bill.object_id == finding.object_id]


def _pairs(audit: Audit, finding: Finding) -> Iterable[tuple[Any, Any, money.Money, money.Money | None]]:
    """billing_prod's row, Stripe's row, and what each side owes; Stripe's only if its customer maps."""
    theirs = audit.facts.stripe_invoices.get(finding.object_id or "")
    for ours in audit.invoices_of_stripe_id[finding.object_id or ""]:
        internal = money.internal_money(audit.facts, ours, audit.policy)
        is_mapped = theirs is not None and audit.accounts_of.get(theirs["customer_id"])
        yield ours, theirs, internal, money.stripe_money(audit.facts, theirs, audit.policy) if is_mapped else None


def _internal_side(audit: Audit, finding: Finding) -> Iterable[Stake]:
    return [(internal.outstanding, ours["currency"]) for ours, _, internal, _ in _pairs(audit, finding)]


def _stripe_side(audit: Audit, finding: Finding) -> Iterable[Stake]:
    return [
        (stripe.outstanding, theirs["currency"]) if stripe else None for _, theirs, _, stripe in _pairs(audit, finding)
    ]


def _difference(audit: Audit, finding: Finding) -> Iterable[Stake]:
    for ours, theirs, internal, stripe in _pairs(audit, finding):
        is_one_currency = ours["currency"] == theirs["currency"]
        yield (abs(internal.outstanding - stripe.outstanding), ours["currency"]) if stripe and is_one_currency else None


def _excess(audit: Audit, finding: Finding) -> Iterable[Stake]:
    for bill in _deciding(audit, finding):
        paid = collected(audit.facts, bill) - refunded(audit.facts, bill)
        yield max(0, paid - bill.row["amount_due"]), bill.row["currency"]


def _stripe_charge(audit: Audit, finding: Finding) -> Iterable[Stake]:
    charge = audit.facts.charges[finding.object_id or ""]
    return [(charge["amount"], charge["currency"]) if charge["status"] == "succeeded" else None]


def _internal_charge(audit: Audit, finding: Finding) -> Iterable[Stake]:
    [charge] = [row for row in audit.tables["charges"] if row["charge_id"] == finding.object_id]
    return [(charge["amount"], charge["currency"]) if charge["status"] == "succeeded" else None]


def _second_invoice(audit: Audit, finding: Finding) -> Iterable[Stake]:
    invoice = audit.facts.stripe_invoices[finding.object_id or ""]
    return [(invoice["amount_due"], invoice["currency"])]


def _refund_difference(audit: Audit, finding: Finding) -> Iterable[Stake]:
    charge_id = finding.object_id or ""
    at_stripe = sum(row["amount"] for row in refunds_of(audit, charge_id) if row["created_at"] <= audit.as_of)
    for row in audit.facts.internal_charges_of_provider_id[charge_id]:
        recorded = sum(part.amount for part in money.dated_refunds(audit.facts, row) if part.at <= audit.as_of)
        yield abs(recorded - at_stripe), audit.facts.charges[charge_id]["currency"]


def _uncovered_refund(audit: Audit, finding: Finding) -> Iterable[Stake]:
    for bill in _deciding(audit, finding):
        overpaid = max(0, collected(audit.facts, bill) - bill.row["amount_due"])
        uncovered = refunded(audit.facts, bill) - overpaid - credited(audit.facts, bill)
        yield max(0, uncovered), bill.row["currency"]


def _uncovered_dispute(audit: Audit, finding: Finding) -> Iterable[Stake]:
    for bill in _deciding(audit, finding):
        overpaid = max(0, collected(audit.facts, bill) - bill.row["amount_due"])
        for_refunds = max(0, refunded(audit.facts, bill) - overpaid)
        left = max(0, credited(audit.facts, bill) - for_refunds)
        yield max(0, lost(audit, bill) - left), bill.row["currency"]


def _still_collecting(audit: Audit, finding: Finding) -> Iterable[Stake]:
    rows = [
        row
        for row in audit.stripe_invoices_of_subscription[finding.object_id or ""]
        if money.status_at(row, audit.facts) == "open" and row["auto_advance"] and audit.is_our_mode(row)
    ]
    mapped = [row for row in rows if audit.accounts_of.get(row["customer_id"])]
    amounts = [money.stripe_money(audit.facts, row, audit.policy).outstanding for row in mapped]
    currencies = {row["currency"] for row in mapped}
    return [(sum(amounts), currencies.pop()) if len(currencies) == 1 else None]


BY_CODE: dict[str, Callable[[Audit, Finding], Iterable[Stake]]] = {
    "INV_MISSING_STRIPE": _internal_side,
    "INV_PAID_STRIPE_OPEN_INTERNAL": _internal_side,
    "INV_OPEN_STRIPE_PAID_INTERNAL": _stripe_side,
    "INV_STATUS_MISMATCH": _difference,
    "INV_AMOUNT_MISMATCH": _difference,
    "INV_DUPLICATE_PERIOD": _second_invoice,
    "CHG_ORPHAN_INVOICE": _internal_charge,
    "PAY_DOUBLE_CHARGE": _excess,
    "PAY_UNLINKED": _stripe_charge,
    "PAY_UNRECORDED": _stripe_charge,
    "REFUND_UNRECORDED": _refund_difference,
    "REFUND_NO_CREDIT_NOTE": _uncovered_refund,
    "DISPUTE_LOST_UNRESOLVED": _uncovered_dispute,
    "SUB_CANCELED_STILL_COLLECTING": _still_collecting,
}
