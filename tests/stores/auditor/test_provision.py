"""Roles are tested by trying: what the database refuses, it refuses whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from polars.testing import assert_frame_equal
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Jsonb

from tests.conftest import READER, WRITER, fresh_databases, settings_for
from tests.stores.rows import as_role, put, session
from trueup.contract.schemas import TABLES
from trueup.correction.ownership import OWNED
from trueup.sandbox.postgres import EmbeddedPostgres
from trueup.stores.auditor.provision import init_db
from trueup.stores.errors import PrivilegeMissing, SettingsError, TableMissing
from trueup.stores.postgres.models import DATABASE_OF, STORE_METADATA
from trueup.stores.postgres.reading import open_reading, read_frame
from trueup.stores.settings import DATABASES


@pytest.fixture(scope="module")
def provisioned(postgres: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    """Databases with the roles' grants; a test that changes these puts them back by another `init_db`."""
    with fresh_databases(postgres, is_bare=True) as urls:
        init_db(settings_for(urls), READER, WRITER)
        yield urls


def refused(connection: psycopg.Connection[Any], statement: str) -> bool:
    try:
        connection.execute(statement.encode())
    except InsufficientPrivilege:
        return True
    return False


def test_the_reader_reads_every_table_the_way_the_auditor_does(provisioned: dict[str, str]) -> None:
    settings = settings_for({name: as_role(url, READER) for name, url in provisioned.items()})
    for database in DATABASES:
        with open_reading(settings, database) as reading:
            for name in (name for name, home in DATABASE_OF.items() if home == database):
                assert read_frame(reading, name).schema == TABLES[name].schema


@pytest.mark.parametrize(
    ("database", "column", "table"),
    [
        ("cf_prod", "email", "accounts"),
        ("cf_prod", "name", "products"),
        ("subs_api", "billing_email", "subs_account"),
        ("subs_api", "last_error", "subs_stuck_events"),
        ("subs_api", "payload", "subs_stuck_events"),
    ],
)
def test_the_reader_cannot_see_personal_data(
    provisioned: dict[str, str], database: str, column: str, table: str
) -> None:
    with session(provisioned[database], READER) as connection:
        assert refused(connection, f"SELECT {column} FROM {table}")
        assert refused(connection, f"SELECT * FROM {table}")


def test_the_reader_learns_the_shape_of_a_payload_that_it_cannot_see(provisioned: dict[str, str]) -> None:
    payload = {"type": "invoice.paid", "data": {"object": {"id": "in_1", "customer_email": "a@example.invalid"}}}
    put(provisioned, "subs_stuck_events", {"event_id": "sound", "payload": Jsonb(payload)})
    put(provisioned, "subs_stuck_events", {"event_id": "empty", "payload": None})
    settings = settings_for({name: as_role(url, READER) for name, url in provisioned.items()})
    with open_reading(settings, "subs_api") as by_view, open_reading(settings_for(provisioned), "subs_api") as direct:
        found = read_frame(by_view, "subs_stuck_events").sort("event_id")
        same = read_frame(direct, "subs_stuck_events").sort("event_id")
    with session(provisioned["subs_api"]) as owner:
        owner.execute("DELETE FROM subs_stuck_events")

    assert found.select("event_id", "is_well_formed", "object_id").rows() == [
        ("empty", False, None),
        ("sound", True, "in_1"),
    ]
    assert_frame_equal(found, same)


def test_without_the_view_the_mend_is_named(provisioned: dict[str, str]) -> None:
    with session(provisioned["subs_api"]) as owner:
        owner.execute("DROP VIEW trueup.stuck_event_shapes")
    settings = settings_for({name: as_role(url, READER) for name, url in provisioned.items()})
    try:
        with (
            open_reading(settings, "subs_api") as reading,
            pytest.raises(PrivilegeMissing, match="neither payload nor the view") as refusal,
        ):
            read_frame(reading, "subs_stuck_events")
    finally:
        init_db(settings_for(provisioned), READER, WRITER)

    assert "trueup init-db" in refusal.value.way_out


@pytest.mark.parametrize("table", sorted(DATABASE_OF))
def test_the_reader_can_write_nothing_to_any_store(provisioned: dict[str, str], table: str) -> None:
    with session(provisioned[DATABASE_OF[table]], READER) as connection:
        assert refused(connection, f"UPDATE {table} SET version = 2")
        assert refused(connection, f"DELETE FROM {table}")
        assert refused(connection, f"TRUNCATE {table}")
        assert refused(connection, f"INSERT INTO {table} DEFAULT VALUES")


@pytest.mark.parametrize("table", sorted(STORE_METADATA["subs_api"].tables))
def test_the_writer_can_update_exactly_the_columns_that_are_ours(provisioned: dict[str, str], table: str) -> None:
    columns = [column.name for column in STORE_METADATA["subs_api"].tables[table].columns]
    with session(provisioned["subs_api"], WRITER) as connection:
        allowed = {c for c in columns if not refused(connection, f"UPDATE {table} SET {c} = NULL WHERE false")}
    ours = set(OWNED[table].columns) if table in OWNED else set()

    assert allowed == ours


