"""One reading of Stripe while it goes on: what its pages and its single objects bring becomes rows of files.

Both ways to read Stripe, whole (`reader.py`) and for some customers (`subset.py`), store what they read through here.
Which objects they read is decided there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from urllib.parse import quote

from trueup.contract.schemas import TABLES
from trueup.stores.errors import StoreNotWhole
from trueup.stores.stripe.frames import payment_methods, rows
from trueup.stores.stripe.objects import OBJECT_OF
from trueup.stores.stripe.port import Refused, StripePort, Unanswered
from trueup.stores.stripe.table_writers import TableWriters

STRIPE_TABLES: Final = [name for name, table in TABLES.items() if table.store == "stripe"]


class Store(Protocol):
    """Takes objects of a table as they come."""

    def __call__(self, table: str, objects: list[Any], *, is_text_sound: bool = True) -> None: ...


class Reading:
    """One reading of Stripe while it goes on: what pages and single objects bring, as rows in the writers."""

    def __init__(self, port: StripePort, writers: TableWriters, workers: int) -> None:
        self.port, self.writers, self.workers = port, writers, workers
        self.observed_at = dict.fromkeys(STRIPE_TABLES, datetime.now(UTC))

    def store(self, table: str, objects: list[Any], *, is_text_sound: bool = True) -> None:
        """Rows of these objects, and of the payment methods that they name."""
        self.writers.add(table, rows(table, objects, is_text_sound=is_text_sound))
        named = payment_methods(table, objects, is_text_sound=is_text_sound)
        self.writers.add("stripe_payment_methods", named)

    def retrieve_all(
        self,
        table: str,
        ids: Collection[str],
        store: Store | None = None,
    ) -> None:
        """Objects by their ids; those that Stripe does not know have no row.

        Raises:
            StoreNotWhole: one of them could not be requested.
        """
        path, params = OBJECT_OF[table].path, OBJECT_OF[table].retrieve_params
        paths = [quote(name, safe="") for name in sorted(ids) if _can_be_requested(name)]
        with ThreadPoolExecutor(self.workers, thread_name_prefix="stripe") as threads:
            try:
                for found in threads.map(lambda name: self._retrieved(table, f"{path}/{name}", params), paths):
                    if found is not None:
                        (store or self.store)(table, [found[0]], is_text_sound=found[1])
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
                "Nothing of it is used. Run it again; status.stripe.com shows trouble on Stripe's side.",
                table=table.removeprefix("stripe_"),
            ) from trouble


def _can_be_requested(object_id: str) -> bool:
    """Whether an id can stand in an address: our mapping may hold anything; Stripe's are never empty or dots."""
    return object_id.strip(" .") != ""
