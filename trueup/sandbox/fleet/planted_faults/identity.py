"""Planted faults of the identity group: who is who between our accounts and Stripe's customers."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.sandbox.fleet import ids
from trueup.sandbox.fleet.catalogue import amount_of
from trueup.sandbox.fleet.identify import price_id
from trueup.sandbox.fleet.planted_faults.fleet_editor import FleetEditor, PlantedFault, found, of

_OTHER_PRICE: Final = price_id(pl.lit("addon_support"))


def mapping_missing(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The mapping row was lost; a customer with a live subscription is then nobody's."""
    editor.drop("subs_customer", of(chosen))
    live = chosen.filter(pl.col("sub_status") == "active")
    orphans = found(live, "MAP_ORPHAN_CUSTOMER", "customer_id", is_consequence=True, account=False)
    return [found(chosen, "MAP_MISSING"), orphans]


def mapping_dangling(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Someone deleted the customer in Stripe, whose subscription had ended before."""
    gone = dict.fromkeys(("created_at", "livemode", "metadata_account_id", "default_payment_method_id"))
    editor.set("stripe_customers", of(chosen, "customer_id"), is_deleted=True, **gone)
    return [found(chosen, "MAP_DANGLING", "customer_id")]


def duplicate_customer(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Checkout made a second customer; every other one of them buys something there."""
    second = with_second_customer(editor, chosen)
    buying = second[::2].select(
        "subscription_id", price_ids=pl.concat_list(_OTHER_PRICE), customer_id="new_customer_id"
    )
    editor.add("stripe_subscriptions", active_subscriptions(editor, buying))
    return [found(chosen, "MAP_DUPLICATE_CUSTOMER")]


def shared_customer(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """An account without a customer was mapped to another's; nobody wrote in Stripe whose the customer is."""
    owners, guests = chosen[::2], chosen[1::2]
    guests = guests.with_columns(customer_id=owners["customer_id"])
    editor.set("stripe_customers", of(owners, "customer_id"), metadata_account_id=None)
    editor.add("subs_customer", mapping_rows(editor, guests, "customer_id", "A1"))
    return [
        found(owners, "MAP_SHARED_CUSTOMER", "customer_id"),
        found(guests, "MAP_SHARED_CUSTOMER", "customer_id"),
    ]


def orphan_customer(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Somebody subscribed in Stripe whom we never heard of. The chosen accounts only lend their dates."""
    unknown = chosen.with_columns(new_customer_id=ids.customers(len(chosen), editor.rng))
    editor.add("stripe_customers", customers(unknown).with_columns(metadata_account_id=pl.lit(None, pl.String)))
    subscribed = unknown.select(customer_id="new_customer_id", price_ids=pl.concat_list(_OTHER_PRICE))
    editor.add("stripe_subscriptions", active_subscriptions(editor, subscribed))
    return [found(unknown, "MAP_ORPHAN_CUSTOMER", "new_customer_id", account=False)]


def metadata_mismatch(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Stripe's customer says that it belongs to another account."""
    other = pl.lit("acc_00000000")
    editor.set("stripe_customers", of(chosen, "customer_id"), metadata_account_id=other)
    return [found(chosen, "MAP_METADATA_MISMATCH", "customer_id")]


def closed_but_subscribed(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The account is closed and its subscription was not ended."""
    editor.set(
        "stripe_subscriptions",
        of(chosen, "subscription_id"),
        status="active",
        ended_at=None,
        canceled_at=None,
    )
    return [found(chosen, "ACCT_CLOSED_ACTIVE_SUB")]


def flags_missing(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """No profile row was ever written."""
    editor.drop("subs_account", of(chosen))
    return [found(chosen, "ACCT_FLAGS_MISSING")]


def child_with_debt(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A child was billed itself, though its parent pays."""
    at = editor.as_of - timedelta(days=40)
    due = editor.as_of - timedelta(days=10)
    billed = chosen.with_columns(own_invoice_id="inv_own_" + pl.col("account_id"))
    rows = billed.select(
        "account_id",
        "currency",
        invoice_id="own_invoice_id",
        billing_reason=pl.lit("manual"),
        status=pl.lit("open"),
        collection_method=pl.lit("send_invoice"),
        amount_due=pl.lit(amount_of("team", "usd", "month")),
        amount_paid=pl.lit(0),
        attempt_count=pl.lit(0),
        due_at=pl.lit(due),
        finalized_at=pl.lit(at),
        effective_at=pl.lit(at),
        updated_at=pl.lit(at),
        version=pl.lit(1),
    )
    editor.add("invoices", rows)
    return [found(billed, "ACCT_CHILD_HAS_DEBT", "own_invoice_id")]


def with_second_customer(editor: FleetEditor, chosen: pl.DataFrame) -> pl.DataFrame:
    """The chosen accounts with a second customer, mapped as well: in `new_customer_id`."""
    second = chosen.with_columns(new_customer_id=ids.customers(len(chosen), editor.rng))
    editor.add("stripe_customers", customers(second))
    editor.add("subs_customer", mapping_rows(editor, second, "new_customer_id", "A2"))
    return second


def customers(chosen: pl.DataFrame) -> pl.DataFrame:
    """A bare Stripe customer for each, as `new_customer_id`."""
    return chosen.select(
        "created_at",
        customer_id="new_customer_id",
        livemode=pl.lit(True),
        is_deleted=pl.lit(False),
        metadata_account_id="account_id",
    )


def mapping_rows(editor: FleetEditor, chosen: pl.DataFrame, customer: str, writer: str) -> pl.DataFrame:
    """A mapping of each account to the customer that a column names."""
    highest = editor.frames["subs_customer"]["id"].max() or 0
    created = pl.max_horizontal("created_at", pl.lit(editor.as_of - timedelta(days=20)))
    return chosen.select(
        "account_id",
        id=pl.lit(highest) + pl.int_range(1, pl.len() + 1),
        stripe_customer_id=customer,
        livemode=pl.lit(True),
        created_by=pl.lit(writer),
        created_at=created,
        updated_at=created,
        version=pl.lit(1),
    )


def active_subscriptions(editor: FleetEditor, rows: pl.DataFrame) -> pl.DataFrame:
    """Active subscriptions of customers (`customer_id`) to prices (`price_ids`), twenty days old."""
    created = pl.Series([editor.as_of - timedelta(days=20)] * len(rows), dtype=pl.Datetime("us", "UTC"))
    return rows.select(
        "customer_id",
        "price_ids",
        subscription_id=ids.dated("sub", created, editor.rng),
        status=pl.lit("active"),
        created_at=created,
        livemode=pl.lit(True),
        collection_method=pl.lit("charge_automatically"),
    )


PLANTED_FAULTS: Final = (
    PlantedFault("MAP_MISSING", 10, mapping_missing, ("good_monthly", "canceled_paid")),
    PlantedFault("MAP_DANGLING", 6, mapping_dangling, ("canceled_paid",)),
    PlantedFault("MAP_DUPLICATE_CUSTOMER", 25, duplicate_customer),
    PlantedFault("MAP_SHARED_CUSTOMER", 8, shared_customer, ("good_monthly", "free_plan"), is_group=True),
    PlantedFault("MAP_ORPHAN_CUSTOMER", 4, orphan_customer, is_counted=False),
    PlantedFault("MAP_METADATA_MISMATCH", 10, metadata_mismatch),
    PlantedFault("ACCT_CLOSED_ACTIVE_SUB", 8, closed_but_subscribed, ("closed",)),
    PlantedFault("ACCT_FLAGS_MISSING", 6, flags_missing),
    PlantedFault("ACCT_CHILD_HAS_DEBT", 4, child_with_debt, ("child",)),
)
