"""Lineage: which columns of which stores each column of an answer comes from.

Stored as data beside the assets, in groups named for the rule of docs/contract/DUNNING.md that reads them, so that one
can go from a suspended account back to the columns that suspended it. Dagster keeps it as column lineage, which the
pages of its open edition do not draw; so each column says it in its description too. A test holds it to the schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import dagster as dg
import polars as pl

from assets.stores import table_key
from trueup.contract.schemas import DESIRED, FINDINGS, TABLES

Columns = Mapping[str, tuple[str, ...]]  # table → its columns

IDENTITY: Final[Columns] = {
    "accounts": ("account_id", "parent_account_id", "timezone", "status"),
    "subs_customer": ("account_id", "stripe_customer_id", "livemode"),
    "stripe_customers": ("customer_id", "is_deleted"),
}
MONEY: Final[Columns] = {
    "stripe_invoices": (
        "status",
        "currency",
        "amount_due",
        "amount_remaining",
        "paid_at",
        "voided_at",
        "uncollectible_at",
    ),
    "stripe_invoice_payments": ("invoice_id", "amount_paid", "status", "paid_at"),
    "stripe_refunds": ("amount", "status", "created_at"),
    "stripe_disputes": ("amount", "status", "created_at"),
    "stripe_credit_notes": ("post_payment_amount", "status", "created_at"),
    "invoices": ("status", "currency", "amount_due", "amount_paid", "stripe_invoice_id"),
    "charges": ("amount", "amount_refunded", "status"),
    "credit_notes": ("amount", "created_at"),
}
CLOCK: Final[Columns] = {
    "accounts": ("timezone",),
    "stripe_invoices": ("finalized_at", "due_at", "collection_method"),
    "invoices": ("finalized_at", "due_at", "collection_method"),
    "stripe_charges": ("created_at", "status"),
    "charges": ("attempted_at", "status"),
}
HELD: Final[Columns] = {
    "subs_account": ("hold_from", "hold_until"),
    "stripe_disputes": ("created_at", "status", "balance_transaction_ats"),
    "stripe_events": ("type", "created_at", "object_id"),
    "stripe_payment_intents": ("status", "created_at"),
}
ATTEMPTS: Final[Columns] = {
    "stripe_charges": ("status", "failure_code", "decline_code", "advice_code", "network_advice_code", "created_at"),
    "charges": ("trigger", "status", "decline_code", "advice_code", "attempted_at"),
}
RETRYABLE: Final[Columns] = {
    "stripe_invoices": ("auto_advance", "default_payment_method_id", "default_source_id", "next_payment_attempt_at"),
    "stripe_subscriptions": ("status", "ended_at", "default_payment_method_id"),
    "stripe_customers": ("default_payment_method_id", "default_source_id"),
    "stripe_payment_methods": ("type", "created_at", "exp_month", "exp_year"),
    "stripe_mandates": ("status", "network_status", "accepted_at"),
    "subs_mandate": ("stripe_mandate_id", "stripe_payment_method_id"),
}
NOTICE: Final[Columns] = {"subs_dunning": ("final_notice_sent_at",)}
EXEMPT: Final[Columns] = {"subs_account": ("dunning_exempt",)}

RUNG: Final = (IDENTITY, MONEY, CLOCK, HELD, ATTEMPTS, RETRYABLE, NOTICE, EXEMPT)

DESIRED_FROM: Final[Mapping[str, tuple[Columns, ...]]] = {
    "account_id": ({"accounts": ("account_id",)},),
    "state": RUNG,
    "quality": RUNG,
    "reasons": RUNG,
    "driver_invoice_id": (*RUNG, {"stripe_invoices": ("invoice_id",), "invoices": ("invoice_id",)}),
    "clock_started_on": (CLOCK, MONEY),
    "age_days": (CLOCK, MONEY, HELD),
    "attempt_count": (ATTEMPTS,),
    "attempts_allowed": (),  # the policy's
    "is_retryable": (RETRYABLE, ATTEMPTS),
    "next_retry_at": (ATTEMPTS, RETRYABLE, HELD),
    "next_change_on": RUNG,
    "bad_debt": RUNG,
    "has_access": RUNG,
    "outstanding_minor": (MONEY,),
    "internal_state": (
        {"invoices": ("status", "amount_due", "amount_paid", "due_at"), "charges": ("status", "trigger")},
    ),
    "policy_version": (),  # the policy's
    "input_hash": RUNG,
}

COMPARED: Final[Columns] = {
    "subs_dunning": ("state", "attempt_count", "clock_started_on", "next_retry_at", "driver_invoice_id"),
    "subs_account": ("bad_debt", "dunning_exempt"),
    "dunning_states": ("state",),
    "schedules": ("retry_at", "owner", "status"),
    "entitlements": ("feature", "active"),
    "products": ("features",),
    "subs_mandate": ("status", "network_status"),
    "subs_stuck_events": ("status", "received_at"),
    "stripe_customers": ("metadata_account_id",),
    "stripe_subscriptions": ("status", "price_ids"),
}
FINDINGS_FROM: Final[Mapping[str, tuple[Columns, ...]]] = {
    "account_id": (IDENTITY,),
    "code": (*RUNG, COMPARED),
    "object_id": (
        {
            "invoices": ("invoice_id", "stripe_invoice_id"),
            "stripe_invoices": ("invoice_id",),
            "stripe_customers": ("customer_id",),
            "subs_stuck_events": ("event_id",),
        },
    ),
    "observed": (MONEY, COMPARED),
    "event_ids": ({"stripe_events": ("event_id",), "subs_stuck_events": ("event_id",)},),
}


def column_lineage(sources: Mapping[str, tuple[Columns, ...]]) -> dg.TableColumnLineage:
    """The same for Dagster: column → the columns of the stores' assets that it comes from."""
    return dg.TableColumnLineage({column: _dependencies(groups) for column, groups in sources.items() if groups})


