"""Rules: which values a column of a store may hold, as data.

Enumerations are those of the stores' contract; for Stripe's objects they are Stripe's own (read from the SDK 16.1, API
2026-10-28.endive). A null is a violation only where the engine or a finding needs the value: a column that nobody reads
may be empty. Keys and instants are not written out here, since every table has them: each key must be there and every
instant must lie between 1970 and 2200.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import polars as pl

from trueup.contract import vocabulary
from trueup.contract.as_of import status_at
from trueup.contract.currencies import CURRENCIES
from trueup.contract.schemas import STATES, TABLES
from trueup.contract.timezones import TIMEZONES

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)

# No invoice is for more than this, and thousands of them still add up below what 64 bits hold.
LARGEST_MINOR: Final = 10**15


class Rule(NamedTuple):
    """One thing that a row must not be: the column, the rule's stable id, and whether a row is so (never null)."""

    column: str
    id: str
    is_violated: pl.Expr
    is_harmless: bool = False  # the row can be used as it is; it is only reported

    @property
    def sentence(self) -> str:
        """The rule in words; the words may change, the id does not."""
        return SENTENCES[self.id]


NO_DUE_DATE: Final = "due_date_missing"
"""The one rule whose broken row is left as it is: it is reported, and nothing is hidden by it."""

UNREADABLE: Final = "unreadable_value"
DUPLICATE_KEY: Final = "duplicate_key"

SENTENCES: Final[dict[str, str]] = {
    "key_missing": "the key is missing",
    "value_missing": "the value is missing",
    "unknown_value": "not a value of this column",
    "unknown_currency": "no such currency (lower-case ISO 4217)",
    "unknown_timezone": "no such timezone (IANA)",
    "negative_amount": "a negative amount",
    "amount_too_large": "an amount beyond 10^15 minor units",
    "number_out_of_range": "a number outside the range of this column",
    "instant_out_of_range": "an instant outside 1970 to 2200",
    NO_DUE_DATE: "an open or uncollectible send_invoice without due date",
    UNREADABLE: "a value that no frame can hold",
    DUPLICATE_KEY: "several rows have this key",
}
"""Rule id → the rule in words. Violations, metrics and Great Expectations suites name the id."""


def rules_of(table: str, as_of: datetime | None) -> list[Rule]:
    """Every rule of the table. `as_of` dates the status that the due-date rule looks at; None takes the stored one."""
    return [
        *(Rule(column, "key_missing", pl.col(column).is_null()) for column in TABLES[table].key),
        *_RULES.get(table, ()),
        *_instants(table),
        *([_due_date(as_of)] if table in _WITH_DUE_DATE else []),
    ]


def _one_of(column: str, values: Iterable[str], *, or_null: bool = False) -> Rule:
    known = pl.col(column).is_in(sorted(values)).fill_null(value=or_null)
    return Rule(column, "unknown_value", ~known)


def _needed(*columns: str) -> list[Rule]:
    return [Rule(column, "value_missing", pl.col(column).is_null()) for column in columns]


def _money(*columns: str, or_null: bool = False) -> list[Rule]:
    rules = []
    for column in columns:
        amount = pl.col(column)
        rules.append(Rule(column, "negative_amount", (amount < 0).fill_null(value=False)))
        rules.append(Rule(column, "amount_too_large", (amount > LARGEST_MINOR).fill_null(value=False)))
        if not or_null:
            rules += _needed(column)
    return rules


def _currency(*, or_null: bool = False) -> Rule:
    known = pl.col("currency").is_in(sorted(CURRENCIES)).fill_null(value=or_null)
    return Rule("currency", "unknown_currency", ~known)


def _timezone() -> Rule:
    known = pl.col("timezone").is_in(sorted(TIMEZONES)).fill_null(value=True)
    return Rule("timezone", "unknown_timezone", ~known)


def _between(column: str, low: int, high: int) -> Rule:
    inside = pl.col(column).is_between(low, high).fill_null(value=True)
    return Rule(column, "number_out_of_range", ~inside)


def _instants(table: str) -> list[Rule]:
    """Every instant and date of the table lies in a span that calendars can compute with."""
    rule_id = "instant_out_of_range"
    rules = []
    for column, dtype in TABLES[table].columns.items():
        if isinstance(dtype, pl.Datetime):
            rules.append(Rule(column, rule_id, _is_outside(pl.col(column), EARLIEST, LATEST).fill_null(value=False)))
        elif isinstance(dtype, pl.Date):
            outside = _is_outside(pl.col(column), EARLIEST.date(), LATEST.date())
            rules.append(Rule(column, rule_id, outside.fill_null(value=False)))
        elif isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Datetime):
            outside = pl.col(column).list.eval(_is_outside(pl.element(), EARLIEST, LATEST)).list.any()
            rules.append(Rule(column, rule_id, outside.fill_null(value=False)))
    return rules


def _is_outside(value: pl.Expr, low: object, high: object) -> pl.Expr:
    return (value < pl.lit(low)) | (value > pl.lit(high))


