"""Gathering into a folder: whole files or none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tests.stores.rows import put, session
from trueup.contract.schemas import TABLES
from trueup.stores.errors import StoreNotWhole, TableMissing
from trueup.stores.parquet_writer import scan_tables, write_table
from trueup.stores.postgres.gather import gather_database, gather_table, readings
from trueup.stores.postgres.reading import read_table
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings


def test_a_database_is_gathered_into_one_file_per_table(
    settings: Settings, databases: dict[str, str], tmp_path: Path
) -> None:
    put(databases, "accounts", {"account_id": "a"}, {"account_id": "b"})
    put(databases, "entitlements", {"account_id": "a", "feature": "f"})
    with readings(settings) as reading_of:
        reading = reading_of("cf_prod")
        reads = gather_database(reading, Scope.fleet(), tmp_path)

        assert {name: read.rows for name, read in reads.items()} == {"accounts": 2, "entitlements": 1, "products": 0}
        assert {read.observed_at for read in reads.values()} == {reading.observed_at}
    assert all(read.path.stat().st_size == read.bytes for read in reads.values())
    assert all(read.store == "cf_prod" for read in reads.values())
    assert reads["products"].scan().collect_schema() == TABLES["products"].schema
    assert sorted(scan_tables(tmp_path, ["accounts"])["accounts"].collect()["account_id"]) == ["a", "b"]


def test_progress_counts_every_row(settings: Settings, databases: dict[str, str], tmp_path: Path) -> None:
    with session(databases["cf_prod"]) as owner:
        owner.execute("INSERT INTO accounts (account_id) SELECT 'a' || n FROM generate_series(1, 1000) n")
    seen: Counter[str] = Counter()
    with readings(settings) as reading_of:
        gather_database(reading_of("cf_prod"), Scope.fleet(), tmp_path, on_rows=lambda t, n: seen.update({t: n}))

    assert seen == {"accounts": 1000}


def test_a_reading_that_breaks_off_leaves_no_file(
    settings: Settings, databases: dict[str, str], tmp_path: Path
) -> None:
    with session(databases["cf_prod"]) as owner:
        owner.execute("""
            INSERT INTO entitlements (account_id, feature)
            SELECT 'a' || n, repeat('f', 200) FROM generate_series(1, 400000) n
        """)
        with readings(settings) as reading_of:
            batches = read_table(reading_of("cf_prod"), "entitlements")
            observed_at = reading_of("cf_prod").observed_at

            def cut(_rows: int) -> None:
                owner.execute("""
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE '%entitlements%' AND pid <> pg_backend_pid()
                """)

            with pytest.raises(StoreNotWhole):
                write_table("entitlements", batches, tmp_path, observed_at, cut)

    assert list(tmp_path.glob("entitlements*")) == []


def test_a_missing_table_ends_the_gathering(settings: Settings, databases: dict[str, str], tmp_path: Path) -> None:
    with session(databases["cf_prod"]) as owner:
        owner.execute("DROP TABLE entitlements")
    with readings(settings) as reading_of, pytest.raises(TableMissing, match="entitlements"):
        gather_database(reading_of("cf_prod"), Scope.fleet(), tmp_path)


def test_databases_are_opened_when_asked_for_and_once(settings: Settings, tmp_path: Path) -> None:
    with readings(settings) as reading_of:
        assert reading_of("cf_prod") is reading_of("cf_prod")
        read = gather_table(reading_of("cf_prod"), "accounts", Scope.fleet(), tmp_path)

    assert pl.read_parquet(read.path).is_empty()
