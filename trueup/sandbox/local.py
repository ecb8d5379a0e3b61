"""Six stores in a folder: an embedded PostgreSQL and a Stripe sandbox, filled with a fleet, while somebody needs them.

The Stripe objects are kept beside the databases, so that the same stores can be started again later. Only one process
may have a folder at a time; that is a lock which the system lets go of when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from pydantic import SecretStr

from trueup.sandbox.fleet import Fleet, load_fleet
from trueup.sandbox.postgres import EmbeddedPostgres, create_store_tables
from trueup.sandbox.stripe_api.running import DEFAULT_KEY, StripeSandboxProcess
from trueup.stores.errors import TrueupError
from trueup.stores.settings import Settings

OBJECTS: Final = "stripe"

OnRows = Callable[[int, int], None]
"""Called with rows loaded so far, and rows in all."""


class StoresInUse(TrueupError):
    """Another process has the stores of this folder."""


class NoStoresKept(TrueupError):
    """There are no stores to start again."""


@dataclass(frozen=True)
class LocalStores:
    """The six stores while they run, and the settings that lead to them."""

    folder: Path
    settings: Settings
    stripe: StripeSandboxProcess

    def load(self, fleet: Fleet, on_rows: OnRows = lambda _done, _all: None) -> None:
        """Put a fleet into the stores, and keep its Stripe objects for the next start."""
        load_fleet(fleet, self.settings, self.stripe, lambda _name, done, total: on_rows(done, total))
        objects = self.folder / OBJECTS
        objects.mkdir(exist_ok=True)
        for kind, records in fleet.stripe.items():
            records.write_parquet(objects / f"{kind}.parquet")


@contextmanager
def local_stores(settings: Settings, folder: Path, *, is_new: bool, port: int = 0) -> Iterator[LocalStores]:
    """Start the stores of a folder, and end them with the block.

    Args:
        settings: of which everything but addresses and home is taken over.
        folder: where they live, and the auditor's home for them.
        is_new: empty ones, in place of what was there; else as they were left.
        port: of the Stripe sandbox; 0 takes a free one.

    Raises:
        StoresInUse: another process has them.
        NoStoresKept: there are none to start again.
    """
    with ExitStack() as running:
        running.enter_context(_alone(folder))
        if is_new:
            _clear(folder)
        elif not (folder / OBJECTS).exists():
            raise NoStoresKept(f"there are no stores in {folder}.", "`trueup demo` or `trueup sandbox` makes some.")
        postgres = running.enter_context(EmbeddedPostgres(folder / "postgres"))
        create_store_tables(postgres.urls)
        stripe = running.enter_context(StripeSandboxProcess(port=port))
        if not is_new:
            stripe.load({path.stem: pl.read_parquet(path) for path in sorted((folder / OBJECTS).iterdir())})
        addresses = {f"{database}_url": url for database, url in postgres.urls.items()}
        own = {
            **addresses,
            "subs_api_writer_url": postgres.urls["subs_api"],
            "stripe_api_key": SecretStr(DEFAULT_KEY),
            "stripe_api_base": stripe.base_url,
            "home": folder,
            "lake": "",
            "approvers": None,
        }
        yield LocalStores(folder, settings.model_copy(update=own), stripe)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoresInUse(f"the stores in {folder} are running already.", "End the other one first.") from None
        yield


def _clear(folder: Path) -> None:
    """Everything of the last time but the lock."""
    for inside in folder.iterdir():
        if inside.is_dir():
            shutil.rmtree(inside)
        elif inside.name != ".lock":
            inside.unlink()