def table_schema(columns: Mapping[str, pl.DataType], sources: Mapping[str, tuple[Columns, ...]]) -> dg.TableSchema:
    """The columns of an answer, each with its type and with where it comes from, which is said at length once."""
    first: dict[str, str] = {}
    described = []
    for name, dtype in columns.items():
        groups = sources.get(name)
        origin = None if groups is None else origin_of(groups)
        same_as = first.setdefault(origin, name) if origin and groups else name
        described.append(
            dg.TableColumn(name, str(dtype.base_type()), origin if same_as == name else f"As `{same_as}`.")
        )
    return dg.TableSchema(described)


def origin_of(groups: tuple[Columns, ...]) -> str:
    """Where a column comes from, in Markdown: a line per table, which leads to its asset."""
    if not groups:
        return "From the policy alone."
    columns: dict[str, list[str]] = {}
    for dependency in _dependencies(groups):
        columns.setdefault(dependency.asset_key.to_user_string(), []).append(dependency.column_name)
    return "\n".join(f"- [{asset}](/assets/{asset}): {', '.join(columns[asset])}" for asset in sorted(columns))


def _dependencies(groups: tuple[Columns, ...]) -> list[dg.TableColumnDep]:
    pairs = sorted({(table, column) for group in groups for table, columns in group.items() for column in columns})
    return [dg.TableColumnDep(asset_key=table_key(table), column_name=column) for table, column in pairs]


def unknown_columns() -> set[str]:
    """Names in this file that no schema has; empty, and a test says so."""
    named = {
        f"{table}.{column}"
        for groups in (*DESIRED_FROM.values(), *FINDINGS_FROM.values())
        for group in groups
        for table, columns in group.items()
        for column in columns
    }
    known = {f"{name}.{column}" for name, table in TABLES.items() for column in table.columns}
    answers = (set(DESIRED_FROM) - set(DESIRED)) | (set(FINDINGS_FROM) - set(FINDINGS))
    return (named - known) | answers
