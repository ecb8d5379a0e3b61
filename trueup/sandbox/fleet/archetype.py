"""What an archetype declares: an account's instrument, its bills, their charges, and the state that follows.

An archetype is data. Every moment in it is a number of days after its bill was finalised, and the bill was finalised
`days` before today (a range, so that no two accounts are alike). The account's dunning state is declared
beside it, from the text of docs/contract/DUNNING.md: this package never calls the engine, so that it can test the
engine. The ranges keep a day's distance from every boundary, so that a fleet stays true for a day after its `as_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Instrument = Literal["card", "debit", "any"]  # any: mostly cards, now and then a debit with a working mandate

CARD_ONLY: Final = "card"
DEBIT_ONLY: Final = "debit"


@dataclass(frozen=True)
class Refund:
    """Money given back for a charge: `after` days from the bill, a share of the charge, and how it went."""

    after: int
    share: float = 1.0
    status: str = "succeeded"
    has_credit_note: bool = True


@dataclass(frozen=True)
class Dispute:
    """A chargeback: opened `after` days from the bill, closed `closed_after` (null: still open)."""

    after: int
    status: str
    closed_after: int | None = None
    has_credit_note: bool = False


@dataclass(frozen=True)
class Charge:
    """One attempt. `intent` 0 is the bill's own payment intent; others are payments beside it."""

    after: int
    outcome: Literal["failed", "succeeded", "pending"] = "failed"
    decline: str | None = "soft"
    trigger: str = "scheduled"
    share: float = 1.0  # of the bill's amount
    intent: int = 0
    is_old_instrument: bool = False
    refund: Refund | None = None
    dispute: Dispute | None = None


@dataclass(frozen=True)
class Bill:
    """One invoice, in both views or (`is_outside`) in billing_prod alone."""

    charges: tuple[Charge, ...] = ()
    status: str = "open"
    days_earlier: int = 0  # before the archetype's day
    method: Literal["charge_automatically", "send_invoice"] = "charge_automatically"
    due_after: int | None = None
    paid_after: int | None = None
    voided_after: int | None = None
    uncollectible_after: int | None = None
    uncollectible_reason: str | None = None
    retry_after: int | None = None  # when the machine tries again
    is_outside: bool = False
    is_tiny: bool = False  # below every threshold
    is_zero: bool = False  # nothing to pay, as in a trial
    is_first: bool = False  # the subscription's first invoice
    has_auto_advance: bool = True
    prepaid_credit: int = 0  # a credit note before payment, in minor units
    currency: str | None = None  # another than the account's


@dataclass(frozen=True)
class Archetype:
    """A kind of account: how common it is, what happened, and its dunning state (docs/contract/DUNNING.md)."""

    name: str
    share: int  # accounts in a million
    state: str = "good_standing"
    days: tuple[int, int] = (1, 27)
    bills: tuple[Bill, ...] = ()

    # What the recompute should have stored for a state above good standing.
    driver: int = 0  # which bill
    clock_after: int = 0  # days from the driver's finalisation to its clock
    attempt_count: int = 0
    is_waiting: bool = False  # next_retry_at is the driver's `retry_after`

    # The account, its subscription and its instrument.
    is_in_stripe: bool = True
    account_status: str = "active"
    sub_status: str | None = "active"
    sub_ended_after: int | None = None
    pause_collection: str | None = None
    has_second_subscription: bool = False
    is_free: bool = False
    has_access: bool | None = None  # null: by state
    instrument: Instrument = "any"
    has_instrument: bool = True
    is_expired: bool = False
    instrument_after: int | None = None  # a new one, so many days after the bill
    mandate: str = "active"
    currencies: tuple[str, ...] | None = None
    history: bool = True  # earlier invoices, all paid
    is_exempt: bool = False
    hold: tuple[int, int | None] | None = None  # from and until, in days after the bill
    is_child: bool = False
