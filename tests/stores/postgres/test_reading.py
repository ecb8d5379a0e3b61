"""Reading a database: exact values, one instant, nothing personal, and errors that tell the mend."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.conftest import settings_for
from tests.stores.rows import as_role, put, session
from trueup.contract.schemas import TABLES
from trueup.sandbox.postgres import EmbeddedPostgres, create_store_tables
from trueup.stores.errors import ColumnMissing, PrivilegeMissing, StoreNotWhole, StoreUnreachable, TableMissing
from trueup.stores.postgres.models import DATABASE_OF
from trueup.stores.postgres.reading import open_reading, read_frame, read_table, tables_in
from trueup.stores.scope import Scope, bucket_of
from trueup.stores.settings import DATABASES, Settings, libpq_url, sqlalchemy_url

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def read(settings: Settings, name: str, scope: Scope | None = None) -> pl.DataFrame:
    database = next(d for d in DATABASES if d == DATABASE_OF[name])
    with open_reading(settings, database) as reading:
        return read_frame(reading, name, scope)


@pytest.mark.parametrize("name", sorted(DATABASE_OF))
def test_an_empty_table_has_the_engines_columns_and_types(settings: Settings, name: str) -> None:
    assert read(settings, name).schema == TABLES[name].schema


def test_odd_values_arrive_as_they_are(settings: Settings, databases: dict[str, str]) -> None:
    odd = "c\n'\"\\ü☃\t,{}"
    put(databases, "accounts", {"account_id": odd, "country": "", "created_at": NOON, "version": 2**62})
    put(
        databases,
        "products",
        {"plan_code": "low", "amount": -(2**63), "features": ["a", None, "b,c", ""]},
        {"plan_code": "high", "amount": 2**63 - 1, "features": []},
        {"plan_code": "none", "features": None},
    )
    account = read(settings, "accounts").row(0, named=True)
    products = {row["plan_code"]: row for row in read(settings, "products").iter_rows(named=True)}

    assert (account["account_id"], account["country"], account["timezone"]) == (odd, "", None)
    assert (account["created_at"], account["version"], account["unreadable"]) == (NOON, 2**62, None)
    assert (products["low"]["amount"], products["high"]["amount"]) == (-(2**63), 2**63 - 1)
    assert [products[code]["features"] for code in ("low", "high", "none")] == [["a", None, "b,c", ""], [], None]


def test_instants_that_no_frame_can_hold_read_as_null_and_are_named(
    settings: Settings, databases: dict[str, str]
) -> None:
    with session(databases["subs_api"]) as owner:
        owner.execute("""
            INSERT INTO subs_dunning (account_id, next_retry_at, computed_at, clock_started_on) VALUES
                ('endless', 'infinity', '-infinity', 'infinity'),
                ('far', '294276-12-31', '4000-01-01 BC', '5874897-12-31'),
                ('edge', '9999-12-31 23:59:59.999999+00', '0001-01-01 00:00+00', '9999-12-31'),
                ('plain', '2026-03-01 00:00+14', NULL, '2026-03-01')
        """)
    rows = {row["account_id"]: row for row in read(settings, "subs_dunning").iter_rows(named=True)}

    every = "clock_started_on,next_retry_at,computed_at"
    assert [rows[a]["unreadable"] for a in ("endless", "far", "edge", "plain")] == [every, every, None, None]
    assert all(rows[account][column] is None for account in ("endless", "far") for column in every.split(","))
    assert rows["edge"]["next_retry_at"] == datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert rows["plain"]["next_retry_at"] == datetime(2026, 2, 28, 10, tzinfo=UTC)


def test_an_array_of_arrays_is_named_as_unreadable(settings: Settings, databases: dict[str, str]) -> None:
    with session(databases["cf_prod"]) as owner:
        owner.execute("INSERT INTO products (plan_code, features) VALUES ('p', ARRAY[['a'], ['b']])")

    assert read(settings, "products").select("features", "unreadable").row(0) == (None, "features")


def test_of_a_payload_only_its_shape_and_its_objects_id_are_read(settings: Settings, databases: dict[str, str]) -> None:
    payloads: dict[str, Any] = {
        "sound": {"type": "invoice.paid", "data": {"object": {"id": "in_1", "customer_email": "a@example.com"}}},
        "no id": {"type": "invoice.paid", "data": {"object": {}}},
        "no type": {"data": {"object": {"id": "in_1"}}},
        "object is a text": {"type": "invoice.paid", "data": {"object": "in_1"}},
        "list": [1, 2],
        "text": "oops",
        "json null": None,
    }
    for event_id, payload in payloads.items():
        put(databases, "subs_stuck_events", {"event_id": event_id, "payload": Jsonb(payload)})
    put(databases, "subs_stuck_events", {"event_id": "sql null", "payload": None})
    rows = read(settings, "subs_stuck_events")
    sound = rows.filter("is_well_formed")["event_id"].to_list()

    assert sorted(sound) == ["no id", "sound"]
    assert dict(rows.select("event_id", "object_id").drop_nulls().iter_rows()) == {"sound": "in_1", "no type": "in_1"}
    assert rows["is_well_formed"].null_count() == 0


def test_a_payload_of_ten_megabytes_is_looked_at_where_it_is(settings: Settings, databases: dict[str, str]) -> None:
    with session(databases["subs_api"]) as owner:
        owner.execute("""
            INSERT INTO subs_stuck_events (event_id, payload) SELECT 'big', jsonb_build_object(
                'type', 'x', 'data', jsonb_build_object('object', jsonb_build_object('id', repeat('i', 10000000))))
        """)
    rows = read(settings, "subs_stuck_events")

    assert rows["is_well_formed"].to_list() == [True]
    assert rows["object_id"].str.len_chars().to_list() == [255]


def test_personal_data_is_in_no_statement() -> None:
    from trueup.stores.postgres.selects import columns_read, select

    for name in DATABASE_OF:
        statement = select(name, Scope.fleet(), 16)
        assert "email" not in statement
        assert "last_error" not in statement
        assert "email" not in " ".join(columns_read(name))
    assert '"name"' not in select("products", Scope.fleet(), 16)


def test_text_that_is_not_utf8_reads_as_null_and_is_named(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with session(postgres.url("postgres")) as owner:
        owner.execute("CREATE DATABASE raw_bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    url = postgres.url("raw_bytes")
    create_store_tables({"cf_prod": sqlalchemy_url(url)})
    with session(url) as owner:
        owner.execute("SET client_encoding TO 'SQL_ASCII'")
        owner.execute(
            rb"INSERT INTO accounts (account_id, country) VALUES ('latin', E'\xe9t\xe9'), ('good', E'\xc3\xa9')"
        )
        owner.execute(rb"INSERT INTO products (plan_code, features) VALUES ('p', ARRAY[E'\xff', 'a'])")
    settings = settings_for({"cf_prod": url, "billing_prod": url, "subs_api": url}, tmp_path)
    rows = {row["account_id"]: row for row in read(settings, "accounts").iter_rows(named=True)}
    products = read(settings, "products")
    postgres.drop_database("raw_bytes")

    assert (rows["latin"]["country"], rows["latin"]["unreadable"]) == (None, "country")
    assert (rows["good"]["country"], rows["good"]["unreadable"]) == ("é", None)
    assert products.select("features", "unreadable").row(0) == (None, "features")


def test_all_tables_show_the_instant_at_which_the_reading_began(settings: Settings, databases: dict[str, str]) -> None:
    put(databases, "invoices", {"invoice_id": "in_before"})
    with open_reading(settings, "billing_prod") as reading:
        put(databases, "invoices", {"invoice_id": "in_after"})
        put(databases, "charges", {"charge_id": "ch_after", "invoice_id": "in_after"})
        invoices, charges = read_frame(reading, "invoices"), read_frame(reading, "charges")

        assert invoices["invoice_id"].to_list() == ["in_before"]
        assert charges.is_empty()
        assert abs((datetime.now(UTC) - reading.observed_at).total_seconds()) < 60


def test_a_large_table_comes_in_several_batches(settings: Settings, databases: dict[str, str]) -> None:
    with session(databases["cf_prod"]) as owner:
        owner.execute("""
            INSERT INTO entitlements (account_id, feature, active)
            SELECT 'a' || n, repeat('f', 200), true FROM generate_series(1, 200000) n
        """)
    with open_reading(settings, "cf_prod") as reading:
        sizes = [batch.num_rows for batch in read_table(reading, "entitlements")]

    assert sum(sizes) == 200_000
    assert len(sizes) > 1


def test_a_list_of_accounts_reads_their_rows_only(settings: Settings, databases: dict[str, str]) -> None:
    odd = 'q"\\,☃'
    put(databases, "accounts", *({"account_id": account} for account in ("a", "b", odd)))
    scope = Scope.of_accounts(["a", odd, "not there"])

    assert sorted(read(settings, "accounts", scope)["account_id"]) == ["a", odd]


def test_buckets_read_the_same_accounts_as_python_says(settings: Settings, databases: dict[str, str]) -> None:
    accounts = [f"acct_{number}" for number in range(200)]
    put(databases, "dunning_states", *({"account_id": account} for account in accounts))
    scope = Scope.of_buckets([3, 5])
    expected = sorted(account for account in accounts if bucket_of(account, 16) in {3, 5})

    assert sorted(read(settings, "dunning_states", scope)["account_id"]) == expected
    assert 0 < len(expected) < len(accounts)


def test_nothing_answers(databases: dict[str, str], tmp_path: Path) -> None:
    nowhere = "postgresql://auditor:hunter2@127.0.0.1:1/cf_prod"
    settings = settings_for(databases | {"cf_prod": nowhere}, tmp_path)

    with pytest.raises(StoreUnreachable, match="cf_prod") as caught, open_reading(settings, "cf_prod"):
        pass
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_a_wrong_password_is_not_repeated(
    postgres: EmbeddedPostgres, databases: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server asks this role for a password; all others are let in."""
    rules = postgres.folder / "pg_hba.conf"
    before = rules.read_text()
    with session(postgres.url("postgres")) as owner:
        owner.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
        rules.write_text("local all locked scram-sha-256\n" + before)
        owner.execute("SELECT pg_reload_conf()")
    settings = settings_for(databases | {"cf_prod": as_role(databases["cf_prod"], "locked", "hunter2")}, tmp_path)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(StoreUnreachable, match="password authentication failed") as caught,
        open_reading(settings, "cf_prod"),
    ):
        pass
    with session(postgres.url("postgres")) as owner:
        rules.write_text(before)
        owner.execute("SELECT pg_reload_conf()")
        owner.execute("DROP ROLE locked")

    assert "hunter2" not in f"{caught.value} {caught.value.__cause__!r} {settings!r} {caplog.text}"


