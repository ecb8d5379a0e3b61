"""The frames that the engine takes: one per table or object list of the six stores, with exact columns and types.

A snapshot is a mapping from table name to LazyFrame. Readers in `stores/` produce exactly these columns; rules in
this package may rely on them. Names follow the stores, with two conventions: an instant ends in `_at`, and an id says
what it identifies. Columns that hold personal data (`email`, `billing_email`, names, payloads) are not here, so they
are never read. What a value may be (enumerations, signs, currencies) is the business of `contract.py`, not of this
file: these are the types in which even a wrong row can be held.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import polars as pl

INSTANT: Final = pl.Datetime("us", "UTC")
TEXT: Final = pl.String()
COUNT: Final = pl.Int64()
MONEY: Final = pl.Int64()  # minor units of the row's currency
FLAG: Final = pl.Boolean()

STATES: Final = ("good_standing", "grace", "retrying", "final_notice", "suspended", "bad_debt")
DunningState: Final = pl.Enum(STATES)

STORES: Final = ("cf_prod", "billing_prod", "subs_account", "subs_customer", "subs_dunning", "stripe")

Snapshot = Mapping[str, pl.LazyFrame]
"""Table name → its rows, with the columns of `TABLES[name]`."""


class Table(NamedTuple):
    """One table or object list: the store it belongs to, its key, and its columns."""

    store: str
    key: tuple[str, ...]
    columns: dict[str, pl.DataType]

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema(self.columns)


# Rows of PostgreSQL also carry what every internal row has: the instant and the version of its last write, and
# `unreadable`: the names, joined by commas, of columns whose value no frame can hold (an infinite instant, say) and
# which therefore read as null. It is null on a sound row.
_ROW: Final[dict[str, pl.DataType]] = {"updated_at": INSTANT, "version": COUNT, "unreadable": TEXT}

TABLES: Final[dict[str, Table]] = {
    # 1. cf_prod
    "accounts": Table(
        "cf_prod",
        ("account_id",),
        {
            "account_id": TEXT,
            "country": TEXT,
            "currency": TEXT,
            "timezone": TEXT,
            "status": TEXT,
            "plan_code": TEXT,
            "parent_account_id": TEXT,
            "created_at": INSTANT,
            **_ROW,
        },
    ),
    "entitlements": Table(
        "cf_prod",
        ("account_id", "feature"),
        {
            "account_id": TEXT,
            "feature": TEXT,
            "active": FLAG,
            "granted_at": INSTANT,
            "revoked_at": INSTANT,
            **_ROW,
        },
    ),
    "products": Table(
        "cf_prod",
        ("plan_code",),
        {
            "plan_code": TEXT,
            "amount": MONEY,
            "currency": TEXT,
            "interval": TEXT,
            "features": pl.List(pl.String()),
            **_ROW,
        },
    ),
    # 2. billing_prod
    "invoices": Table(
        "billing_prod",
        ("invoice_id",),
        {
            "invoice_id": TEXT,
            "account_id": TEXT,
            "stripe_invoice_id": TEXT,
            "stripe_subscription_id": TEXT,
            "billing_reason": TEXT,
            "status": TEXT,
            "uncollectible_reason": TEXT,
            "collection_method": TEXT,
            "currency": TEXT,
            "amount_due": MONEY,
            "amount_paid": MONEY,
            "attempt_count": COUNT,
            "due_at": INSTANT,
            "finalized_at": INSTANT,
            "paid_at": INSTANT,
            "voided_at": INSTANT,
            "uncollectible_at": INSTANT,
            "effective_at": INSTANT,
            **_ROW,
        },
    ),
    "charges": Table(
        "billing_prod",
        ("charge_id",),
        {
            "charge_id": TEXT,
            "account_id": TEXT,
            "invoice_id": TEXT,
            "stripe_charge_id": TEXT,
            "amount": MONEY,
            "amount_refunded": MONEY,
            "currency": TEXT,
            "status": TEXT,
            "trigger": TEXT,
            "decline_code": TEXT,
            "advice_code": TEXT,
            "attempted_at": INSTANT,
            "effective_at": INSTANT,
            **_ROW,
        },
    ),
    "credit_notes": Table(
        "billing_prod",
        ("credit_note_id",),
        {"credit_note_id": TEXT, "invoice_id": TEXT, "amount": MONEY, "created_at": INSTANT, **_ROW},
    ),
    "dunning_states": Table("billing_prod", ("account_id",), {"account_id": TEXT, "state": TEXT, **_ROW}),
    "schedules": Table(
        "billing_prod",
        ("schedule_id",),
        {
            "schedule_id": TEXT,
            "account_id": TEXT,
            "invoice_id": TEXT,
            "attempt_number": COUNT,
            "retry_at": INSTANT,
            "owner": TEXT,
            "status": TEXT,
            **_ROW,
        },
    ),
    # 3. subs_account
    "subs_account": Table(
        "subs_account",
        ("account_id",),
        {
            "account_id": TEXT,
            "bad_debt": FLAG,
            "dunning_exempt": FLAG,
            "hold_from": INSTANT,
            "hold_until": INSTANT,
            "updated_by": TEXT,
            **_ROW,
        },
    ),
    # 4. subs_customer
    "subs_customer": Table(
        "subs_customer",
        ("id",),
        {
            "id": COUNT,
            "account_id": TEXT,
            "stripe_customer_id": TEXT,
            "livemode": FLAG,
            "created_by": TEXT,
            "created_at": INSTANT,
            **_ROW,
        },
    ),
    # 5. subs_dunning and its companions
    "subs_dunning": Table(
        "subs_dunning",
        ("account_id",),
        {
            "account_id": TEXT,
            "state": TEXT,
            "attempt_count": COUNT,
            "clock_started_on": pl.Date(),
            "next_retry_at": INSTANT,
            "driver_invoice_id": TEXT,
            "reason": TEXT,
            "policy_version": TEXT,
            "final_notice_sent_at": INSTANT,
            "computed_at": INSTANT,
            **_ROW,
        },
    ),
    "subs_mandate": Table(
        "subs_dunning",
        ("mandate_id",),
        {
            "mandate_id": TEXT,
            "account_id": TEXT,
            "stripe_mandate_id": TEXT,
            "stripe_payment_method_id": TEXT,
            "type": TEXT,
            "status": TEXT,
            "network_status": TEXT,
            **_ROW,
        },
    ),
    "subs_stuck_events": Table(
        "subs_dunning",
        ("event_id",),
        {
            "event_id": TEXT,
            "account_id": TEXT,
            "type": TEXT,
            "sequence": COUNT,
            "is_well_formed": FLAG,  # payload is an object with `type` and an object at `data.object`; else quarantined
            "object_id": TEXT,  # payload → data.object.id: what the event is about
            "status": TEXT,
            "attempts": COUNT,
            "received_at": INSTANT,
            "resolved_at": INSTANT,
            **_ROW,
        },
    ),
    # 6. Stripe
    "stripe_customers": Table(
        "stripe",
        ("customer_id",),
        {
            "customer_id": TEXT,
            "created_at": INSTANT,
            "livemode": FLAG,
            "is_deleted": FLAG,  # answered a retrieve as deleted; a customer that Stripe does not know has no row
            "metadata_account_id": TEXT,
            "default_payment_method_id": TEXT,  # invoice_settings.default_payment_method
            "default_source_id": TEXT,
        },
    ),
    "stripe_payment_methods": Table(  # those that a customer, subscription or invoice names as its default
        "stripe",
        ("payment_method_id",),
        {
            "payment_method_id": TEXT,
            "customer_id": TEXT,
            "type": TEXT,
            "created_at": INSTANT,
            "exp_month": COUNT,
            "exp_year": COUNT,
        },
    ),
    "stripe_subscriptions": Table(
        "stripe",
        ("subscription_id",),
        {
            "subscription_id": TEXT,
            "customer_id": TEXT,
            "status": TEXT,
            "created_at": INSTANT,
            "ended_at": INSTANT,
            "canceled_at": INSTANT,
            "livemode": FLAG,
            "collection_method": TEXT,
            "pause_collection": TEXT,  # its behavior; null when collection is not paused
            "default_payment_method_id": TEXT,
            "default_source_id": TEXT,
            "price_ids": pl.List(pl.String()),
        },
    ),
    "stripe_invoices": Table(
        "stripe",
        ("invoice_id",),
        {
            "invoice_id": TEXT,
            "customer_id": TEXT,
            "subscription_id": TEXT,  # parent.subscription_details.subscription
            "status": TEXT,
            "billing_reason": TEXT,
            "collection_method": TEXT,
            "currency": TEXT,
            "amount_due": MONEY,
            "amount_paid": MONEY,
            "amount_remaining": MONEY,
            "attempt_count": COUNT,
            "attempted": FLAG,
            "auto_advance": FLAG,
            "created_at": INSTANT,
            "due_at": INSTANT,
            "effective_at": INSTANT,
            "finalized_at": INSTANT,
            "paid_at": INSTANT,
            "voided_at": INSTANT,
            "uncollectible_at": INSTANT,
            "uncollectible_reason": TEXT,  # status_details.uncollectible.reason
            "next_payment_attempt_at": INSTANT,
            "default_payment_method_id": TEXT,
            "default_source_id": TEXT,
            "livemode": FLAG,
            "metadata_invoice_id": TEXT,
            "billed_periods": pl.List(pl.String()),  # `lines` but prorations: subscription item @ Unix second it begins
        },
    ),
    "stripe_invoice_payments": Table(
        "stripe",
        ("invoice_payment_id",),
        {
            "invoice_payment_id": TEXT,
            "invoice_id": TEXT,
            "status": TEXT,
            "amount_paid": MONEY,
            "amount_requested": MONEY,
            "currency": TEXT,
            "created_at": INSTANT,
            "paid_at": INSTANT,
            "canceled_at": INSTANT,
            "payment_type": TEXT,
            "payment_intent_id": TEXT,
            "charge_id": TEXT,
            "livemode": FLAG,
        },
    ),
    "stripe_payment_intents": Table(
        "stripe",
        ("payment_intent_id",),
        {
            "payment_intent_id": TEXT,
            "customer_id": TEXT,
            "status": TEXT,
            "amount": MONEY,
            "currency": TEXT,
            "created_at": INSTANT,
            "latest_charge_id": TEXT,
            "payment_method_id": TEXT,
            "payment_method_type": TEXT,  # payment_method_types, when it has just one
            "livemode": FLAG,
        },
    ),
    "stripe_charges": Table(
        "stripe",
        ("charge_id",),
        {
            "charge_id": TEXT,
            "customer_id": TEXT,
            "payment_intent_id": TEXT,
            "status": TEXT,
            "amount": MONEY,
            "amount_refunded": MONEY,
            "currency": TEXT,
            "created_at": INSTANT,
            "payment_method_id": TEXT,
            "payment_method_type": TEXT,  # payment_method_details.type
            "failure_code": TEXT,
            "decline_code": TEXT,  # outcome.reason
            "advice_code": TEXT,  # outcome.advice_code
            "network_advice_code": TEXT,  # outcome.network_advice_code
            "livemode": FLAG,
        },
    ),
    "stripe_refunds": Table(
        "stripe",
        ("refund_id",),
        {
            "refund_id": TEXT,
            "charge_id": TEXT,
            "payment_intent_id": TEXT,
            "status": TEXT,
            "amount": MONEY,
            "currency": TEXT,
            "created_at": INSTANT,
        },
    ),
    "stripe_disputes": Table(
        "stripe",
        ("dispute_id",),
        {
            "dispute_id": TEXT,
            "charge_id": TEXT,
            "payment_intent_id": TEXT,
            "status": TEXT,
            "amount": MONEY,
            "currency": TEXT,
            "created_at": INSTANT,
            "balance_transaction_ats": pl.List(INSTANT),  # `created` of balance_transactions, in the order given
            "livemode": FLAG,
        },
    ),
    "stripe_credit_notes": Table(
        "stripe",
        ("credit_note_id",),
        {
            "credit_note_id": TEXT,
            "invoice_id": TEXT,
            "customer_id": TEXT,
            "status": TEXT,
            "amount": MONEY,
            "post_payment_amount": MONEY,
            "pre_payment_amount": MONEY,
            "currency": TEXT,
            "created_at": INSTANT,
            "effective_at": INSTANT,
            "voided_at": INSTANT,
            "livemode": FLAG,
        },
    ),
    "stripe_mandates": Table(  # by id: the ones that subs_mandate names
        "stripe",
        ("mandate_id",),
        {
            "mandate_id": TEXT,
            "payment_method_id": TEXT,
            "payment_method_type": TEXT,  # payment_method_details.type
            "status": TEXT,
            "network_status": TEXT,  # payment_method_details.bacs_debit.network_status
            "accepted_at": INSTANT,  # customer_acceptance.accepted_at
            "livemode": FLAG,
        },
    ),
    "stripe_events": Table(
        "stripe",
        ("event_id",),
        {
            "event_id": TEXT,
            "type": TEXT,
            "created_at": INSTANT,
            "object_id": TEXT,  # data.object.id
            "customer_id": TEXT,  # data.object.customer, or data.object.id of a customer event
            "livemode": FLAG,
        },
    ),
}

# One row per account: the engine's answer. The order is that of `desired.parquet`.
DESIRED: Final[dict[str, pl.DataType]] = {
    "account_id": TEXT,
    "state": DunningState,
    "quality": pl.Enum(["determinate", "indeterminate"]),
    "reasons": pl.List(pl.String()),
    "driver_invoice_id": TEXT,
    "clock_started_on": pl.Date(),
    "age_days": COUNT,
    "attempt_count": COUNT,
    "attempts_allowed": COUNT,
    "is_retryable": FLAG,
    "next_retry_at": INSTANT,
    "next_change_on": pl.Date(),
    "bad_debt": FLAG,
    "has_access": FLAG,
    "outstanding_minor": pl.List(pl.Struct({"currency": pl.String(), "amount": pl.Int64()})),
    "internal_state": DunningState,
    "policy_version": TEXT,
    "input_hash": TEXT,
}

# One row per account, code and object: a disagreement. The columns up to `at_stake_currency` are those of
# docs/contract/FINDINGS.md.
FINDINGS: Final[dict[str, pl.DataType]] = {
    "account_id": TEXT,
    "code": TEXT,
    "severity": TEXT,  # S1, S2, S3, S4, none
    "stores": pl.List(pl.String()),
    "object_id": TEXT,
    "observed": TEXT,  # JSON object: what each store says
    "desired": TEXT,  # JSON: what the engine decides, null where it does not
    "owner": TEXT,
    "caused_by": TEXT,
    "is_root": FLAG,
    "first_seen_at": INSTANT,
    "seen_count": COUNT,
    "event_ids": pl.List(pl.String()),
    "snapshot": TEXT,  # JSON object: store → the instant it was read
    "at_stake_minor": MONEY,  # what the disagreement is about, never below 0; null where nobody can say
    "at_stake_currency": TEXT,  # its currency; null with it
    "is_settling": FLAG,  # a row behind it was written too shortly before its reading: shown, not counted
    "is_suppressed": FLAG,  # a store it depends on is stale or partial: shown, not counted
}

# One row per column that is to change: the body of a plan. Values are JSON text, so that one column holds them all.
CHANGES: Final[dict[str, pl.DataType]] = {
    "change_id": TEXT,
    "account_id": TEXT,
    "store": TEXT,
    "table": TEXT,
    "key": TEXT,
    "column": TEXT,
    "before": TEXT,
    "after": TEXT,
    "row_version": COUNT,  # null: the row is to be inserted
    "codes": pl.List(pl.String()),
    "reason": TEXT,
    "event_ids": pl.List(pl.String()),
}


def empty(name: str) -> pl.DataFrame:
    """A frame of no rows with the columns of the named table."""
    return pl.DataFrame(schema=TABLES[name].schema)
