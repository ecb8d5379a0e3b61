"""The Dagster instance of this project: where its runs, events and schedules are stored, and how it is opened.

They live in PostgreSQL: the database that TRUEUP_DAGSTER_PG_URL names, or, without it, an embedded server under the
auditor's home that runs while somebody has the instance open. SQLite only where TRUEUP_DAGSTER_STORAGE asks for it. So
what the command line runs and what the web server shows are one history. `pipelines/dagster.yaml` is the configuration;
telemetry and the invitation to a newsletter are off: what a billing auditor does is nobody else's business.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dagster as dg
from sqlalchemy.engine import make_url

from trueup.sandbox.postgres import EmbeddedPostgres
from trueup.stores.settings import Settings

PG_URL: Final = "TRUEUP_DAGSTER_PG_URL"
DATABASE: Final = "dagster"
TEMPLATE: Final = Path(__file__).with_name("dagster.yaml")
OURS: Final = "# Written by Trueup at every start."
IN_POSTGRES: Final = f"""
storage:
  postgres:
    postgres_url:
      env: {PG_URL}
"""
POOLS: Final = {
    "apply": 1,
    "relay": 1,
    "read_cf_prod": 2,
    "read_billing_prod": 2,
    "read_subs_api": 2,
    "read_stripe": 2,
}


def dagster_home(settings: Settings) -> Path:
    """The instance's folder, made and configured."""
    folder = settings.home.resolve() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "dagster.yaml"
    if not config.exists() or config.read_text(encoding="utf-8").startswith(OURS):
        config.write_text(dagster_yaml(settings), encoding="utf-8")
    return folder


def dagster_yaml(settings: Settings) -> str:
    """The instance's configuration. It names no address: that is in the environment only."""
    return TEMPLATE.read_text(encoding="utf-8") + (IN_POSTGRES if settings.dagster_storage == "postgres" else "")


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance, open for the length of the block."""
    with instance_database(settings), dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
        yield instance


def make_instance(settings: Settings) -> None:
    """Make the instance's tables, if it is new, and give its pools their slots."""
    with open_instance(settings) as instance:
        instance.get_run_records(limit=1)
        instance.all_instigator_state()
        instance.get_asset_keys(limit=1)
        for pool, slots in POOLS.items():
            instance.event_log_storage.set_concurrency_slots(pool, slots)


@contextmanager
def instance_database(settings: Settings) -> Iterator[None]:
    """The instance's database, running and named in the environment for the length of the block.

    The environment is where Dagster's own processes look for it, and so do the children of this one.
    """
    if settings.dagster_storage == "sqlite":
        yield
        return
    if settings.dagster_pg_url:
        with _in_environment(psycopg2_url(settings.dagster_pg_url)):
            yield
        return
    with _embedded(settings.home.resolve() / "dagster" / "postgres") as url, _in_environment(psycopg2_url(url)):
        yield


def psycopg2_url(address: str) -> str:
    """The address as dagster-postgres takes it; a bare `postgresql://` would mean psycopg 3 (dagster#33958)."""
    url = make_url(address).set(drivername="postgresql+psycopg2")
    return url.difference_update_query(["client_encoding"]).render_as_string(hide_password=False)


@contextmanager
def _in_environment(url: str) -> Iterator[None]:
    before = os.environ.get(PG_URL)
    os.environ[PG_URL] = url
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(PG_URL, None)
        else:
            os.environ[PG_URL] = before


@dataclass
class _Held:
    """An embedded server of this process, and how many have it open."""

    server: EmbeddedPostgres
    users: int = 0


_held: dict[Path, _Held] = {}
_lock = threading.Lock()


@contextmanager
def _embedded(folder: Path) -> Iterator[str]:
    """The embedded server of a folder: started by the first who opens it, stopped by the last."""
    with _lock:
        held = _held.get(folder)
        if held is None:
            held = _Held(EmbeddedPostgres(folder, (DATABASE,)))
            held.server.start()
            _held[folder] = held
        held.users += 1
    try:
        yield held.server.url(DATABASE)
    finally:
        with _lock:
            held.users -= 1
            if held.users == 0:
                del _held[folder]
                held.server.stop()
