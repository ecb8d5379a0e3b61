"""Findings of retries, mandates and subscriptions: who tries to collect what he should not, or does not try."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from tests.model.attempts import Attempt
from tests.model.audit import Audit, Finding, Ledgers
from tests.model.calendar import local_date
from tests.model.facts import Row
from tests.model.findings_money import deciding
from tests.model.money import ENDED, status_at


def retry_schedule_stalled(audit: Audit) -> Iterator[Finding]:
    for account_id, result in audit.desired.items():
        if audit.facts.accounts[account_id]["parent_account_id"] or result["next_retry_at"] is None:
            continue
        if result["next_retry_at"] < audit.as_of - timedelta(hours=24):
            yield Finding(account_id, "RETRY_SCHEDULE_STALLED", result["driver_invoice_id"], "S1")


def retry_on_hard_decline(audit: Audit) -> Iterator[Finding]:
    for account_id, own in audit.ledgers.items():
        tried = [
            (invoice_id, attempt)
            for invoice_id, bill in own.stripe.items()
            if audit.is_our_mode(bill.row)
            for attempt in bill.attempts
        ]
        for invoice_id, attempt in tried:
            if any(is_hard_decline_before(attempt, other) for _, other in tried):
                yield Finding(account_id, "RETRY_ON_HARD_DECLINE", invoice_id, "S1")


def retry_double_owner(audit: Audit) -> Iterator[Finding]:
    for schedule, invoice in scheduled(audit):
        theirs = audit.facts.stripe_invoices.get(invoice["stripe_invoice_id"])
        if schedule["owner"] != "internal" or theirs is None or not audit.is_our_mode(theirs):
            continue
        if status_at(theirs, audit.facts) == "open" and theirs["next_payment_attempt_at"] is not None:
            yield Finding(invoice["account_id"], "RETRY_DOUBLE_OWNER", invoice["stripe_invoice_id"], "S1")


def retry_on_settled(audit: Audit) -> Iterator[Finding]:
    for _, invoice in scheduled(audit):
        stripe_id = invoice["stripe_invoice_id"]
        decides = audit.facts.stripe_invoices.get(stripe_id) if stripe_id else invoice
        if (
            decides
            and audit.is_our_mode(decides)
            and status_at(decides, audit.facts) in ("paid", "void", "uncollectible")
        ):
            object_id = stripe_id or invoice["invoice_id"]
            yield Finding(invoice["account_id"], "RETRY_ON_SETTLED", object_id, "S2")


def no_attempt_made(audit: Audit) -> Iterator[Finding]:
    for account_id, bill in deciding(audit):
        is_ours_to_try = bill.row["collection_method"] == "charge_automatically"
        finalized_at = audit.facts.past(bill.row["finalized_at"])
        if bill.money.status != "open" or not bill.owed or not is_ours_to_try or bill.attempts or not finalized_at:
            continue
        by_when = local_date(finalized_at, bill.timezone) + timedelta(days=audit.policy.no_attempt_days)
        if audit.ledgers[account_id].today > by_when:
            yield Finding(account_id, "NO_ATTEMPT_MADE", bill.object_id, "S1")


def decline_code_unmapped(audit: Audit) -> Iterator[Finding]:
    for account_id, bill in deciding(audit):
        for attempt in bill.attempts:
            codes = codes_of(attempt)
            if attempt.status == "failed" and codes and not any(code in audit.policy.decline_codes for code in codes):
                object_id = attempt.row.get("stripe_charge_id") or attempt.charge_id
                yield Finding(account_id, "DECLINE_CODE_UNMAPPED", object_id, "S4")


def man_status_mismatch(audit: Audit) -> Iterator[Finding]:
    for ours in audit.tables["subs_mandate"]:
        theirs = audit.facts.stripe_mandates.get(ours["stripe_mandate_id"])
        if theirs is None or not audit.is_our_mode(theirs):
            continue
        is_of_bacs = theirs["payment_method_type"] == "bacs_debit"  # of no other does Stripe tell
        is_wrong_at_network = is_of_bacs and ours["network_status"] != theirs["network_status"]
        if ours["status"] != theirs["status"] or is_wrong_at_network:
            severity = "S1" if ours["status"] == "active" else "S3"
            yield Finding(ours["account_id"], "MAN_STATUS_MISMATCH", ours["stripe_mandate_id"], severity)


def man_missing(audit: Audit) -> Iterator[Finding]:
    for account_id, own in audit.ledgers.items():
        for invoice_id, bill in own.stripe.items():
            instrument = bill.instrument
            if not audit.is_our_mode(bill.row):
                continue
            is_known = audit.facts.mandates_of_payment_method[instrument.payment_method_id or ""]
            if bill.money.status == "open" and instrument.needs_mandate and not is_known:
                yield Finding(account_id, "MAN_MISSING", invoice_id, "S2")


RULES = (
    retry_schedule_stalled,
    retry_on_hard_decline,
    retry_double_owner,
    retry_on_settled,
    no_attempt_made,
    decline_code_unmapped,
    man_status_mismatch,
    man_missing,
)


def sub_status_mismatch(audit: Audit) -> Iterator[Finding]:
    for account_id, subscription in subscriptions(audit):
        if subscription["status"] in ("past_due", "unpaid"):
            statuses = {status_at(row, audit.facts) for row in invoices_of(audit, subscription)}
            is_wrong = statuses.isdisjoint(("open", "uncollectible"))
        else:
            is_wrong = subscription["status"] == "active" and has_exhausted(audit.ledgers[account_id], subscription)
        if is_wrong:
            yield Finding(account_id, "SUB_STATUS_MISMATCH", subscription["subscription_id"], "S2")


def sub_canceled_still_collecting(audit: Audit) -> Iterator[Finding]:
    for account_id, subscription in subscriptions(audit):
        is_collecting = any(
            status_at(row, audit.facts) == "open" and row.get("auto_advance")
            for row in invoices_of(audit, subscription)
        )
        if subscription["status"] in ENDED and is_collecting:
            yield Finding(account_id, "SUB_CANCELED_STILL_COLLECTING", subscription["subscription_id"], "S1")


def sub_duplicate_active(audit: Audit) -> Iterator[Finding]:
    for account_id in audit.customers_of:
        prices = Counter(
            price
            for subscription in audit.live_subscriptions_of(account_id)
            for price in set(subscription["price_ids"] or [])
        )
        for price, count in prices.items():
            if count > 1:
                yield Finding(account_id, "SUB_DUPLICATE_ACTIVE", price, "S1")


SUBSCRIPTION_RULES = (sub_status_mismatch, sub_canceled_still_collecting, sub_duplicate_active)


def is_hard_decline_before(attempt: Attempt, other: Attempt) -> bool:
    return (
        other.decline_class == "hard"
        and other.payment_method_id is not None
        and other.payment_method_id == attempt.payment_method_id
        and other.at < attempt.at
    )


def scheduled(audit: Audit) -> Iterator[tuple[Row, Row]]:
    """Retries that are to come, with billing_prod's invoice."""
    invoices = {row["invoice_id"]: row for row in audit.all_invoices}
    for schedule in audit.tables["schedules"]:
        if schedule["status"] == "scheduled" and schedule["invoice_id"] in invoices:
            yield schedule, invoices[schedule["invoice_id"]]


