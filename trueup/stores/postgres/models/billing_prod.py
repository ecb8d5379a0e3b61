"""billing_prod: the financial ledger, audit-critical. Writers: A2 invoices and A3 charges; never us."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from trueup.stores.postgres.models.base import BillingProd, Money, Versioned


class Invoice(Versioned, BillingProd):
    """The ledger's invoice. No `stripe_invoice_id` means that it is collected outside Stripe."""

    __tablename__ = "invoices"

    invoice_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None]
    stripe_invoice_id: Mapped[str | None]
    stripe_subscription_id: Mapped[str | None]
    billing_reason: Mapped[str | None]  # subscription_create, subscription_cycle, subscription_update, manual
    status: Mapped[str | None]  # draft, open, paid, void, uncollectible
    uncollectible_reason: Mapped[str | None]
    collection_method: Mapped[str | None]  # charge_automatically, send_invoice
    currency: Mapped[str | None]
    amount_due: Mapped[Money | None]
    amount_paid: Mapped[Money | None]
    attempt_count: Mapped[int | None]
    due_at: Mapped[datetime | None]
    finalized_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]
    uncollectible_at: Mapped[datetime | None]
    effective_at: Mapped[datetime | None]  # when it counts in the books


class Charge(Versioned, BillingProd):
    """One attempt to collect an invoice, and what came of it."""

    __tablename__ = "charges"

    charge_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None]
    invoice_id: Mapped[str | None]
    stripe_charge_id: Mapped[str | None]
    amount: Mapped[Money | None]
    amount_refunded: Mapped[Money | None]
    currency: Mapped[str | None]
    status: Mapped[str | None]  # succeeded, failed, pending
    trigger: Mapped[str | None]  # initial, scheduled, manual, payment_method_update
    decline_code: Mapped[str | None]
    advice_code: Mapped[str | None]
    attempted_at: Mapped[datetime | None]
    effective_at: Mapped[datetime | None]


class CreditNote(Versioned, BillingProd):
    """What was credited on an invoice after it was paid."""

    __tablename__ = "credit_notes"

    credit_note_id: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[str | None]
    amount: Mapped[Money | None]  # the post-payment part
    created_at: Mapped[datetime | None]


class LedgerDunningState(Versioned, BillingProd):
    """The ledger's own copy of an account's dunning state."""

    __tablename__ = "dunning_states"

    account_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str | None]


class Schedule(Versioned, BillingProd):
    """A retry that someone means to make."""

    __tablename__ = "schedules"

    schedule_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None]
    invoice_id: Mapped[str | None]
    attempt_number: Mapped[int | None]
    retry_at: Mapped[datetime | None]
    owner: Mapped[str | None]  # internal, stripe
    status: Mapped[str | None]  # scheduled, done, canceled
