"""The six stores as assets: one multi-asset per store, one asset per table or object list.

Each says how many rows it holds, how large it is, with which columns, and at which instant it was read. A store that
could not be read whole fails its check, and its tables are empty. A table of a database can be read alone; of
Stripe, whose lists depend on each other, all are read. How reading is done is in `trueup/audit/gather.py`.
"""

from collections.abc import Collection, Iterator
from typing import Final

import dagster as dg

from assets.run import refused_as_canceled, run_metadata, run_that_reads
from trueup.audit.gather import Readings, ScopeReading, StoreRead, tables_of
from trueup.audit.inputs import run_that_left
from trueup.audit.run_folder import Run
from trueup.audit.stages import read_store
from trueup.contract.schemas import STORES, TABLES
from trueup.stores.settings import Settings

WAS_READ_WHOLE: Final = "was_read_whole"
DESCRIPTIONS: Final = {
    "cf_prod": "Accounts, entitlements and products. Writers: A1 accounts, the Entitlements API.",
    "billing_prod": "The financial ledger. Writers: A2 invoices, A3 charges.",
    "subs_account": "Account flags and holds. Writers: A1 profiles; A3 for bad_debt.",
    "subs_customer": "Which Stripe customer is whose. Writers: A1 setup, A2 checkout.",
    "subs_dunning": "The dunning state per account, mandates and stuck events. Writer: A3 recompute.",
    "stripe": "Payment status, mandates and invoice state, as Stripe reports them. Never written.",
}
OWNERS: Final = {
    "cf_prod": ["team:A1-accounts"],
    "billing_prod": ["team:A2-invoices", "team:A3-charges"],
    "subs_account": ["team:A1-profiles"],
    "subs_customer": ["team:A1-setup"],
    "subs_dunning": ["team:A3-recompute"],
    "stripe": ["team:data-platform"],
}
# Mandates, deleted customers and the customers of a subset can only be requested by id, and these tables name them.
NAMES_STRIPE_IDS: Final = ("subs_mandate", "subs_customer")

ReadingResults = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]


def table_key(table: str) -> dg.AssetKey:
    """The asset of a table: its store, and its name there."""
    store = TABLES[table].store
    return dg.AssetKey([store, table.removeprefix("stripe_") if store == "stripe" else table])


def pool_of(store: str) -> str:
    """The pool that bounds how many runs read one database, or Stripe, at once."""
    return "read_" + ("stripe" if store == "stripe" else "subs_api" if store.startswith("subs_") else store)


def store_assets(store: str) -> dg.AssetsDefinition:
    """The multi-asset that reads one store."""

    @dg.multi_asset(
        name=store,
        specs=table_specs(store),
        check_specs=[whole_check(store)],
        description=DESCRIPTIONS[store],
        can_subset=True,
        pool=pool_of(store),
    )
    def read_store_tables(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        readings: dg.ResourceParam[Readings],
    ) -> ReadingResults:
        chosen = [name for name in tables_of(store) if table_key(name) in context.selected_asset_keys]
        if not chosen:  # the check alone: it judges the last whole reading
            with refused_as_canceled(context):
                judged = run_that_left("initial", settings, context.run.run_id, context.run.parent_run_id)
            yield whole_result(ScopeReading.at(judged.initial).reads[store])
            return
        run = run_that_reads(context, settings)
        read = read_store(run, readings, store, chosen)
        context.log.info("%s: %d rows of %d tables read.", store, sum(read.rows.values()), len(chosen))
        yield from describe_reading(run, read, chosen)
        if context.selected_asset_check_keys:
            yield whole_result(read)

    return read_store_tables


def table_specs(store: str) -> list[dg.AssetSpec]:
    """The assets of a store's tables."""
    names_ids = [table_key(name) for name in NAMES_STRIPE_IDS] if store == "stripe" else []
    return [
        dg.AssetSpec(
            table_key(table),
            deps=["run_manifest", *names_ids],
            group_name=store,
            description=f"{table_key(table).path[-1]} as {store} has it. {DESCRIPTIONS[store]}",
            owners=OWNERS[store],
            kinds={"stripe" if store == "stripe" else "postgres", "parquet"},
            tags={"trueup/store": store},
            metadata={"dagster/column_schema": column_schema(table)},
            skippable=True,
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


def describe_reading(run: Run, read: StoreRead, tables: Collection[str]) -> ReadingResults:
    """What Dagster is given of a store: its tables that were read."""
    for table in tables:
        yield dg.MaterializeResult(
            asset_key=table_key(table),
            metadata={
                "dagster/row_count": read.rows.get(table, 0),
                "bytes": read.bytes.get(table, 0),
                "observed_at": dg.MetadataValue.timestamp(read.observed_at),
                "is_whole": read.is_whole,
                **run_metadata(run),
            },
        )


def whole_result(read: StoreRead) -> dg.AssetCheckResult:
    """Whether a store was read whole."""
    rows = sum(read.rows.values())
    return dg.AssetCheckResult(
        asset_key=table_key(tables_of(read.store)[0]),
        check_name=WAS_READ_WHOLE,
        passed=read.is_whole,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{rows:,} rows" if read.is_whole else f"Cannot tell: {read.fault}",
        metadata={"rows": rows, **({"fault": read.fault} if read.fault else {})},
    )


def column_schema(table: str) -> dg.TableSchema:
    """A table's columns and types, for Dagster."""
    columns = TABLES[table].columns
    return dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in columns.items()])


STORE_ASSETS: Final = [store_assets(store) for store in STORES]
