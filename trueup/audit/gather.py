"""Gathering: read stores into the folder of one reading, and say of each whether it was read whole.

A reading is a folder with one Parquet file per table and one JSON file per store. A store that could not be read whole
leaves empty tables and the reason; it is never taken for a whole, and `ScopeReading.broken` says so to everything that
follows. How a store is read belongs to `stores/`; what follows from a broken one, to `trueup/engine` and
`trueup/drift`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

import polars as pl

from trueup.audit.files import read_json, write_frame, write_json
from trueup.audit.progress import working_on
from trueup.contract.schemas import INSTANT, STORES, TABLES, Snapshot, empty
from trueup.stores.auditor.history import last_row_counts
from trueup.stores.dependencies import STORES_TIED_TO_STRIPE
from trueup.stores.errors import StoreError
from trueup.stores.parquet_writer import TableRead
from trueup.stores.postgres.dependencies import ReadingOf, expand_by_stripe, expand_scope
from trueup.stores.postgres.gather import gather_database, readings
from trueup.stores.postgres.reading import DatabaseReading, count_rows, read_frame
from trueup.stores.scope import Scope
from trueup.stores.settings import Database, Settings
from trueup.stores.stripe import read_stripe, with_unreadable

SRC_PARTIAL: Final = "SRC_PARTIAL"
SRC_STALE: Final = "SRC_STALE"
STANDBY: Final = "read from a standby, which is not of one instant"
ROW_COUNTS: Final[dict[str, pl.DataType]] = {
    "store": pl.String(),
    "table": pl.String(),
    "rows": pl.Int64(),
    "observed_at": INSTANT,
}
WHOLE_CHECKS: Final[dict[str, pl.DataType]] = {
    "check": pl.String(),
    "store": pl.String(),
    "is_blocking": pl.Boolean(),
    "has_passed": pl.Boolean(),
    "detail": pl.String(),
}
DATABASE_OF_STORE: Final[dict[str, Database]] = {
    "cf_prod": "cf_prod",
    "billing_prod": "billing_prod",
    "subs_account": "subs_api",
    "subs_customer": "subs_api",
    "subs_dunning": "subs_api",
}


@dataclass(frozen=True)
class StoreRead:
    """What came of reading one store."""

    store: str
    observed_at: datetime  # the instant that its tables show; where nothing could be read, when that was found out
    fault: str = ""  # why it is not whole
    rows: Mapping[str, int] = field(default_factory=dict)  # table → rows
    bytes: Mapping[str, int] = field(default_factory=dict)  # table → bytes, as stored
    fleet_accounts: int | None = None  # of cf_prod: its accounts, whatever the scope
    is_standby: bool = False  # read from a standby, which may show a state that never was

    @property
    def is_whole(self) -> bool:
        return not self.fault


@dataclass(frozen=True)
class ScopeReading:
    """All stores as one pass over them saw them."""

    folder: Path
    reads: Mapping[str, StoreRead]

    @classmethod
    def at(cls, folder: Path) -> Self:
        """The reading that this folder stores."""
        return cls(folder, {store: read_store_json(folder, store) for store in STORES})

    def snapshot(self) -> Snapshot:
        return with_unreadable({name: pl.scan_parquet(self.folder / f"{name}.parquet") for name in TABLES}, self.folder)

    def observed_at(self) -> dict[str, datetime]:
        return {store: read.observed_at for store, read in self.reads.items()}

    def broken(self, age_hours_max: float) -> dict[str, str]:
        """Store → SRC_PARTIAL or SRC_STALE, for those whose word cannot be relied on.

        A store is stale beside the others: what was read this long before the last of them is of another day.
        """
        oldest = max(read.observed_at for read in self.reads.values()) - timedelta(hours=age_hours_max)
        partial = {store: SRC_PARTIAL for store, read in self.reads.items() if not read.is_whole}
        stale = {store: SRC_STALE for store, read in self.reads.items() if read.observed_at < oldest}
        return stale | partial

    def row_counts(self) -> pl.DataFrame:
        """store, table, rows, observed_at: what the gate measures the next run against."""
        rows = [
            (store, table, rows, read.observed_at)
            for store, read in self.reads.items()
            for table, rows in read.rows.items()
        ]
        return pl.DataFrame(rows, schema=ROW_COUNTS, orient="row")

    def whole_checks(self, age_hours_max: float) -> pl.DataFrame:
        """check, store, is_blocking, has_passed, detail: the results without which the gate stays closed.

        One per store on whether it was read whole, and one for each that was read from a standby: a standby can show a
        state that its primary never had (jepsen.io, PostgreSQL's "Long Fork", read 2026-11-20), so no plan rests on it.
        """
        broken = self.broken(age_hours_max)
        rows = [("was_read_whole", store, True, store not in broken, broken.get(store, "")) for store in self.reads]
        rows += [("is_of_one_instant", store, True, False, STANDBY) for store in self.standbys()]
        return pl.DataFrame(rows, schema=WHOLE_CHECKS, orient="row")

    def standbys(self) -> list[str]:
        """The stores that were read from a standby: of no one instant, and so no ground for a plan."""
        return [store for store, read in self.reads.items() if read.is_standby]

    def faults(self) -> list[str]:
        return [read.fault for read in self.reads.values() if read.fault]


class Readings:
    """The databases as one pass sees them: each opened when first needed, at one instant for all of its tables."""

    def __init__(self, settings: Settings, reading_of: ReadingOf) -> None:
        self.settings = settings
        self.rows_last_read: Mapping[str, int] | None = None
        self._reading_of = reading_of
        self._expanded: dict[Scope, Scope] = {}
        self._out_of_reach: dict[Database, StoreError] = {}

    def of(self, database: Database) -> DatabaseReading:
        """The reading of a database; one that did not answer is not asked twice in a pass."""
        if database in self._out_of_reach:
            raise self._out_of_reach[database]
        try:
            return self._reading_of(database)
        except StoreError as fault:
            self._out_of_reach[database] = fault
            raise

    def expanded(self, scope: Scope) -> Scope:
        """The scope with all that its accounts depend on in the databases, worked out once per pass."""
        if scope not in self._expanded:
            self._expanded[scope] = expand_scope(scope, self.of)
        return self._expanded[scope]


@contextmanager
def reading(settings: Settings) -> Iterator[Readings]:
    """Readings that are closed with the block."""
    with readings(settings) as reading_of:
        yield Readings(settings, reading_of)


def gather_scope(
    settings: Settings, scope: Scope, folder: Path, rows_last_read: Mapping[str, int] | None = None
) -> ScopeReading:
    """Read the scope in all six stores, one after the other.

    `rows_last_read` is the length of each of Stripe's lists when it was last read whole, if the caller just did that;
    with it, a subset is read the cheaper way at once. Without it, the history is asked.
    """
    with reading(settings) as source:
        source.rows_last_read = rows_last_read
        for store in STORES:
            gather_store(source, store, scope, folder)
    return ScopeReading.at(folder)


def gather_store(
    source: Readings, store: str, scope: Scope, folder: Path, tables: Sequence[str] | None = None
) -> StoreRead:
    """Read one store of the scope; trouble with a store is described in what is returned, and stored.

    `tables` are those of its tables that are read; left out, all. Stripe is always read as a whole, since its lists
    depend on each other. Tables that are left out have no file.

    Raises:
        AccountUnknown: an account that the scope names is in no store.
    """
    if has_read(folder, store):  # of a subset, Stripe is read as soon as another store hangs on it
        return read_store_json(folder, store)
    expanded = source.expanded(scope)
    try:
        read = (
            _read_stripe(source, expanded, folder)
            if store == "stripe"
            else _read_tables(source, store, expanded, folder, tables or tables_of(store))
        )
    except StoreError as fault:
        read = _nothing_of(store, fault, folder)
    write_json(folder / f"{store}.json", asdict(read))
    return read


def has_read(folder: Path, store: str) -> bool:
    """Whether a reading's folder has the store, whole or not."""
    return (folder / f"{store}.json").exists()


def tables_of(store: str) -> list[str]:
    """The tables of a store, in the order of docs/contract/STORES.md."""
    return [name for name, table in TABLES.items() if table.store == store]


def _read_tables(source: Readings, store: str, expanded: Scope, folder: Path, names: Sequence[str]) -> StoreRead:
    """One store that is in a database, these tables at the reading's instant."""
    held = source.of(DATABASE_OF_STORE[store])
    if store in STORES_TIED_TO_STRIPE and not expanded.is_fleet:
        expanded = expand_by_stripe(expanded, _stripe_of(source, expanded, folder))
    with working_on(f"read {store}") as on_rows:
        reads = gather_database(held, expanded, folder, names, lambda _name, rows: on_rows(rows))
    return _whole(store, list(reads.values()), _fleet_accounts(held, store), is_standby=held.is_standby)


def _stripe_of(source: Readings, expanded: Scope, folder: Path) -> Snapshot:
    """What Stripe says of a subset, read now if it was not yet."""
    gather_store(source, "stripe", expanded, folder)
    return {name: pl.scan_parquet(folder / f"{name}.parquet") for name in tables_of("stripe")}


def _read_stripe(source: Readings, expanded: Scope, folder: Path) -> StoreRead:
    """Stripe: the whole of it, or what the scope's accounts depend on."""
    held = source.of("subs_api")
    mandates = read_frame(held, "subs_mandate", expanded)["stripe_mandate_id"]
    customers = read_frame(held, "subs_customer", expanded)["stripe_customer_id"]
    with working_on("read stripe") as on_rows:
        reads = read_stripe(
            source.settings,
            None if expanded.is_fleet else expanded.customers,
            frozenset(mandates.drop_nulls()),
            frozenset(customers.drop_nulls()),
            folder,
            lambda _name, rows: on_rows(rows),
            stripe_ids=expanded.stripe_ids,
            rows_last_read=_rows_last_read(source, expanded),
        )
    return _whole("stripe", list(reads.values()))


def _rows_last_read(source: Readings, expanded: Scope) -> Mapping[str, int]:
    if expanded.is_fleet:
        return {}
    return last_row_counts(source.settings) if source.rows_last_read is None else source.rows_last_read


def _fleet_accounts(held: DatabaseReading, store: str) -> int | None:
    """How many accounts cf_prod has, whatever the scope: what a plan's share is a share of."""
    return count_rows(held, "accounts") if store == "cf_prod" else None


def _whole(
    store: str, reads: Sequence[TableRead], fleet_accounts: int | None = None, *, is_standby: bool = False
) -> StoreRead:
    return StoreRead(
        store,
        min(read.observed_at for read in reads),
        rows={read.name: read.rows for read in reads},
        bytes={read.name: read.bytes for read in reads},
        fleet_accounts=fleet_accounts,
        is_standby=is_standby,
    )


def _nothing_of(store: str, fault: StoreError, folder: Path) -> StoreRead:
    """What is left of a store that could not be read whole: no row of it, so that half of it is never taken for all."""
    for name in tables_of(store):
        write_frame(folder / f"{name}.parquet", empty(name))
    return StoreRead(store, datetime.now(UTC), fault=str(fault))


def read_store_json(folder: Path, store: str) -> StoreRead:
    """What a reading's folder has of one store."""
    stored = read_json(folder / f"{store}.json")
    return StoreRead(**{**stored, "observed_at": datetime.fromisoformat(stored["observed_at"])})
