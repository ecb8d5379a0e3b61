"""Vocabulary: the values that more than one room compares a column with, each written once.

Enumerations are those of docs/contract/STORES.md; Stripe's are Stripe's own (SDK 16.1, API 2026-10-28.endive, read on
2026-11-20). What a value means for an account is decided by the rules that import it; which columns may hold which
values is in `rules.py`. Dunning states and stores are in `schemas.py`, since column types are made of them.
"""

from __future__ import annotations

from typing import Final

SEVERITIES: Final = ("S1", "S2", "S3", "S4", "none")
"""S1 money or access is wrong now, S2 will be at the next cycle, S3 the record is wrong, S4 hygiene."""

COUNTED_SEVERITIES: Final = ("S1", "S2", "S3")
"""Severities that make an account one that disagrees."""

INVOICE_STATUSES: Final = ("draft", "open", "paid", "void", "uncollectible")
COLLECTION_METHODS: Final = ("charge_automatically", "send_invoice")
UNCOLLECTIBLE_REASONS: Final = (
    "max_payment_attempts",
    "payment_not_received",
    "subscription_canceled",
    "subscription_paused",
    "user_forgiven",
)
FORGIVEN_REASONS: Final = ("user_forgiven", "subscription_paused")
"""Reasons for which an uncollectible invoice is not owed."""

CHARGE_STATUSES: Final = ("succeeded", "failed", "pending")

LIVE_SUBSCRIPTIONS: Final = ("active", "trialing", "past_due", "unpaid")
"""Statuses of a live subscription."""

ENDED_SUBSCRIPTIONS: Final = ("canceled", "incomplete_expired")
"""Statuses of a subscription that has ended."""

NEVER_STARTED_SUBSCRIPTIONS: Final = ("incomplete", "incomplete_expired")
"""Statuses of a subscription whose first invoice is not owed."""

SUBSCRIPTION_STATUSES: Final = (*LIVE_SUBSCRIPTIONS, "incomplete", "paused", *ENDED_SUBSCRIPTIONS)

DEBIT_TYPES: Final = ("sepa_debit", "bacs_debit", "au_becs_debit", "acss_debit", "us_bank_account", "nz_bank_account")
"""Payment method types that need a mandate, and whose payments take days to clear."""

NETWORK_STATUS_TYPE: Final = "bacs_debit"
"""The only payment method type whose mandates carry a network status (Stripe's Mandate object, read on 2026-11-20)."""

ACCEPTED_NETWORK_STATUSES: Final = ("accepted", "pending")
"""Network statuses with which a BACS mandate may be debited."""

MANDATE_STATUSES: Final = ("active", "inactive", "pending")
NETWORK_STATUSES: Final = (*ACCEPTED_NETWORK_STATUSES, "refused", "revoked")

OPEN_DISPUTES: Final = ("needs_response", "under_review", "appeal_needs_response", "appeal_under_review")
"""Statuses of a dispute that is open: the money is at the bank until somebody decides."""

CLOSED_DISPUTES: Final = ("won", "lost")
DISPUTE_STATUSES: Final = (
    *OPEN_DISPUTES,
    *CLOSED_DISPUTES,
    "warning_needs_response",
    "warning_under_review",
    "warning_closed",
    "prevented",
)

EXPIRY_CODES: Final = ("expired_card", "invalid_expiry_year")
"""Decline codes that say the card's date was wrong or past: a card whose date lies ahead again is not held to them."""

REASONS: Final = (
    "past_due", "charged_off", "reopened", "exhausted", "held", "disputed", "in_flight", "send_invoice",
    "no_payment_method", "hard_decline", "customer_action", "mandate_inactive", "subscription_ended",
    "subscription_paused", "auto_advance_off", "exempt", "delegated", "no_mapping", "several_customers",
    "shared_customer", "unknown_to_stripe", "parent_unresolved", "contract_violation", "source_not_whole",
)  # fmt: skip
"""Every reason that a result can have (docs/contract/DUNNING.md); other words of a stored reason are free text."""
