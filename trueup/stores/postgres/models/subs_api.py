"""subs_api: the five subs-api tables. Which of their columns are ours to write is in `trueup.correction.ownership`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from trueup.stores.postgres.models.base import SubsApi, Versioned


class SubsAccount(Versioned, SubsApi):
    """Flags and billing profile of an account. Writers: A1 profiles; A3 the flag `bad_debt` alone."""

    __tablename__ = "subs_account"

    account_id: Mapped[str] = mapped_column(primary_key=True)
    billing_email: Mapped[str | None]  # personal data: the auditor never reads it
    bad_debt: Mapped[bool | None]
    dunning_exempt: Mapped[bool | None]
    hold_from: Mapped[datetime | None]
    hold_until: Mapped[datetime | None]  # a hold without an end has none
    updated_by: Mapped[str | None]  # A1, A3


class SubsCustomer(Versioned, SubsApi):
    """Which Stripe customer is which account. A1 and A2 race to write it, so nothing but the id is unique."""

    __tablename__ = "subs_customer"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[str | None]
    stripe_customer_id: Mapped[str | None]
    livemode: Mapped[bool | None]
    created_by: Mapped[str | None]  # A1, A2
    created_at: Mapped[datetime | None]


class SubsDunning(Versioned, SubsApi):
    """The stored dunning state of an account. Only the A3 recompute writes it."""

    __tablename__ = "subs_dunning"

    account_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str | None]
    attempt_count: Mapped[int | None]
    clock_started_on: Mapped[date | None]
    next_retry_at: Mapped[datetime | None]
    driver_invoice_id: Mapped[str | None]
    reason: Mapped[str | None]
    policy_version: Mapped[str | None]
    final_notice_sent_at: Mapped[datetime | None]  # a fact about a letter: read, never written
    computed_at: Mapped[datetime | None]


class SubsMandate(Versioned, SubsApi):
    """What we believe of a Stripe mandate."""

    __tablename__ = "subs_mandate"

    mandate_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None]
    stripe_mandate_id: Mapped[str | None]
    stripe_payment_method_id: Mapped[str | None]
    type: Mapped[str | None]  # Stripe's payment method type
    status: Mapped[str | None]  # active, inactive, pending
    network_status: Mapped[str | None]  # accepted, pending, refused, revoked


class SubsStuckEvent(Versioned, SubsApi):
    """A provider event that a handler could not finish."""

    __tablename__ = "subs_stuck_events"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None]
    type: Mapped[str | None]
    sequence: Mapped[int | None] = mapped_column(BigInteger)
    payload: Mapped[dict[str, Any] | None]  # customer data: only its shape and object id are ever read
    status: Mapped[str | None]  # pending, stuck, resolved, dead
    attempts: Mapped[int | None]
    last_error: Mapped[str | None]  # may quote customer data: written, never read
    received_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]
