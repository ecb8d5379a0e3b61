"""The two views of an account's money: its Stripe invoices and its internal ones, each worked out as of T.

The Stripe view takes the invoices of the customers that map to the account; the internal view takes billing_prod's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.model import attempts, holds, money, payment_method
from tests.model.attempts import Attempt
from tests.model.calendar import Span
from tests.model.facts import Facts, Row
from tests.model.invoice import Invoice


def stripe_view(
    facts: Facts, account_id: str, customer_ids: set[str], policy: Any, timezone: str
) -> dict[str, Invoice]:
    """Stripe id → invoice, of the account's customers."""
    rows = [row for customer in sorted(customer_ids) for row in facts.stripe_invoices_of_customer[customer]]
    tried = {row["invoice_id"]: attempts.stripe_attempts(facts, row["invoice_id"], policy) for row in rows}
    of_account = [attempt for some in tried.values() for attempt in some]
    return {
        row["invoice_id"]: _stripe_invoice(
            facts, account_id, row, tried[row["invoice_id"]], of_account, policy, timezone
        )
        for row in rows
    }


def internal_view(
    facts: Facts, account_id: str, stripe: dict[str, Invoice], policy: Any, timezone: str
) -> list[Invoice]:
    """billing_prod's invoices; the Stripe view of the same invoice, if there is one, says if it is retryable."""
    return [
        _internal_invoice(facts, account_id, row, stripe.get(row["stripe_invoice_id"]), policy, timezone)
        for row in facts.invoices_of_account[account_id]
    ]


def _stripe_invoice(
    facts: Facts,
    account_id: str,
    row: Row,
    tried: list[Attempt],
    tried_on_account: list[Attempt],
    policy: Any,
    timezone: str,
) -> Invoice:
    invoice_id = row["invoice_id"]
    subscription = facts.subscriptions.get(row["subscription_id"])
    worth = money.stripe_money(facts, row, policy)
    invoice = Invoice(
        row=row,
        money=worth,
        owed=money.is_owed(worth, row, subscription, policy, livemode=row["livemode"]),
        attempts=tried,
        instrument=payment_method.effective(facts, row, subscription, tried_on_account),
        subscription=subscription,
        holds=_holds(facts, account_id, timezone),
        disputes=holds.dispute_spans(facts, money.stripe_disputes(facts, invoice_id), policy, timezone),
        flights=holds.stripe_flight_spans(facts, invoice_id, policy, timezone),
        notice_sent_at=_notice_sent_at(facts, account_id),
        facts=facts,
        policy=policy,
        timezone=timezone,
        stripe_row=row,
    )
    invoice.collected_by = invoice
    return invoice


def _internal_invoice(
    facts: Facts, account_id: str, row: Row, counterpart: Invoice | None, policy: Any, timezone: str
) -> Invoice:
    invoice_id = row["invoice_id"]
    subscription = facts.subscriptions.get(row["stripe_subscription_id"])
    worth = money.internal_money(facts, row, policy)
    tried = attempts.internal_attempts(facts, invoice_id, policy)
    return Invoice(
        row=row,
        money=worth,
        owed=money.is_owed(worth, row, subscription, policy, livemode=policy.livemode),  # internal rows have no mode
        attempts=tried,
        instrument=counterpart.instrument if counterpart else payment_method.outside_stripe(tried),
        subscription=subscription,
        holds=_holds(facts, account_id, timezone),
        disputes=holds.dispute_spans(facts, money.internal_disputes(facts, invoice_id), policy, timezone),
        flights=holds.internal_flight_spans(facts, invoice_id, policy, timezone),
        notice_sent_at=_notice_sent_at(facts, account_id),
        facts=facts,
        policy=policy,
        timezone=timezone,
        stripe_row=counterpart.row if counterpart else None,
        collected_by=counterpart,
    )


def _holds(facts: Facts, account_id: str, timezone: str) -> list[Span]:
    return holds.hold_spans(facts, facts.flags.get(account_id), timezone)


def _notice_sent_at(facts: Facts, account_id: str) -> datetime | None:
    stored = facts.stored_dunning.get(account_id)
    return facts.past(stored["final_notice_sent_at"]) if stored else None