def _due_date(as_of: datetime | None) -> Rule:
    """A sent invoice that waits for money without saying until when. The row stays: the engine gives it no clock."""
    status = pl.col("status") if as_of is None else status_at(as_of)
    waits = status.is_in(["open", "uncollectible"]) & (pl.col("collection_method") == "send_invoice")
    is_violated = waits.fill_null(value=False) & pl.col("due_at").is_null()
    return Rule("due_at", NO_DUE_DATE, is_violated, is_harmless=True)


_WITH_DUE_DATE: Final = ("invoices", "stripe_invoices")

_RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "accounts": (
        _one_of("status", ("active", "suspended", "closed")),
        _currency(or_null=True),
        _timezone(),
    ),
    "entitlements": (*_needed("active"),),
    "products": (_one_of("interval", ("month", "year"), or_null=True), *_money("amount"), _currency(or_null=True)),
    "invoices": (
        *_needed("account_id"),
        _one_of(
            "billing_reason",
            ("subscription_create", "subscription_cycle", "subscription_update", "manual"),
            or_null=True,
        ),
        _one_of("status", vocabulary.INVOICE_STATUSES),
        _one_of("uncollectible_reason", vocabulary.UNCOLLECTIBLE_REASONS, or_null=True),
        _one_of("collection_method", vocabulary.COLLECTION_METHODS),
        _currency(),
        *_money("amount_due", "amount_paid"),
    ),
    "charges": (
        *_needed("account_id", "attempted_at"),
        *_money("amount", "amount_refunded"),
        _currency(),
        _one_of("status", vocabulary.CHARGE_STATUSES),
        _one_of("trigger", ("initial", "scheduled", "manual", "payment_method_update")),
    ),
    "credit_notes": (*_money("amount"),),
    "dunning_states": (_one_of("state", STATES),),
    "schedules": (_one_of("owner", ("internal", "stripe")), _one_of("status", ("scheduled", "done", "canceled"))),
    "subs_account": (*_needed("bad_debt", "dunning_exempt"), _one_of("updated_by", ("A1", "A3"), or_null=True)),
    "subs_customer": (
        *_needed("account_id", "stripe_customer_id", "livemode"),
        _one_of("created_by", ("A1", "A2"), or_null=True),
    ),
    "subs_dunning": (_one_of("state", STATES),),
    "subs_mandate": (
        *_needed("stripe_mandate_id", "stripe_payment_method_id"),
        _one_of("status", vocabulary.MANDATE_STATUSES),
        _one_of("network_status", vocabulary.NETWORK_STATUSES, or_null=True),
    ),
    "subs_stuck_events": (*_needed("received_at"), _one_of("status", ("pending", "stuck", "resolved", "dead"))),
    "stripe_payment_methods": (_between("exp_month", 1, 12), _between("exp_year", 1970, 2200)),
    "stripe_subscriptions": (
        _one_of("status", vocabulary.SUBSCRIPTION_STATUSES),
        _one_of("collection_method", vocabulary.COLLECTION_METHODS, or_null=True),
        _one_of("pause_collection", ("keep_as_draft", "mark_uncollectible", "void"), or_null=True),
    ),
    "stripe_invoices": (
        _one_of("status", vocabulary.INVOICE_STATUSES),
        _one_of(
            "billing_reason",
            (
                "automatic_pending_invoice_item_invoice",
                "manual",
                "quote_accept",
                "subscription",
                "subscription_create",
                "subscription_cycle",
                "subscription_threshold",
                "subscription_update",
                "upcoming",
            ),
            or_null=True,
        ),
        _one_of("uncollectible_reason", vocabulary.UNCOLLECTIBLE_REASONS, or_null=True),
        _one_of("collection_method", vocabulary.COLLECTION_METHODS),
        _currency(),
        *_money("amount_due", "amount_remaining"),
        *_money("amount_paid", or_null=True),
    ),
    "stripe_invoice_payments": (
        _one_of("status", ("open", "paid", "canceled")),
        _currency(or_null=True),
        *_money("amount_paid", "amount_requested", or_null=True),
    ),
    "stripe_payment_intents": (
        _one_of(
            "status",
            (
                "canceled",
                "processing",
                "requires_action",
                "requires_capture",
                "requires_confirmation",
                "requires_payment_method",
                "succeeded",
            ),
        ),
        *_money("amount", or_null=True),
        _currency(or_null=True),
    ),
    "stripe_charges": (
        *_needed("created_at"),
        _one_of("status", vocabulary.CHARGE_STATUSES),
        *_money("amount"),
        *_money("amount_refunded", or_null=True),
        _currency(),
    ),
    "stripe_refunds": (
        _one_of("status", ("pending", "requires_action", "succeeded", "failed", "canceled"), or_null=True),
        *_money("amount"),
        _currency(or_null=True),
    ),
    "stripe_disputes": (
        *_needed("created_at"),
        _one_of("status", vocabulary.DISPUTE_STATUSES),
        *_money("amount"),
        _currency(or_null=True),
    ),
    "stripe_credit_notes": (
        _one_of("status", ("issued", "void")),
        *_money("amount", "post_payment_amount", "pre_payment_amount", or_null=True),
        _currency(or_null=True),
    ),
    "stripe_mandates": (
        _one_of("status", vocabulary.MANDATE_STATUSES),
        _one_of("network_status", vocabulary.NETWORK_STATUSES, or_null=True),
    ),
}