def test_the_writer_can_insert_only_into_subs_dunning(provisioned: dict[str, str]) -> None:
    tables = {"subs_dunning", "subs_account", "subs_mandate", "subs_stuck_events"}
    with session(provisioned["subs_api"], WRITER) as connection:
        key = {name: OWNED[name].key for name in tables}
        allowed = {name for name in tables if not refused(connection, f"INSERT INTO {name} ({key[name]}) VALUES ('a')")}

    assert allowed == {"subs_dunning"}


def test_the_writer_can_delete_no_row_of_a_store(provisioned: dict[str, str]) -> None:
    with session(provisioned["subs_api"], WRITER) as connection:
        assert all(refused(connection, f"DELETE FROM {table}") for table in STORE_METADATA["subs_api"].tables)


def test_the_writer_has_no_rights_in_the_stores_that_are_not_ours(provisioned: dict[str, str]) -> None:
    for table in (name for name, database in DATABASE_OF.items() if database != "subs_api"):
        with session(provisioned[DATABASE_OF[table]], WRITER) as connection:
            assert refused(connection, f"SELECT version FROM {table}")
            assert refused(connection, f"UPDATE {table} SET version = 2")


@pytest.mark.parametrize("role", [READER, WRITER])
def test_neither_role_can_touch_the_past_of_the_audit_log(provisioned: dict[str, str], role: str) -> None:
    with session(provisioned["subs_api"], role) as connection:
        assert refused(connection, "UPDATE trueup.audit_log SET actor = 'nobody'")
        assert refused(connection, "DELETE FROM trueup.audit_log")
        assert refused(connection, "TRUNCATE trueup.audit_log")
        assert refused(connection, "ALTER TABLE trueup.audit_log DISABLE TRIGGER ALL")
        assert refused(connection, "DROP TABLE trueup.audit_log")


def test_the_reader_reads_the_auditors_schema_and_does_not_write_it(provisioned: dict[str, str]) -> None:
    with session(provisioned["subs_api"], READER) as connection:
        connection.execute("SELECT * FROM trueup.audit_log")
        assert refused(connection, "INSERT INTO trueup.kill_switch VALUES (2, true, '', '', now())")


def test_a_second_run_changes_nothing_and_fails_at_nothing(provisioned: dict[str, str]) -> None:
    again = init_db(settings_for(provisioned), READER, WRITER)

    assert not [statement for statement in again if "CREATE ROLE" in statement or "CREATE TABLE" in statement]


def test_rights_that_a_role_has_beyond_its_own_are_taken_away(provisioned: dict[str, str]) -> None:
    with session(provisioned["cf_prod"]) as owner:
        owner.execute(f"GRANT ALL ON accounts TO {READER}".encode())
    init_db(settings_for(provisioned), READER, WRITER)

    with session(provisioned["cf_prod"], READER) as connection:
        assert refused(connection, "SELECT email FROM accounts")
        assert refused(connection, "DELETE FROM accounts")


def test_without_roles_only_the_schema_is_made(bare_databases: dict[str, str]) -> None:
    statements = init_db(settings_for(bare_databases))

    assert statements[0].startswith("CREATE SCHEMA")
    assert not [statement for statement in statements if statement.startswith("GRANT")]


def test_the_statements_are_given_back_as_they_were_applied(
    bare_databases: dict[str, str],
) -> None:
    statements = init_db(settings_for(bare_databases), READER, WRITER)
    granted = [s for s in statements if "accounts" in s and s.startswith("GRANT SELECT")]

    columns = (
        '"account_id", "country", "currency", "timezone", "status", "plan_code", "parent_account_id", "created_at"'
    )
    assert granted == [f'GRANT SELECT ({columns}, "updated_at", "version") ON "public"."accounts" TO "trueup_reader"']


def test_a_superuser_is_refused_as_a_role(bare_databases: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="postgres is a superuser"):
        init_db(settings_for(bare_databases), "postgres", WRITER)


def test_one_role_for_both_is_refused(bare_databases: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="both"):
        init_db(settings_for(bare_databases), READER, READER)


def test_a_missing_store_table_is_named(bare_databases: dict[str, str]) -> None:
    with session(bare_databases["billing_prod"]) as owner:
        owner.execute("DROP TABLE schedules")

    with pytest.raises(TableMissing, match="schedules"):
        init_db(settings_for(bare_databases), READER, WRITER)


def test_a_login_that_may_not_grant_is_told_so(provisioned: dict[str, str], tmp_path: Path) -> None:
    by_reader = settings_for({name: as_role(url, READER) for name, url in provisioned.items()}, tmp_path)

    with pytest.raises(PrivilegeMissing, match="init-db"):
        init_db(by_reader, "someone_new", None)


def test_every_table_of_the_engine_that_is_not_stripes_has_a_model() -> None:
    assert {name for name, table in TABLES.items() if table.store != "stripe"} == set(DATABASE_OF)
