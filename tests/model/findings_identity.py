"""Findings of identity: who is who in the six stores."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.audit import Audit, Finding
from tests.model.money import status_at


def map_missing(audit: Audit) -> Iterator[Finding]:
    for account_id, invoices in audit.facts.invoices_of_account.items():
        if audit.customers_of.get(account_id):
            continue
        if any(row["stripe_invoice_id"] and status_at(row, audit.facts) != "void" for row in invoices):
            yield Finding(account_id, "MAP_MISSING", None, "S1")


def map_dangling(audit: Audit) -> Iterator[Finding]:
    for account_id, customer_id in mapped(audit):
        customer = audit.facts.customers.get(customer_id)
        if customer is None or customer["is_deleted"]:
            yield Finding(account_id, "MAP_DANGLING", customer_id, "S1")


def map_duplicate_customer(audit: Audit) -> Iterator[Finding]:
    for account_id, customers in audit.customers_of.items():
        if len(customers) > 1:
            busy = [customer for customer in customers if is_busy(audit, customer)]
            yield Finding(account_id, "MAP_DUPLICATE_CUSTOMER", None, "S1" if len(busy) > 1 else "S3")


def map_shared_customer(audit: Audit) -> Iterator[Finding]:
    for account_id, customer_id in mapped(audit):
        if len(audit.accounts_of[customer_id]) > 1:
            yield Finding(account_id, "MAP_SHARED_CUSTOMER", customer_id, "S1")


def map_orphan_customer(audit: Audit) -> Iterator[Finding]:
    """Whoever Stripe collects from is its customer, if it lists them still or not."""
    for customer_id in {*audit.facts.stripe_invoices_of_customer, *audit.subscriptions_of_customer}:
        if not audit.accounts_of.get(customer_id) and is_busy(audit, customer_id):
            yield Finding(None, "MAP_ORPHAN_CUSTOMER", customer_id, "S1")


def map_metadata_mismatch(audit: Audit) -> Iterator[Finding]:
    for account_id, customer_id in mapped(audit):
        customer = audit.facts.customers.get(customer_id)
        if customer and customer["metadata_account_id"] not in (None, account_id):
            yield Finding(account_id, "MAP_METADATA_MISMATCH", customer_id, "S2")


def acct_closed_active_sub(audit: Audit) -> Iterator[Finding]:
    for account_id in audit.customers_of:
        account = audit.facts.accounts.get(account_id)
        if (account is None or account["status"] == "closed") and audit.live_subscriptions_of(account_id):
            yield Finding(account_id, "ACCT_CLOSED_ACTIVE_SUB", None, "S1")


def acct_flags_missing(audit: Audit) -> Iterator[Finding]:
    for account_id in audit.facts.accounts:
        if account_id not in audit.facts.flags:
            yield Finding(account_id, "ACCT_FLAGS_MISSING", None, "S3")


def acct_child_has_debt(audit: Audit) -> Iterator[Finding]:
    """About the invoice, which is its owner's to mend."""
    for account_id, account in audit.facts.accounts.items():
        own = audit.ledgers[account_id]
        for bill in own.deciding:
            if account["parent_account_id"] is not None and bill.owed and bill.is_late(own.today):
                yield Finding(account_id, "ACCT_CHILD_HAS_DEBT", bill.object_id, "S2")


RULES = (
    map_missing,
    map_dangling,
    map_duplicate_customer,
    map_shared_customer,
    map_orphan_customer,
    map_metadata_mismatch,
    acct_closed_active_sub,
    acct_flags_missing,
    acct_child_has_debt,
)


def mapped(audit: Audit) -> list[tuple[str, str]]:
    """Account and customer, for every mapping in the policy's mode."""
    return [(account_id, customer) for account_id, some in audit.customers_of.items() for customer in some]


def is_busy(audit: Audit, customer_id: str) -> bool:
    """The customer has an open invoice or a live subscription."""
    return bool(audit.live_subscriptions(customer_id)) or any(
        status_at(row, audit.facts) == "open" and audit.is_our_mode(row)
        for row in audit.facts.stripe_invoices_of_customer[customer_id]
    )
