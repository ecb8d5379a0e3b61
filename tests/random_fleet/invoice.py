"""A random Stripe invoice: payments, charges, refunds, disputes and credit notes, then billing_prod's copy of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.random_fleet.chances import AMOUNTS, DISPUTE_STATUSES, NETWORK_ADVICE
from tests.random_fleet.ledger import Ledger
from tests.random_fleet.story import Story

if TYPE_CHECKING:
    from tests.random_fleet.account import Maker

Row = dict[str, Any]


class Invoice:
    """A Stripe invoice with its payments, charges, refunds, disputes, credit notes, and billing_prod's copy of them."""

    def __init__(self, maker: Maker, customer_id: str) -> None:
        self.maker = maker
        self.rng = maker.rng
        self.fleet = maker.fleet
        self.customer_id = customer_id
        self.story = Story(maker)
        self.invoice_id = maker.new_id("in")
        self.internal_id = maker.new_id("inv")
        self.subscription_id = maker.subscription()
        self.charge_rows: list[Row] = []
        self.paid = 0

    def make(self) -> None:
        maker = self.maker
        if not self.story.is_sent or maker.chance(0.3):
            for _ in range(self.rng.choice((0, 1, 1, 1, 2))):
                self._payment()
        if maker.chance(0.1):
            self._shared_payment()
        if self.story.status == "paid" or maker.chance(0.1):
            self._success()
        self._invoice()
        for _ in range(self.rng.choice((0, 0, 0, 1, 2)) if self.story.status == "paid" else 0):
            self._credit_note()
        if not maker.chance(0.08):
            Ledger(self.maker, self).make()

    def _invoice(self) -> None:
        maker, story = self.maker, self.story
        remaining = max(0, story.amount_due - self.paid)
        self.fleet.put(
            "stripe_invoices",
            invoice_id=self.invoice_id,
            customer_id=self.customer_id,
            subscription_id=self.subscription_id,
            status=story.status,
            billing_reason=story.billing_reason,
            collection_method=story.collection_method,
            currency=story.currency,
            amount_due=story.amount_due,
            amount_paid=self.paid if maker.chance(0.95) else story.amount_due,
            amount_remaining=remaining if maker.chance(0.95) else story.amount_due,
            attempt_count=self.rng.randrange(4),
            attempted=maker.chance(0.8),
            auto_advance=self.rng.choice((True, True, True, True, None, False)),
            created_at=story.created_at,
            due_at=story.due_at,
            effective_at=None
            if story.status == "draft"
            else self.rng.choice((None, story.created_at, *[story.finalized_at] * 6)),
            **story.transitions(),
            uncollectible_reason=story.uncollectible_reason,
            next_payment_attempt_at=maker.later() if maker.chance(0.5) else None,
            default_payment_method_id=maker._slot(0.15),  # noqa: SLF001 - one maker in two parts
            default_source_id=maker._slot(0.05),  # noqa: SLF001 - as above
            livemode=maker.policy.livemode != maker.chance(0.04),
        )

    # Payments.

    def _payment(self) -> None:
        """Failed, pending or flying attempts under one payment intent, or charges on their own."""
        if self.maker.chance(0.15):
            for at in self._attempt_times():
                charge = self._charge(at, self._failed_or_pending(), None)
                self._invoice_payment(None, charge["charge_id"], "open", 0, at, None)
            return
        begun = self.maker.since(self.story.finalized_at, late=0.03)
        intent_id = self.maker.new_id("pi")
        times = [at for at in self._attempt_times() if at >= begun]
        charges = [self._charge(at, self._failed_or_pending(), intent_id) for at in times]
        self._intent(intent_id, begun, charges)
        if self.maker.chance(0.03) and charges:
            self._invoice_payment(None, charges[0]["charge_id"], "open", 0, begun, None)  # reached by two ways
        created_at = self.maker.later() if self.maker.chance(0.02) else begun
        self._invoice_payment(intent_id, None, self.rng.choice(("open", "open", "canceled")), 0, created_at, None)

    def _attempt_times(self) -> list[datetime]:
        tries = self.rng.randrange(self.maker.policy.attempts_allowed + 2)
        start = self.story.finalized_at
        times = sorted(self._attempt_time(start) for _ in range(min(tries, 4)))
        return [at + timedelta(microseconds=number) for number, at in enumerate(times)]  # one at a time

    def _attempt_time(self, start: datetime) -> datetime:
        if self.maker.chance(0.5):
            return self.maker.since(start, late=0.05)
        return start + timedelta(days=self.rng.choice((0, 0, *self.fleet.edges[:4])))

    def _failed_or_pending(self) -> str:
        return "pending" if self.maker.chance(0.06) else "failed"

    def _intent(self, intent_id: str, begun: datetime, charges: list[Row]) -> None:
        maker = self.maker
        method_id = maker.method()
        self.fleet.put(
            "stripe_payment_intents",
            payment_intent_id=intent_id,
            customer_id=self.customer_id,
            status=self.rng.choice(("requires_payment_method", "requires_action", "canceled", "processing")),
            amount=self.story.amount_due,
            currency=self.story.currency,
            created_at=begun,
            latest_charge_id=charges[-1]["charge_id"] if charges else None,
            payment_method_id=charges[-1]["payment_method_id"] if charges else method_id,
            payment_method_type=self._type_of(charges[-1]["payment_method_id"] if charges else method_id),
            livemode=maker.policy.livemode,
        )
        maker.intents.append((intent_id, "", begun))

    def _success(self) -> None:
        """The payment that settles the invoice, or a part of it; sometimes more than was due."""
        maker, story = self.maker, self.story
        is_settling = story.status == "paid"
        at = story.settled_at if is_settling else maker.since(story.finalized_at, late=0.15)
        amount = story.amount_due if is_settling and maker.chance(0.7) else self.rng.choice(AMOUNTS)
        parts = [amount // 2, amount - amount // 2] if maker.chance(0.15) else [amount]
        for part in parts:
            intent_id = None if maker.chance(0.2) else maker.new_id("pi")
            charge = self._charge(at, "succeeded", intent_id, part)
            if intent_id is not None:
                self.fleet.put(
                    "stripe_payment_intents",
                    payment_intent_id=intent_id,
                    customer_id=self.customer_id,
                    status="succeeded",
                    amount=part,
                    currency=story.currency,
                    created_at=at,
                    latest_charge_id=charge["charge_id"],
                    payment_method_id=charge["payment_method_id"],
                    payment_method_type=charge["payment_method_type"],
                    livemode=maker.policy.livemode,
                )
                maker.intents.append((intent_id, charge["charge_id"], at))
            created_at = min(at, maker.since(story.finalized_at, late=0.0))
            self._invoice_payment(intent_id, None if intent_id else charge["charge_id"], "paid", part, created_at, at)
            self._refunds(charge)
            self._disputes(charge)

    def _shared_payment(self) -> None:
        """A payment of an earlier invoice of the account that served this one as well."""
        if not self.maker.intents:
            return
        intent_id, charge_id, at = self.rng.choice(self.maker.intents)
        amount = self.rng.choice(AMOUNTS) if charge_id else 0
        self._invoice_payment(intent_id, None, "paid" if charge_id else "open", amount, at, at if charge_id else None)

    def _invoice_payment(
        self,
        intent_id: str | None,
        charge_id: str | None,
        status: str,
        amount: int,
        created_at: datetime,
        paid_at: datetime | None,
    ) -> None:
        self.paid += amount
        self.fleet.put(
            "stripe_invoice_payments",
            invoice_payment_id=self.maker.new_id("inpay"),
            invoice_id=self.invoice_id,
            status=status,
            amount_paid=amount if paid_at else None,
            amount_requested=self.story.amount_due,
            currency=self.story.currency,
            created_at=created_at,
            paid_at=paid_at,
            canceled_at=created_at if status == "canceled" else None,
            payment_type="payment_intent" if intent_id else "charge",
            payment_intent_id=intent_id,
            charge_id=charge_id,
            livemode=self.maker.policy.livemode,
        )

    def _charge(self, at: datetime, status: str, intent_id: str | None, amount: int | None = None) -> Row:
        maker = self.maker
        method_id = maker.method()
        decline, advice = maker.codes() if status == "failed" else (None, None)
        network = self.rng.choice(NETWORK_ADVICE) if status == "failed" else None
        row = {
            "charge_id": maker.new_id("ch"),
            "customer_id": self.customer_id,
            "payment_intent_id": intent_id,
            "status": status,
            "amount": self.story.amount_due if amount is None else amount,
            "amount_refunded": 0,
            "currency": self.story.currency,
            "created_at": at,
            "payment_method_id": method_id if maker.chance(0.97) else None,
            "payment_method_type": self._type_of(method_id),
            "failure_code": self.rng.choice((decline, decline, "card_declined", None)) if status == "failed" else None,
            "decline_code": decline,
            "advice_code": advice,
            "network_advice_code": network,
            "livemode": maker.policy.livemode,
        }
        self.fleet.put("stripe_charges", **row)
        self.charge_rows.append(row)
        return row

    def _type_of(self, method_id: str | None) -> str | None:
        """What the payment says of its instrument: nothing, now and then."""
        return None if self.maker.chance(0.05) else self.maker.methods.get(method_id)

    # What happens after a payment.

    def _refunds(self, charge: Row) -> None:
        for _ in range(self.rng.choice((0, 0, 1, 1, 2))):
            amount = min(charge["amount"] - charge["amount_refunded"], self.rng.choice((charge["amount"], *AMOUNTS)))
            status = self.rng.choice(("succeeded",) * 5 + ("failed", "pending", "canceled", "requires_action"))
            created_at = self.maker.since(charge["created_at"], late=0.15)
            if status == "succeeded":
                charge["amount_refunded"] += amount
                charge["refunded_at"] = max(charge.get("refunded_at", created_at), created_at)
            is_by_intent = charge["payment_intent_id"] is not None and self.maker.chance(0.1)
            self.fleet.put(
                "stripe_refunds",
                refund_id=self.maker.new_id("re"),
                charge_id=None if is_by_intent else charge["charge_id"],
                payment_intent_id=charge["payment_intent_id"],
                status=status,
                amount=amount,
                currency=charge["currency"],
                created_at=created_at,
            )

    def _disputes(self, charge: Row) -> None:
        if not self.maker.chance(0.3):
            return
        maker, rng = self.maker, self.rng
        dispute_id = maker.new_id("dp")
        status = rng.choice(DISPUTE_STATUSES)
        created_at = maker.since(charge["created_at"], late=0.08)
        movements = [created_at, maker.since(created_at), maker.since(created_at)]
        self.fleet.put(
            "stripe_disputes",
            dispute_id=dispute_id,
            charge_id=charge["charge_id"],
            payment_intent_id=charge["payment_intent_id"],
            status=status,
            amount=rng.choice((charge["amount"], charge["amount"], *AMOUNTS)),
            currency=charge["currency"],
            created_at=created_at,
            balance_transaction_ats=rng.choice((None, [], movements[:1], movements[:2], sorted(movements))),
            livemode=maker.policy.livemode,
        )
        if status in ("won", "lost", "warning_closed") and maker.chance(0.6):
            self._event("charge.dispute.closed", maker.since(created_at), dispute_id)
        if maker.chance(0.3):
            self._event("charge.dispute.updated", maker.since(created_at), dispute_id)

    def _event(self, kind: str, at: datetime, object_id: str) -> None:
        self.fleet.put(
            "stripe_events",
            event_id=self.maker.new_id("evt"),
            type=kind,
            created_at=at,
            object_id=object_id,
            customer_id=self.customer_id,
            livemode=self.maker.policy.livemode,
        )

    def _credit_note(self) -> None:
        maker = self.maker
        is_post_payment = maker.chance(0.8)
        amount = self.rng.choice(AMOUNTS)
        created_at = maker.since(self.story.settled_at, late=0.1)
        is_void = maker.chance(0.2)
        self.fleet.put(
            "stripe_credit_notes",
            credit_note_id=maker.new_id("cn"),
            invoice_id=self.invoice_id,
            customer_id=self.customer_id,
            status="void" if is_void else "issued",
            amount=amount,
            post_payment_amount=amount if is_post_payment else 0,
            pre_payment_amount=0 if is_post_payment else amount,
            currency=self.story.currency,
            created_at=created_at,
            effective_at=maker.since(created_at, late=0.05) if maker.chance(0.3) else None,
            voided_at=maker.since(created_at, late=0.3) if is_void and maker.chance(0.9) else None,
            livemode=maker.policy.livemode,
        )
