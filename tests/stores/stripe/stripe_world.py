"""A small world in Stripe, and how tests read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from trueup.contract.schemas import TABLES
from trueup.sandbox.stripe_api import StripeSandbox
from trueup.stores.settings import Settings
from trueup.stores.stripe import STRIPE_TABLES, RetryPolicy, read_stripe

SOON = RetryPolicy(attempts=3, wait_first_seconds=0.01, wait_max_seconds=0.02, timeout_seconds=10)
START = 1_700_000_000

Flat = dict[str, list[dict[str, Any]]]


def world(customers: int = 30, each: int = 9) -> Flat:
    """Customers with a card, a subscription, and invoices that were paid, some refunded or disputed."""
    mine = [f"cus_{n:03}" for n in range(customers)]
    bills = [(n, m, START + (n * each + m) * 3_600) for n in range(customers) for m in range(each)]
    return {
        "customers": [
            {
                "customer_id": name,
                "created_at": START + n,
                "metadata_account_id": f"acc_{n:03}",
                "default_payment_method_id": f"pm_{n:03}",
                "email": f"somebody-{n}@example.com",
            }
            for n, name in enumerate(mine)
        ],
        "payment_methods": [
            {
                "payment_method_id": f"pm_{n:03}",
                "customer_id": name,
                "exp_month": 3,
                "exp_year": 2031,
                "created_at": START,
            }
            for n, name in enumerate(mine)
        ],
        "subscriptions": [
            {
                "subscription_id": f"sub_{n:03}",
                "customer_id": name,
                "created_at": START + n,
                "status": "canceled" if n % 5 == 0 else "active",
                "default_payment_method_id": f"pm_{n:03}",
                "price_ids": ["price_a", "price_b"][: 1 + n % 2],
            }
            for n, name in enumerate(mine)
        ],
        "invoices": [
            {
                "invoice_id": f"in_{n:03}_{m}",
                "customer_id": mine[n],
                "subscription_id": f"sub_{n:03}",
                "created_at": at,
                "status": "paid",
                "amount_due": 1000,
                "amount_paid": 1000,
                "finalized_at": at,
                "paid_at": at + 60,
                "metadata_invoice_id": f"i-{n}-{m}",
            }
            for n, m, at in bills
        ],
        "invoice_payments": [
            {
                "invoice_payment_id": f"inpay_{n:03}_{m}",
                "invoice_id": f"in_{n:03}_{m}",
                "payment_intent_id": f"pi_{n:03}_{m}",
                "created_at": at,
                "amount_paid": 1000,
            }
            for n, m, at in bills
        ],
        "payment_intents": [
            {
                "payment_intent_id": f"pi_{n:03}_{m}",
                "customer_id": mine[n],
                "created_at": at,
                "latest_charge_id": f"ch_{n:03}_{m}",
                "payment_method_type": "card",
            }
            for n, m, at in bills
        ],
        "charges": [
            {
                "charge_id": f"ch_{n:03}_{m}",
                "customer_id": mine[n],
                "payment_intent_id": f"pi_{n:03}_{m}",
                "created_at": at,
                "amount": 1000,
                "payment_method_type": "card",
                "payment_method_id": f"pm_{n:03}",
            }
            for n, m, at in bills
        ],
        "refunds": [
            {"refund_id": f"re_{n:03}_{m}", "charge_id": f"ch_{n:03}_{m}", "created_at": at + 99, "amount": 10}
            for n, m, at in bills[::7]
        ],
        "disputes": [
            {"dispute_id": f"dp_{n:03}_{m}", "charge_id": f"ch_{n:03}_{m}", "created_at": at + 99, "status": "lost"}
            for n, m, at in bills[::20]
        ],
        "credit_notes": [
            {
                "credit_note_id": f"cn_{n:03}_{m}",
                "invoice_id": f"in_{n:03}_{m}",
                "customer_id": mine[n],
                "created_at": at + 99,
                "post_payment_amount": 10,
            }
            for n, m, at in bills[::11]
        ],
        "mandates": [{"mandate_id": "mandate_1", "payment_method_id": "pm_001", "payment_method_type": "sepa_debit"}],
        "events": [
            {
                "event_id": f"evt_{n:03}_{m}",
                "type": "charge.dispute.closed",
                "created_at": at + 999,
                "object_id": f"dp_{n:03}_{m}",
            }
            for n, m, at in bills[::20]
        ]
        + [{"event_id": "evt_paid", "type": "invoice.paid", "created_at": START, "object_id": "in_000_0"}],
    }


def settings_of(sandbox: StripeSandbox, **changed: Any) -> Settings:
    return Settings(
        stripe_api_key=changed.pop("key", sandbox.api_key),
        stripe_api_base=sandbox.base_url,
        stripe_concurrency=4,
        **changed,
    )


def read(
    sandbox: StripeSandbox, into: Path, customers: frozenset[str] | None = None, **more: Any
) -> dict[str, pl.DataFrame]:
    """Stripe as the reader brings it home: table → rows, sorted by key."""
    settings = more.pop("settings", None) or settings_of(sandbox)
    mandates, mapped = more.pop("mandate_ids", ()), more.pop("mapped_customer_ids", ())
    reads = read_stripe(
        settings, customers, mandates, mapped, into, retry_policy=more.pop("retry_policy", SOON), **more
    )
    assert list(reads) == STRIPE_TABLES
    return {name: one.scan().collect().sort(TABLES[name].key) for name, one in reads.items()}
