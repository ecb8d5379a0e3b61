"""A random invoice of billing_prod with its charges and credit notes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.random_fleet.chances import AMOUNTS, TRIGGERS
from tests.random_fleet.story import Story

if TYPE_CHECKING:
    from tests.random_fleet.account import Maker
    from tests.random_fleet.invoice import Invoice

Row = dict[str, Any]


class Ledger:
    """billing_prod's invoice and charges: a copy of Stripe's, true or drifted, or one that Stripe does not have."""

    def __init__(self, maker: Maker, stripe: Invoice | None = None) -> None:
        self.maker = maker
        self.rng = maker.rng
        self.fleet = maker.fleet
        self.stripe = stripe
        self.story = stripe.story if stripe and maker.chance(0.8) else Story(maker)
        self.invoice_id = stripe.internal_id if stripe else maker.new_id("inv")

    def make(self) -> None:
        if self.stripe is not None:
            for charge in self.stripe.charge_rows:
                if self.maker.chance(0.85):
                    self._copy_of(charge)
            paid = self.stripe.paid
        else:
            paid = self._own_charges()
        self._invoice(paid)
        for _ in range(self.rng.choice((0, 0, 1)) if self.story.status == "paid" else 0):
            self._credit_note()

    def _invoice(self, paid: int) -> None:
        maker, story = self.maker, self.story
        self.fleet.put(
            "invoices",
            invoice_id=self.invoice_id,
            account_id=maker.account_id,
            stripe_invoice_id=self._stripe_id(),
            stripe_subscription_id=self.stripe.subscription_id if self.stripe else maker.subscription(),
            billing_reason=story.billing_reason,
            status=story.status,
            uncollectible_reason=story.uncollectible_reason,
            collection_method=story.collection_method,
            currency=story.currency,
            amount_due=story.amount_due,
            amount_paid=paid if maker.chance(0.95) else self.rng.choice(AMOUNTS),
            attempt_count=0,
            due_at=story.due_at,
            **story.transitions(),
            effective_at=maker.later()
            if maker.chance(0.02)
            else self.rng.choice((story.created_at, story.finalized_at)),
            **maker._row(),  # noqa: SLF001 - one maker in two parts
        )

    def _stripe_id(self) -> str | None:
        if self.stripe is not None:
            return self.stripe.invoice_id
        return self.maker.new_id("in") if self.maker.chance(0.08) else None

    def _copy_of(self, charge: Row) -> None:
        twice = self.maker.chance(0.06)
        for _ in range(2 if twice else 1):
            self._charge(
                charge["created_at"],
                charge["status"],
                charge["amount"],
                charge.get("refunded_at"),
                stripe_charge_id=charge["charge_id"],
                amount_refunded=charge["amount_refunded"],
                decline_code=charge["decline_code"],
                advice_code=charge["advice_code"],
            )

    def _own_charges(self) -> int:
        story, maker = self.story, self.maker
        for _ in range(0 if story.is_sent else self.rng.choice((0, 1, 1, 2, 3, 4))):
            decline, advice = maker.codes()
            status = "pending" if maker.chance(0.05) else "failed"
            at = maker.since(story.finalized_at, late=0.05)
            self._charge(at, status, story.amount_due, decline_code=decline, advice_code=advice)
        if story.status != "paid" and maker.chance(0.85):
            return 0
        amount = self.rng.choice((story.amount_due, *AMOUNTS))
        refunded = min(amount, self.rng.choice((0, 0, amount, *AMOUNTS)))
        self._charge(story.settled_at, "succeeded", amount, amount_refunded=refunded)
        return amount

    def _charge(self, at: datetime, status: str, amount: int, refunded_at: datetime | None = None, **more: Any) -> None:
        maker = self.maker
        updated_at = maker.since(max(at, refunded_at or at), late=0.1)
        values = {"amount_refunded": 0, **more}
        self.fleet.put(
            "charges",
            charge_id=maker.new_id("c"),
            account_id=maker.account_id,
            invoice_id=self.invoice_id,
            amount=amount,
            currency=self.story.currency,
            status=status,
            trigger=self.rng.choice(TRIGGERS),
            attempted_at=at,
            effective_at=maker.later() if maker.chance(0.02) else at,
            updated_at=updated_at,
            version=1,
            **values,
        )

    def _credit_note(self) -> None:
        self.fleet.put(
            "credit_notes",
            credit_note_id=self.maker.new_id("icn"),
            invoice_id=self.invoice_id,
            amount=self.rng.choice(AMOUNTS),
            created_at=self.maker.since(self.story.settled_at, late=0.1),
            **self.maker._row(),  # noqa: SLF001 - one maker in two parts
        )
