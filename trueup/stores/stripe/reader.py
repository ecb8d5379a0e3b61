"""Reading Stripe: the whole of it, or what some customers depend on, into one Parquet file per table.

Whole means whole: a list that cannot be read to its end fails the reading, and nothing of it is left behind. Lists come
by `lists.py`; what is in no list comes by id: mandates, and customers that our mapping names and the list does not,
because they were deleted (a row with `is_deleted`) or never were (no row).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl

from trueup.contract.schemas import TABLES, Snapshot
from trueup.stores.parquet_writer import TableRead
from trueup.stores.settings import Settings
from trueup.stores.stripe.lists import read_lists
from trueup.stores.stripe.objects import LISTS, ObjectList
from trueup.stores.stripe.port import RetryPolicy, open_port
from trueup.stores.stripe.reading import STRIPE_TABLES, Reading
from trueup.stores.stripe.subset import read_subset
from trueup.stores.stripe.table_writers import MALFORMED_FILE, OnRows, TableWriters

_CONTAINERS: Final = 100_000  # the dicts and lists of twenty pages


def read_stripe(
    settings: Settings,
    scope_customers: frozenset[str] | None,
    mandate_ids: Collection[str],
    mapped_customer_ids: Collection[str],
    into: Path,
    on_progress: OnRows = lambda _table, _rows: None,
    *,
    stripe_ids: Collection[str] = (),
    rows_last_read: Mapping[str, int] | None = None,
    retry_policy: RetryPolicy | None = None,
) -> dict[str, TableRead]:
    """Reads Stripe into `into`/stripe_*.parquet, with the columns of `trueup.contract.schemas` and nothing else.

    Values that no column can hold become null and are listed in `into`/stripe_malformed.parquet (see `read_malformed`).

    Args:
        settings: the key, the base address, the rate limit, how many requests at once.
        scope_customers: whose objects; None for everything that Stripe has.
        mandate_ids: the mandates to retrieve: those that subs_mandate names.
        mapped_customer_ids: customers that subs_customer names; those that no list shows are retrieved by id.
        into: the folder.
        on_progress: called with each page's table and rows.
        stripe_ids: of a subset, ids of invoices and charges that our ledger ties to its accounts, whosever they are.
        rows_last_read: of a subset, how many rows each table had when it was last read whole; saves finding out.
        retry_policy: how long a request is repeated; the default is right for production.

    Raises:
        StoreUnreachable: nothing answers, or the key is not taken.
        PrivilegeMissing: the key may not read something.
        StoreNotWhole: something could not be read to its end; nothing is left in the folder.
    """
    with _rare_collections(), open_port(settings, retry_policy) as port:
        writers = TableWriters(STRIPE_TABLES, into, on_progress)
        reading = Reading(port, writers, settings.stripe_concurrency)
        try:
            with _beside(reading, lambda: reading.retrieve_all("stripe_mandates", mandate_ids)):
                if scope_customers is None:
                    _read_whole(reading, mapped_customer_ids)
                else:
                    read_subset(reading, scope_customers | set(mapped_customer_ids), stripe_ids, rows_last_read or {})
            return writers.finish(reading.observed_at)
        except BaseException:
            writers.discard()
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


def _read_whole(reading: Reading, mapped_customer_ids: Collection[str]) -> None:
    """All lists, and then the mapped customers that the list does not show."""
    listed: set[str] = set()

    def on_page(of: ObjectList, objects: list[Any], is_text_sound: bool) -> None:  # noqa: FBT001  # lists.OnPage
        if of.table == "stripe_customers":
            listed.update(each["id"] for each in objects if isinstance(each, dict) and isinstance(each.get("id"), str))
        reading.store(of.table, objects, is_text_sound=is_text_sound)

    read_lists(reading.port, LISTS, reading.workers, on_page)
    missing = set(mapped_customer_ids) - listed
    reading.retrieve_all("stripe_customers", missing)


@contextmanager
def _beside(reading: Reading, work: Callable[[], None]) -> Iterator[None]:
    """Does the work while the block runs, and waits for it; the first of the two that fails ends the other."""
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as thread:
        doing = thread.submit(work)
        doing.add_done_callback(lambda done: reading.port.give_up() if done.exception() else None)
        try:
            yield
        except BaseException:
            reading.port.give_up()
            if doing.done() and (cause := doing.exception()):  # the block fails since we gave up for this
                raise cause from None
            raise
        doing.result()


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
