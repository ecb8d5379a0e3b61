"""Findings of money: invoices, payments, refunds and disputes that the two ledgers tell differently."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tests.model import money
from tests.model.attempts import internal_charges, stripe_charges
from tests.model.audit import Audit, Finding
from tests.model.facts import Facts, Row
from tests.model.invoice import Invoice
from tests.model.money import status_at


def inv_missing_internal(audit: Audit) -> Iterator[Finding]:
    for account_id, own in audit.ledgers.items():
        for invoice_id, bill in own.stripe.items():
            is_finalized = bill.money.status != "draft" and audit.is_our_mode(bill.row)
            if is_finalized and not audit.invoices_of_stripe_id[invoice_id]:
                yield Finding(account_id, "INV_MISSING_INTERNAL", invoice_id, "S1")


def inv_missing_stripe(audit: Audit) -> Iterator[Finding]:
    for row in audit.all_invoices:
        stripe_id = row["stripe_invoice_id"]
        if stripe_id and stripe_id not in audit.facts.stripe_invoices:
            yield Finding(row["account_id"], "INV_MISSING_STRIPE", stripe_id, "S2")


def inv_status(audit: Audit) -> Iterator[Finding]:
    for ours, theirs in pairs(audit):
        statuses = (status_at(theirs, audit.facts), status_at(ours, audit.facts))
        if statuses == ("paid", "open"):
            code, severity = "INV_PAID_STRIPE_OPEN_INTERNAL", "S1"
        elif statuses == ("open", "paid"):
            code, severity = "INV_OPEN_STRIPE_PAID_INTERNAL", "S1"
        elif statuses[0] != statuses[1]:
            code, severity = "INV_STATUS_MISMATCH", "S2"
        else:
            continue
        yield Finding(ours["account_id"], code, ours["stripe_invoice_id"], severity)


def inv_amount_mismatch(audit: Audit) -> Iterator[Finding]:
    """Amounts of two currencies are never compared; an invoice of a customer of nobody is in no Stripe view."""
    for ours, theirs in pairs(audit):
        if not audit.accounts_of.get(theirs["customer_id"]):
            continue
        left = money.stripe_money(audit.facts, theirs, audit.policy)
        right = money.internal_money(audit.facts, ours, audit.policy)
        if ours["currency"] != theirs["currency"] or left.status != right.status:
            continue
        if abs(left.outstanding - right.outstanding) > money.tolerance(ours, audit.policy):
            yield Finding(ours["account_id"], "INV_AMOUNT_MISMATCH", ours["stripe_invoice_id"], "S1")


def inv_currency_mismatch(audit: Audit) -> Iterator[Finding]:
    for ours, theirs in pairs(audit):
        if ours["currency"] != theirs["currency"]:
            yield Finding(ours["account_id"], "INV_CURRENCY_MISMATCH", ours["stripe_invoice_id"], "S1")


def pay_double_charge(audit: Audit) -> Iterator[Finding]:
    for account_id, bill in deciding(audit):
        kept = collected(audit.facts, bill) - refunded(audit.facts, bill)
        if kept > bill.row["amount_due"]:
            yield Finding(account_id, "PAY_DOUBLE_CHARGE", bill.object_id, "S1")


def pay_unlinked(audit: Audit) -> Iterator[Finding]:
    facts = audit.facts
    for charge_id, charge in facts.charges.items():
        is_ours = charge["status"] == "succeeded" and audit.is_our_mode(charge)
        is_old = charge["created_at"] < audit.as_of - timedelta(days=1)
        is_on_invoice = facts.payments_of_charge[charge_id] or facts.payments_of_intent[charge["payment_intent_id"]]
        is_known = facts.internal_charges_of_provider_id[charge_id]
        if is_ours and is_old and not is_on_invoice and not is_known:
            for account_id in audit.accounts_of.get(charge["customer_id"], ()):
                yield Finding(account_id, "PAY_UNLINKED", charge_id, "S1")


def pay_unrecorded(audit: Audit) -> Iterator[Finding]:
    for account_id, own in audit.ledgers.items():
        for invoice_id in [invoice_id for invoice_id, bill in own.stripe.items() if audit.is_our_mode(bill.row)]:
            for charge in stripe_charges(audit.facts, invoice_id):
                is_known = audit.facts.internal_charges_of_provider_id[charge["charge_id"]]
                if not is_known and audit.is_our_mode(charge):
                    yield Finding(account_id, "PAY_UNRECORDED", charge["charge_id"], "S2")


def inv_duplicate_period(audit: Audit) -> Iterator[Finding]:
    """Of the invoices that bill one item from one instant all but the first are too many."""
    seen: dict[tuple[str, str], str] = {}
    rows = [row for row in audit.facts.stripe_invoices.values() if is_cycle(audit, row)]
    for row in sorted(rows, key=lambda row: (row["created_at"] is None, row["created_at"], row["invoice_id"])):
        for period in row["billed_periods"] or []:
            first = seen.setdefault((row["subscription_id"], period), row["invoice_id"])
            if first != row["invoice_id"]:
                for account_id in audit.accounts_of.get(row["customer_id"], ()):
                    yield Finding(account_id, "INV_DUPLICATE_PERIOD", row["invoice_id"], "S1")


def is_cycle(audit: Audit, row: Row) -> bool:
    is_counted = row["subscription_id"] is not None and row["billing_reason"] == "subscription_cycle"
    return is_counted and audit.is_our_mode(row) and status_at(row, audit.facts) not in ("void", "draft")


def chg_orphan_invoice(audit: Audit) -> Iterator[Finding]:
    known = {row["invoice_id"] for row in audit.tables["invoices"]}
    broken = {violation["key"] for violation in audit.violations if violation["table"] == "invoices"}
    for invoice_id, charges in audit.facts.internal_charges_of_invoice.items():
        if invoice_id not in known | broken:
            for row in charges:
                yield Finding(row["account_id"], "CHG_ORPHAN_INVOICE", row["charge_id"], "S2")


def refund_unrecorded(audit: Audit) -> Iterator[Finding]:
    """Succeeded refunds by T against what billing_prod had recorded by T, as rule 2 dates it."""
    for charge_id, rows in audit.facts.internal_charges_of_provider_id.items():
        if charge_id not in audit.facts.charges:
            continue
        at_stripe = sum(row["amount"] for row in refunds_of(audit, charge_id) if row["created_at"] <= audit.as_of)
        for row in rows:
            recorded = sum(part.amount for part in money.dated_refunds(audit.facts, row) if part.at <= audit.as_of)
            if recorded != at_stripe:
                yield Finding(row["account_id"], "REFUND_UNRECORDED", charge_id, "S1")


def refund_no_credit_note(audit: Audit) -> Iterator[Finding]:
    for account_id, bill in deciding(audit):
        overpaid = max(0, collected(audit.facts, bill) - bill.row["amount_due"])
        if bill.money.status == "paid" and refunded(audit.facts, bill) - overpaid > credited(audit.facts, bill):
            yield Finding(account_id, "REFUND_NO_CREDIT_NOTE", bill.object_id, "S2")


def dispute_lost_unresolved(audit: Audit) -> Iterator[Finding]:
    """A credit note explains a refund first."""
    for account_id, bill in deciding(audit):
        overpaid = max(0, collected(audit.facts, bill) - bill.row["amount_due"])
        refunds = max(0, refunded(audit.facts, bill) - overpaid)
        left, gone = max(0, credited(audit.facts, bill) - refunds), lost(audit, bill)
        if bill.money.status == "paid" and gone > left:
            yield Finding(account_id, "DISPUTE_LOST_UNRESOLVED", bill.object_id, "S2")


RULES = (
    inv_missing_internal,
    inv_missing_stripe,
    inv_status,
    inv_amount_mismatch,
    inv_currency_mismatch,
    inv_duplicate_period,
    chg_orphan_invoice,
    pay_double_charge,
    pay_unlinked,
    pay_unrecorded,
    refund_unrecorded,
    refund_no_credit_note,
    dispute_lost_unresolved,
)


def pairs(audit: Audit) -> Iterator[tuple[Row, Row]]:
    """billing_prod's invoices beside the same invoice at Stripe."""
    for row in audit.all_invoices:
        theirs = audit.facts.stripe_invoices.get(row["stripe_invoice_id"])
        if theirs is not None and audit.is_our_mode(theirs):
            yield row, theirs


