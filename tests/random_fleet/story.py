"""What becomes of a random invoice: when it is finalized, how it ends, and how little or much of that a store kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.random_fleet.chances import AMOUNTS, CURRENCIES, UNCOLLECTIBLE_REASONS

if TYPE_CHECKING:
    from tests.random_fleet.account import Maker

Row = dict[str, Any]


class Story:
    """The life of one invoice: when it was finalized, and what became of it."""

    def __init__(self, maker: Maker) -> None:
        rng = maker.rng
        self.status = rng.choice(("open",) * 9 + ("paid",) * 5 + ("uncollectible",) * 3 + ("void", "draft"))
        self.is_sent = maker.chance(0.2)
        self.currency = rng.choice(CURRENCIES)
        self.amount_due = rng.choice(AMOUNTS)
        self.billing_reason = rng.choice(
            ("subscription_create", "subscription_cycle", "subscription_cycle", "subscription_update", "manual")
        )
        self.finalized_at = maker.later() if maker.chance(0.02) else maker.past(maker.days_ago())
        self.created_at = self.finalized_at - rng.choice((timedelta(0), timedelta(hours=1), timedelta(days=1)))
        self.settled_at = maker.since(self.finalized_at, late=0.12)
        self.due_at = self._due_at(maker) if self.is_sent else None
        self.uncollectible_reason = rng.choice(UNCOLLECTIBLE_REASONS) if self.status == "uncollectible" else None
        self.is_undated = maker.chance(0.03)
        self.was_uncollectible_at = self.finalized_at if self.status == "paid" and maker.chance(0.05) else None
        self.was_paid_at = self.finalized_at if self.status == "void" and maker.chance(0.2) else None

    def _due_at(self, maker: Maker) -> datetime | None:
        if maker.chance(0.03):
            return None
        return maker.at(maker.rng.choice((maker.days_ago(), maker.days_ago(), 0, 0, -1, -2, -12)))

    def transitions(self) -> Row:
        """The instants that decide the status as of T; now and then a store has kept none of them."""
        if self.is_undated:
            return {}
        return {
            "finalized_at": None if self.status == "draft" else self.finalized_at,
            "paid_at": self.settled_at if self.status == "paid" else self.was_paid_at,
            "voided_at": self.settled_at if self.status == "void" else None,
            "uncollectible_at": self.settled_at if self.status == "uncollectible" else self.was_uncollectible_at,
        }

    @property
    def collection_method(self) -> str:
        return "send_invoice" if self.is_sent else "charge_automatically"
