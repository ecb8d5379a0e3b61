"""Attribution: whose account, which object and which invoice a broken row is about.

A row of ours mostly names its account. A credit note has it through its invoice, and a Stripe object through its
customer and the mapping: several accounts where several share the customer, none where nothing maps. Whether the
account *needs* the row is the rule of docs/contract/DUNNING.md ("Per account", 5): its own rows, its mapping, and the
rows of the view that decides each invoice. A bad ledger row of an invoice that Stripe collects is only reported.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.schemas import TABLES, Snapshot

# The account itself is what these rows are about, so a finding about one has no object.
_OF_THE_ACCOUNT: Final = frozenset({"accounts", "subs_account", "subs_dunning", "dunning_states"})

# Named by Stripe's id where the row has one.
_STRIPE_ID: Final = {
    "invoices": "stripe_invoice_id",
    "charges": "stripe_charge_id",
    "subs_customer": "stripe_customer_id",
    "subs_mandate": "stripe_mandate_id",
}


def attribute(snapshot: Snapshot, name: str, rows: pl.DataFrame, *, livemode: bool) -> pl.DataFrame:
    """Add attributed_account_id, attributed_object_id, attributed_invoice_id and is_needed to rows of a table.

    A row comes out once per account that it touches, and once without an account where no row says whose it is.
    """
    numbered = rows.with_row_index("row")
    accounts = _accounts(snapshot, name, numbered.lazy(), livemode=livemode)
    invoices = _invoices(snapshot, name, numbered.lazy())
    found, concerned = pl.collect_all([accounts, invoices])
    return (
        numbered.join(found, on="row", how="left", validate="1:m")
        .join(concerned, on="row", how="left", validate="m:1")
        .with_columns(attributed_object_id=_object(name), is_needed=_is_needed(name, livemode=livemode))
    )


def _object(name: str) -> pl.Expr:
    if name in _OF_THE_ACCOUNT:
        return pl.lit(None, pl.String())
    own = TABLES[name].key[-1]  # of an entitlement: the feature
    stripe = [pl.col(_STRIPE_ID[name])] if name in _STRIPE_ID else []
    return pl.coalesce(*stripe, pl.col(own).cast(pl.String()))


def _is_needed(name: str, *, livemode: bool) -> pl.Expr:
    if name in ("accounts", "subs_account"):
        return pl.lit(value=True)
    if name in ("invoices", "charges", "credit_notes"):
        return pl.col("is_outside_stripe").fill_null(value=True)
    if name == "stripe_events" or not (name == "subs_customer" or name.startswith("stripe_")):
        return pl.lit(value=False)
    if "livemode" in TABLES[name].columns:
        return pl.col("livemode").ne_missing(not livemode)
    return pl.lit(value=True)


# Whose account -----------------------------------------------------------------------------------------------------


def _accounts(snapshot: Snapshot, name: str, rows: pl.LazyFrame, *, livemode: bool) -> pl.LazyFrame:
    """row, attributed_account_id."""
    columns = TABLES[name].columns
    if "account_id" in columns:
        return rows.select("row", attributed_account_id="account_id")
    if name == "credit_notes":
        owners = snapshot["invoices"].select("invoice_id", "account_id").drop_nulls().unique()
        return rows.join(owners, on="invoice_id").select("row", attributed_account_id="account_id")
    if name == "stripe_mandates":
        owners = snapshot["subs_mandate"].select("account_id", mandate_id="stripe_mandate_id").drop_nulls().unique()
        return rows.join(owners, on="mandate_id").select("row", attributed_account_id="account_id")
    if name.startswith("stripe_"):
        customers = _customers(snapshot, name, rows)
        mapped = _mapped(snapshot, livemode=livemode)
        return customers.join(mapped, on="customer_id").select("row", attributed_account_id="account_id").unique()
    return rows.select("row", attributed_account_id=pl.lit(None, pl.String())).head(0)


def _mapped(snapshot: Snapshot, *, livemode: bool) -> pl.LazyFrame:
    rows = snapshot["subs_customer"].filter(pl.col("livemode").ne_missing(not livemode))
    return rows.select("account_id", customer_id="stripe_customer_id").drop_nulls().unique()


def _customers(snapshot: Snapshot, name: str, rows: pl.LazyFrame) -> pl.LazyFrame:
    """row, customer_id: which customers a Stripe object belongs to."""
    if "customer_id" in TABLES[name].columns:
        return rows.select("row", "customer_id").drop_nulls()
    roads = [
        rows.join(_owners(snapshot, table, key), on=key).select("row", customer_id="owner")
        for table, key in (
            ("stripe_invoices", "invoice_id"),
            ("stripe_charges", "charge_id"),
            ("stripe_payment_intents", "payment_intent_id"),
        )
        if key in TABLES[name].columns
    ]
    return pl.concat(roads).unique()


def _owners(snapshot: Snapshot, table: str, key: str) -> pl.LazyFrame:
    return snapshot[table].select(key, owner="customer_id").drop_nulls().unique()


# Which invoice -----------------------------------------------------------------------------------------------------


def _invoices(snapshot: Snapshot, name: str, rows: pl.LazyFrame) -> pl.LazyFrame:
    """row, attributed_invoice_id, is_outside_stripe: one row each."""
    unknown = pl.lit(None, pl.Boolean())
    if name == "invoices":
        return rows.select(
            "row",
            attributed_invoice_id=pl.coalesce("stripe_invoice_id", "invoice_id"),
            is_outside_stripe=pl.col("stripe_invoice_id").is_null(),
        )
    if name in ("charges", "credit_notes", "schedules"):
        return _through_ledger(snapshot, name, rows)
    if name.startswith("stripe_") and "invoice_id" in TABLES[name].columns:
        return rows.select("row", attributed_invoice_id="invoice_id", is_outside_stripe=unknown)
    return rows.select("row", attributed_invoice_id=pl.lit(None, pl.String()), is_outside_stripe=unknown)


def _through_ledger(snapshot: Snapshot, name: str, rows: pl.LazyFrame) -> pl.LazyFrame:
    ledger = (
        snapshot["invoices"]
        .filter(pl.col("invoice_id").is_not_null())
        .group_by("invoice_id")
        .agg(stripe_invoice_id=pl.col("stripe_invoice_id").max(), is_known=pl.lit(value=True))
    )
    by_charge = pl.col("stripe_charge_id").is_null() if name == "charges" else pl.lit(None, pl.Boolean())
    return rows.join(ledger, on="invoice_id", how="left", validate="m:1").select(
        "row",
        attributed_invoice_id=pl.coalesce("stripe_invoice_id", "invoice_id"),
        is_outside_stripe=pl.when("is_known").then(pl.col("stripe_invoice_id").is_null()).otherwise(by_charge),
    )