def deciding(audit: Audit) -> Iterator[tuple[str, Invoice]]:
    for account_id, own in audit.ledgers.items():
        for bill in own.deciding:
            if audit.is_our_mode(bill.row):
                yield account_id, bill


def refunds_of(audit: Audit, charge_id: str) -> list[Row]:
    """Every succeeded refund of a charge, whenever."""
    return money.stripe_refunds(audit.facts, charge_id)


def is_at_stripe(bill: Invoice) -> bool:
    return bill.stripe_row is bill.row


def collected(facts: Facts, bill: Invoice) -> int:
    """What succeeded payments brought in for the invoice by T."""
    invoice_id = bill.row["invoice_id"]
    if is_at_stripe(bill):
        return money.paid_by_invoice_payments(facts, invoice_id)
    charges = internal_charges(facts, invoice_id)
    return sum(charge["amount"] for charge in charges if charge["status"] == "succeeded")


def refunded(facts: Facts, bill: Invoice) -> int:
    """What went back by T; a refund of a payment for several invoices counts on the one with the smallest id."""
    invoice_id = bill.row["invoice_id"]
    if is_at_stripe(bill):
        return sum(
            refund["amount"]
            for refund in money.refunds(facts, invoice_id)
            if refund["status"] == "succeeded" and invoice_id == min(money.invoices_served(facts, refund))
        )
    return sum(part.amount for part in money.internal_refunds(facts, invoice_id))


def credited(facts: Facts, bill: Invoice) -> int:
    """Post-payment credit notes by T, of the view that decides the invoice."""
    invoice_id = bill.row["invoice_id"]
    if is_at_stripe(bill):
        return money.stripe_credited(facts, invoice_id)
    return sum(note["amount"] for note in facts.internal_credit_notes_of_invoice[invoice_id])


def lost(audit: Audit, bill: Invoice) -> int:
    facts, invoice_id = audit.facts, bill.row["invoice_id"]
    some = (
        money.stripe_disputes(facts, invoice_id) if is_at_stripe(bill) else money.internal_disputes(facts, invoice_id)
    )
    return sum(dispute["amount"] for dispute in some if money.is_lost(facts, dispute, audit.policy))
