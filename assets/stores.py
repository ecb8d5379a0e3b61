"""The six stores as assets: one multi-asset per store, one asset per table or object list.

Each tells how many rows it holds, how large it is, with which columns, and at which instant it was read. A store that
could not be read whole fails its check, and its tables are empty. How reading is done is in `trueup/audit/gather.py`.
"""

from collections.abc import Iterator
from typing import Final

import dagster as dg

from assets.run import AuditTerms, run_of
from trueup.audit.gather import Readings, StoreRead, gather_store, tables_of
from trueup.contract.schemas import STORES, TABLES
from trueup.stores.settings import Settings

WAS_READ_WHOLE: Final = "was_read_whole"
DESCRIPTIONS: Final = {
    "cf_prod": "Accounts, entitlements and products. Writers: A1 accounts, the Entitlements API.",
    "billing_prod": "The financial ledger. Writers: A2 invoices, A3 charges.",
    "subs_account": "Account flags and holds. Writers: A1 profiles; A3 for bad_debt.",
    "subs_customer": "Which Stripe customer is whose. Writers: A1 setup, A2 checkout.",
    "subs_dunning": "The dunning state per account, mandates and stuck events. Writer: A3 recompute.",
    "stripe": "Payment status, mandates and invoice state, as Stripe tells them. Never written.",
}
# Mandates, deleted customers and the customers of a subset can only be asked for by id, and these tables name them.
NAMES_STRIPE_IDS: Final = ("subs_mandate", "subs_customer")

ReadingResults = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]


def table_key(table: str) -> dg.AssetKey:
    """The asset of a table: its store, and its name there."""
    store = TABLES[table].store
    return dg.AssetKey([store, table.removeprefix("stripe_") if store == "stripe" else table])


def store_assets(store: str) -> dg.AssetsDefinition:
    """The multi-asset that reads one store."""

    @dg.multi_asset(
        name=store, specs=table_specs(store), check_specs=[whole_check(store)], description=DESCRIPTIONS[store]
    )
    def read_store(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        terms: AuditTerms,
        readings: dg.ResourceParam[Readings],
    ) -> ReadingResults:
        run = run_of(context, settings, terms)
        yield from tell(gather_store(readings, store, run.scope, run.initial))

    return read_store


def table_specs(store: str) -> list[dg.AssetSpec]:
    """The assets of a store's tables."""
    deps = [table_key(name) for name in NAMES_STRIPE_IDS] if store == "stripe" else []
    return [
        dg.AssetSpec(
            table_key(table),
            deps=deps,
            group_name=store,
            kinds={"stripe" if store == "stripe" else "postgres", "parquet"},
            metadata={"dagster/column_schema": column_schema(table)},
        )
        for table in tables_of(store)
    ]


def whole_check(store: str) -> dg.AssetCheckSpec:
    """The check that every store reports on its own reading."""
    return dg.AssetCheckSpec(
        WAS_READ_WHOLE,
        asset=table_key(tables_of(store)[0]),
        description=f"Every table of {store} was read to its end, at one instant.",
    )


def tell(read: StoreRead) -> ReadingResults:
    """What Dagster is told of a store: its tables, and whether they are whole."""
    for table in tables_of(read.store):
        yield dg.MaterializeResult(
            asset_key=table_key(table),
            metadata={
                "dagster/row_count": read.rows.get(table, 0),
                "bytes": read.bytes.get(table, 0),
                "observed_at": dg.MetadataValue.timestamp(read.observed_at),
                "is_whole": read.is_whole,
                "dagster/column_schema": column_schema(table),
            },
        )
    yield dg.AssetCheckResult(
        asset_key=table_key(tables_of(read.store)[0]),
        check_name=WAS_READ_WHOLE,
        passed=read.is_whole,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"rows": sum(read.rows.values()), **({"fault": read.fault} if read.fault else {})},
    )


def column_schema(table: str) -> dg.TableSchema:
    """A table's columns and types, for Dagster."""
    columns = TABLES[table].columns
    return dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in columns.items()])


STORE_ASSETS: Final = [store_assets(store) for store in STORES]
