"""What tests share: one embedded PostgreSQL for the session, and fresh databases for each test that asks for them."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from trueup.sandbox.postgres import EmbeddedPostgres, create_store_tables
from trueup.stores.auditor.provision import init_db
from trueup.stores.settings import DATABASES, Settings

READER, WRITER = "trueup_reader", "trueup_writer"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have TRUEUP_… set; no test is to read it."""
    for name in [name for name in os.environ if name.startswith("TRUEUP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRUEUP_DAGSTER_STORAGE", "sqlite")  # a server for each home would cost seconds in each test


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for a PostgreSQL server, which as root runs as another user.

    It is not in pytest's own: every session of pytest that starts shuts that to all users but its own.
    """
    with tempfile.TemporaryDirectory(prefix="trueup-postgres-") as folder:
        yield Path(folder) / "data"


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server with template databases: `bare_…` with the stores' tables, `made_…` with schema trueup as well."""
    with (
        tempfile.TemporaryDirectory(prefix="trueup-postgres-") as folder,
        EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        create_store_tables({name: server.create_database(f"bare_{name}") for name in DATABASES})
        urls: dict[str, str] = {
            name: server.create_database(f"made_{name}", template=f"bare_{name}") for name in DATABASES
        }
        init_db(settings_for(urls), READER, WRITER)
        yield server


@pytest.fixture
def databases(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Fresh databases for one test, with the stores' tables, empty, and schema trueup: name → address.

    A module whose tests stay in one database says so, `NEEDS_DATABASES = ("subs_api",)`, and is quicker for it.
    """
    with fresh_databases(postgres, getattr(request.module, "NEEDS_DATABASES", DATABASES)) as urls:
        yield urls


@pytest.fixture
def bare_databases(postgres: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    """The same without schema trueup, as `trueup init-db` finds them."""
    with fresh_databases(postgres, is_bare=True) as urls:
        yield urls


@pytest.fixture
def settings(databases: dict[str, str], tmp_path: Path) -> Settings:
    """Settings for the fresh databases, with a home of their own.

    Whatever a test writes through them, it writes with the writer's role, so that every test tries the grants as well.
    """
    writer_url = make_url(databases["subs_api"]).set(username=WRITER).render_as_string(hide_password=False)
    return settings_for(databases, home=tmp_path / "home").model_copy(update={"subs_api_writer_url": writer_url})


def settings_for(urls: Mapping[str, str], home: Path | None = None) -> Settings:
    return Settings(
        cf_prod_url=urls["cf_prod"],
        billing_prod_url=urls["billing_prod"],
        subs_api_url=urls["subs_api"],
        home=home or Path(".trueup"),
    )


@contextmanager
def fresh_databases(
    server: EmbeddedPostgres, names: Collection[str] = DATABASES, *, is_bare: bool = False
) -> Iterator[dict[str, str]]:
    """Databases that are dropped in the end; for a module whose tests leave each other's rows alone.

    Those that are not among `names` are the templates, empty, and not to be written to.
    """
    template, suffix = "bare" if is_bare else "made", uuid.uuid4().hex[:12]
    yield {
        name: server.create_database(f"{name}_{suffix}", template=f"{template}_{name}")
        if name in names
        else server.url(f"{template}_{name}")
        for name in DATABASES
    }
    for name in names:
        server.drop_database(f"{name}_{suffix}")