def test_a_missing_database_is_unreachable(
    databases: dict[str, str], postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    settings = settings_for(databases | {"cf_prod": postgres.url("no_such_database")}, tmp_path)

    with pytest.raises(StoreUnreachable, match="no_such_database"), open_reading(settings, "cf_prod"):
        pass


def test_a_missing_table_is_named(settings: Settings, databases: dict[str, str]) -> None:
    with session(databases["billing_prod"]) as owner:
        owner.execute("DROP TABLE schedules")

    with pytest.raises(TableMissing, match=r"billing_prod\.schedules"):
        read(settings, "schedules")


def test_missing_and_mistyped_columns_are_named_all_at_once(settings: Settings, databases: dict[str, str]) -> None:
    with session(databases["billing_prod"]) as owner:
        owner.execute("ALTER TABLE charges DROP COLUMN trigger, DROP COLUMN amount")
        owner.execute("ALTER TABLE charges ALTER COLUMN amount_refunded TYPE numeric")

    with pytest.raises(ColumnMissing) as caught:
        read(settings, "charges")
    assert "amount is missing; trigger is missing; amount_refunded is numeric, not bigint" in str(caught.value)


def test_a_missing_privilege_comes_with_the_grant_that_mends_it(databases: dict[str, str], tmp_path: Path) -> None:
    with session(databases["cf_prod"]) as owner:
        owner.execute("DROP ROLE IF EXISTS half_reader")
        owner.execute("CREATE ROLE half_reader LOGIN")
        owner.execute("GRANT SELECT (plan_code, amount) ON products TO half_reader")
    url = as_role(databases["cf_prod"], "half_reader")
    settings = settings_for(databases | {"cf_prod": url}, tmp_path)

    with pytest.raises(PrivilegeMissing, match="may not read currency, interval") as caught:
        read(settings, "products")
    mend = caught.value.way_out.removeprefix("As its owner: ").split(" TO ")[0] + " TO half_reader"
    with session(databases["cf_prod"]) as owner:
        owner.execute(mend.encode())
    assert read(settings, "products").is_empty()
    with session(databases["cf_prod"]) as owner:
        owner.execute("DROP OWNED BY half_reader")
        owner.execute("DROP ROLE half_reader")


def test_a_stream_that_breaks_off_is_no_short_table(settings: Settings, databases: dict[str, str]) -> None:
    with session(databases["cf_prod"]) as owner:
        owner.execute("""
            INSERT INTO entitlements (account_id, feature, active)
            SELECT 'a' || n, repeat('f', 200), true FROM generate_series(1, 400000) n
        """)
        with open_reading(settings, "cf_prod") as reading:
            batches = read_table(reading, "entitlements")
            batches.read_next_batch()
            owner.execute("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND query LIKE '%entitlements%' AND pid <> pg_backend_pid()
            """)
            with pytest.raises(StoreNotWhole, match=r"cf_prod\.entitlements"):
                batches.read_all()


def test_a_reading_leaves_no_session_behind(settings: Settings, databases: dict[str, str]) -> None:
    with open_reading(settings, "cf_prod") as reading:
        for name in tables_in("cf_prod"):
            read_frame(reading, name)
    with session(databases["cf_prod"]) as owner:
        others = owner.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()

    assert others == (0,)


def test_a_reading_cannot_write(settings: Settings) -> None:
    with (
        open_reading(settings, "cf_prod") as reading,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        reading.holder.execute(sql.SQL("INSERT INTO accounts (account_id) VALUES ('a')"))


def test_the_address_is_limited_in_how_long_it_may_take(settings: Settings) -> None:
    from trueup.stores.postgres.reading import reading_url

    assert "connect_timeout=10" in reading_url(settings, "cf_prod")
    assert libpq_url(settings.cf_prod_url) != reading_url(settings, "cf_prod")