def codes_of(attempt: Attempt) -> list[str]:
    columns = ("network_advice_code", "advice_code", "decline_code", "failure_code")
    return [attempt.row[column] for column in columns if attempt.row.get(column) is not None]


def subscriptions(audit: Audit) -> Iterator[tuple[str, Row]]:
    for account_id, customers in audit.customers_of.items():
        for customer in customers:
            for subscription in audit.subscriptions_of_customer[customer]:
                if audit.is_our_mode(subscription):
                    yield account_id, subscription


def invoices_of(audit: Audit, subscription: Row) -> list[Row]:
    """The invoices of a subscription, whoever's they are: Stripe's, and ours that are collected outside Stripe."""
    subscription_id = subscription["subscription_id"]
    theirs = [row for row in audit.stripe_invoices_of_subscription[subscription_id] if audit.is_our_mode(row)]
    return [*theirs, *audit.outside_invoices_of_subscription[subscription_id]]


def has_exhausted(own: Ledgers, subscription: Row) -> bool:
    return any(
        bill.money.status == "open" and bill.owed and bill.is_late(own.today) and bill.is_exhausted(own.today)
        for bill in own.deciding
        if subscription["subscription_id"] in (bill.row.get("subscription_id"), bill.row.get("stripe_subscription_id"))
    )
