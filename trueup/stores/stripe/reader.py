"""Reading Stripe: the whole of it, or what some customers depend on, into one Parquet file per table.

Whole means whole: a list that cannot be read to its end fails the reading, and nothing of it is left behind. Lists come
by `lists.py`; what is in no list comes by id: mandates, and customers that our mapping names and the list does not,
because they were deleted (a row with `is_deleted`) or never were (no row).
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import polars as pl

from trueup.contract.schemas import TABLES, Snapshot
from trueup.stores.errors import StoreNotWhole
from trueup.stores.parquet_writer import TableRead
from trueup.stores.settings import Settings
from trueup.stores.stripe.frames import payment_methods, rows
from trueup.stores.stripe.lists import LISTS, ObjectList, read_lists
from trueup.stores.stripe.port import Patience, Refused, StripePort, Unanswered, open_port
from trueup.stores.stripe.table_writers import MALFORMED_FILE, OnRows, Spools

STRIPE_TABLES: Final = [name for name, table in TABLES.items() if table.store == "stripe"]

_CONTAINERS: Final = 100_000  # the dicts and lists of twenty pages

CUSTOMER: Final = {"expand": ["invoice_settings.default_payment_method"]}


def read_stripe(
    settings: Settings,
    scope_customers: frozenset[str] | None,
    mandate_ids: Collection[str],
    mapped_customer_ids: Collection[str],
    into: Path,
    on_progress: OnRows = lambda _table, _rows: None,
    *,
    stripe_ids: Collection[str] = (),
    known_rows: Mapping[str, int] | None = None,
    patience: Patience | None = None,
) -> dict[str, TableRead]:
    """Reads Stripe into `into`/stripe_*.parquet, with the columns of `trueup.contract.schemas` and nothing else.

    Values that no column can hold become null and are told in `into`/stripe_malformed.parquet (see `read_malformed`).

    Args:
        settings: the key, the base address, the rate limit, how many requests at once.
        scope_customers: whose objects; None for everything that Stripe has.
        mandate_ids: the mandates to retrieve: those that subs_mandate names.
        mapped_customer_ids: customers that subs_customer names; those that no list shows are retrieved by id.
        into: the folder.
        on_progress: told of each page: its table and rows.
        stripe_ids: of a subset, ids of invoices and charges that our ledger ties to its accounts, whosever they are.
        known_rows: of a subset, how many rows each table had when it was last read whole; saves finding out.
        patience: how long to go on asking; the default is right for production.

    Raises:
        StoreUnreachable: nothing answers, or the key is not taken.
        PrivilegeMissing: the key may not read something.
        StoreNotWhole: something could not be read to its end; nothing is left in the folder.
    """
    from trueup.stores.stripe.subset import read_subset

    with _rare_collections(), open_port(settings, patience) as port:
        spools = Spools(STRIPE_TABLES, into, on_progress)
        reading = Reading(port, spools, settings.stripe_concurrency)
        try:
            if scope_customers is None:
                _read_whole(reading, mapped_customer_ids)
            else:
                read_subset(reading, scope_customers | set(mapped_customer_ids), stripe_ids, known_rows or {})
            reading.retrieve_all("stripe_mandates", "/v1/mandates", mandate_ids, {})
            return spools.finish(reading.observed_at)
        except BaseException:
            spools.discard()
            raise


def read_malformed(folder: Path) -> pl.DataFrame:
    """What could not be taken in the reading that a folder holds: table, key, column, rule."""
    return pl.read_parquet(folder / MALFORMED_FILE)


def with_unreadable(snapshot: Snapshot, folder: Path) -> dict[str, pl.LazyFrame]:
    """Mark the rows of Stripe that lost a value in reading as PostgreSQL's are: its columns' names in `unreadable`."""
    if not (folder / MALFORMED_FILE).exists():
        return dict(snapshot)
    lost = read_malformed(folder).drop_nulls(["key", "column"])
    marks = lost.group_by("table", "key").agg(unreadable=pl.col("column").unique().sort().str.join(","))
    by_table = {
        str(table): rows.drop("table").lazy() for (table,), rows in marks.partition_by("table", as_dict=True).items()
    }
    return {
        name: frame.join(by_table[name], left_on=TABLES[name].key[0], right_on="key", how="left", validate="m:1")
        if name in by_table
        else frame
        for name, frame in snapshot.items()
    }


class Keep(Protocol):
    """Takes objects of a table as they come."""

    def __call__(self, table: str, objects: list[Any], *, is_text_sound: bool = True) -> None: ...


class Reading:
    """One reading of Stripe while it goes on: what pages and single objects bring, as rows in the spools."""

    def __init__(self, port: StripePort, spools: Spools, hands: int) -> None:
        self.port, self.spools, self.hands = port, spools, hands
        self.observed_at = dict.fromkeys(STRIPE_TABLES, datetime.now(UTC))

    def keep(self, table: str, objects: list[Any], *, is_text_sound: bool = True) -> None:
        """Rows of these objects, and of the payment methods that they name."""
        self.spools.add(table, rows(table, objects, is_text_sound=is_text_sound))
        named = payment_methods(table, objects, is_text_sound=is_text_sound)
        self.spools.add("stripe_payment_methods", named)

    def retrieve_all(
        self,
        table: str,
        path: str,
        ids: Collection[str],
        params: Mapping[str, Any],
        keep: Keep | None = None,
    ) -> None:
        """Objects by their ids; those that Stripe does not know have no row.

        Raises:
            StoreNotWhole: one of them could not be asked for.
        """
        wanted = [quote(name, safe="") for name in sorted(ids) if _can_be_asked(name)]
        with ThreadPoolExecutor(self.hands, thread_name_prefix="stripe") as threads:
            try:
                for found in threads.map(lambda name: self._retrieved(table, f"{path}/{name}", params), wanted):
                    if found is not None:
                        (keep or self.keep)(table, [found[0]], is_text_sound=found[1])
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _retrieved(self, table: str, path: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], bool] | None:
        try:
            return self.port.retrieve(path, params)
        except (Unanswered, Refused) as trouble:
            raise StoreNotWhole(
                "stripe",
                f"{path} could not be read: {trouble}",
                "Nothing was kept. Run it again; status.stripe.com tells of trouble on Stripe's side.",
                table=table.removeprefix("stripe_"),
            ) from trouble


def _read_whole(reading: Reading, mapped_customer_ids: Collection[str]) -> None:
    """All lists, and then the mapped customers that the list does not show."""
    listed: set[str] = set()

    def on_page(of: ObjectList, objects: list[Any], is_text_sound: bool) -> None:  # noqa: FBT001  # lists.OnPage
        if of.table == "stripe_customers":
            listed.update(each["id"] for each in objects if isinstance(each, dict) and isinstance(each.get("id"), str))
        reading.keep(of.table, objects, is_text_sound=is_text_sound)

    read_lists(reading.port, LISTS, reading.hands, on_page)
    missing = set(mapped_customer_ids) - listed
    reading.retrieve_all("stripe_customers", "/v1/customers", missing, CUSTOMER)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Lets the garbage collector wait until far more than a few pages have piled up.

    A page is thousands of dicts that live for milliseconds and hold no cycles; at its usual threshold the collector
    walks them, and now and then the whole program's heap, several times a page: half of the reader's time.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(_CONTAINERS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _can_be_asked(object_id: str) -> bool:
    """Whether an id can stand in an address: our mapping may hold anything; Stripe's are never empty or dots."""
    return object_id.strip(" .") != ""
