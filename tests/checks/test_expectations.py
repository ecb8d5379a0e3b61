"""Great Expectations and the sweep judge the same rows, on a real PostgreSQL and on Stripe's lists, and agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import psycopg
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from checks.expectations import EXPECTATION_CHECKS, judging
from checks.expectations.asset_checks import judge_store
from checks.expectations.judging import judge_frame, judging_database
from checks.expectations.suites import FOLDER, SEVERITIES, Suite, load_suite, suites_of
from checks.expectations.sweeping import NO_KEY, Broken, sweep_suite
from pipelines.definitions import build_defs
from tests.checks.broken_rows import PERSONAL, keys_planted, let_in, make_unreadable, planted_in
from tests.conftest import READER, fresh_databases, settings_for
from tests.engine import anything
from trueup.contract import sweep
from trueup.contract.rules import rules_of
from trueup.contract.schemas import STORES, TABLES
from trueup.contract.sweep import MAY_REPEAT
from trueup.sandbox.fleet import Fleet, load_fleet, make_fleet
from trueup.sandbox.postgres import EmbeddedPostgres
from trueup.stores.errors import StoreNotWhole
from trueup.stores.lake.tables import Lake, RunUnknown
from trueup.stores.postgres.gather import gather_database
from trueup.stores.postgres.models import DATABASE_OF
from trueup.stores.postgres.reading import open_reading
from trueup.stores.scope import Scope
from trueup.stores.settings import DATABASES, Database, Settings, libpq_url

IN_DATABASES = [store for store in STORES if store != "stripe"]
SUITES = [suite for store in STORES for suite in suites_of(store)]
OF_TABLES = [suite for suite in SUITES if suite.table in DATABASE_OF]
OF_STRIPE = [suite for suite in SUITES if suite.table not in DATABASE_OF]
# Great Expectations looks into no list.
ONLY_SWEPT = {("stripe_disputes", "balance_transaction_ats", "instant_out_of_range")}


@dataclass
class Lab:
    """Databases that the reader's role reads, and what is in them."""

    fleet: Fleet
    settings: Settings
    owner_urls: dict[str, str]


@pytest.fixture(scope="module")
def sound(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A fleet in which nothing is wrong."""
    with fresh_databases(postgres) as urls:
        fleet = make_fleet(accounts=300, drift=0, seed=3)
        load_fleet(fleet, urls)
        yield Lab(fleet, as_reader(urls, tmp_path_factory.mktemp("sound")), urls)


@pytest.fixture(scope="module")
def broken(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The same, and for each claim of each suite a row that breaks it; Stripe's lists in the lake."""
    with fresh_databases(postgres) as urls:
        fleet = planted_in(make_fleet(accounts=300, drift=0, seed=3), SUITES)
        let_in(urls, OF_TABLES)
        load_fleet(fleet, urls)
        make_unreadable(urls, OF_TABLES)
        settings = as_reader(urls, tmp_path_factory.mktemp("broken"))
        keep_in_lake(fleet, settings)
        yield Lab(fleet, settings, urls)


def as_reader(urls: dict[str, str], home: Path) -> Settings:
    reading = {
        name: make_url(url).set(username=READER).render_as_string(hide_password=False) for name, url in urls.items()
    }
    return settings_for(reading, home=home)


def keep_in_lake(fleet: Fleet, settings: Settings) -> None:
    observed_at = dict.fromkeys(STORES, datetime(2026, 11, 20, tzinfo=UTC))
    snapshot = {name: frame.lazy() for name, frame in fleet.frames.items()}
    Lake.of(settings).commit("run", snapshot, observed_at, Scope.fleet(), settings.bucket_count)


# The suites as data -------------------------------------------------------------------------------------------------


def test_every_rule_of_the_sweep_is_a_claim_of_a_suite_and_no_claim_is_without_a_rule() -> None:
    rules = {(table, rule.column, rule.id) for table in TABLES for rule in rules_of(table, None)}
    rules |= {(table, ",".join(TABLES[table].key), "duplicate_key") for table in set(TABLES) - MAY_REPEAT}
    rules |= {(table, "unreadable", "unreadable_value") for table in DATABASE_OF if table in TABLES}

    claimed = {(one.table, ",".join(one.columns), one.rule) for suite in SUITES for one in suite.expected}

    assert claimed == rules - ONLY_SWEPT


def test_every_table_has_a_suite_and_no_suite_is_of_anything_else() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(TABLES)
    for table in TABLES:
        suite = load_suite(table)
        claims = [one.claim for one in suite.expected]
        assert suite.document["name"] == table
        assert len(claims) == len(set(claims))
        assert {one.severity for one in suite.expected} <= set(SEVERITIES)
        assert {column for one in suite.expected for column in one.columns_needed} <= set(TABLES[table].columns)


def test_each_expectation_is_a_check_of_an_asset_that_exists_and_none_is_part_of_an_audit() -> None:
    defs = build_defs()
    graph = defs.resolve_asset_graph()
    keys = {key for checks in EXPECTATION_CHECKS for key in checks.check_keys}

    assert len(keys) == sum(len(suite.expected) for suite in SUITES)
    assert {key.asset_key for key in keys} <= set(graph.get_all_asset_keys())
    for job, its_checks in (("contracts", keys), ("audit", set()), ("plan", set())):
        selected = defs.resolve_job_def(job).asset_layer.asset_graph.asset_check_keys
        assert keys & set(selected) == its_checks


# What both find -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", IN_DATABASES)
def test_in_a_sound_database_neither_finds_anything(sound: Lab, store: str) -> None:
    for suite, counts, swept in judge_store(sound.settings, store):
        assert counts == dict.fromkeys(claims_of(suite), 0)
        assert swept == dict.fromkeys(claims_of(suite), Broken(0))


@pytest.mark.parametrize("store", STORES)
def test_each_broken_row_is_counted_by_both_and_named_by_its_key(broken: Lab, store: str) -> None:
    for suite, counts, swept in judge_store(broken.settings, store):
        assert counts == {one.claim: 2 if one.is_of_keys else 1 for one in suite.expected}
        assert {claim: found.rows for claim, found in swept.items()} == counts
        assert {claim: found.keys for claim, found in swept.items()} == {
            one.claim: tuple(key or NO_KEY for key in keys_planted(one)) for one in suite.expected
        }


def test_the_rows_named_are_those_that_the_audit_sweeps(broken: Lab, tmp_path: Path) -> None:
    violations = sweep({**snapshot_of(broken.settings, tmp_path), **stripe_of(broken.fleet)}).violations
    readable = violations.filter(pl.col("rule") != "unreadable_value")
    swept = set(readable.select("table", "column", "rule", "key").iter_rows())

    planted = {
        (one.table, ",".join(one.columns), one.rule, key)
        for suite in SUITES
        for one in suite.expected
        for key in keys_planted(one)
        if not one.is_of_readability
    }

    assert swept == planted


def test_stripes_lists_are_judged_alike_in_one_piece_and_in_many(broken: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = load_suite("stripe_refunds")
    rows = pl.concat([broken.fleet.frames["stripe_refunds"]] * 2).lazy()
    at_once = judge_frame(rows, suite)
    monkeypatch.setattr(judging, "SLICE_ROWS", 20)

    assert judge_frame(rows, suite) == at_once
    assert at_once["no_two_rows_have_one_key"] == sweep_suite(rows, suite)["no_two_rows_have_one_key"].rows > 2


def test_an_empty_list_breaks_nothing() -> None:
    suite = load_suite("stripe_disputes")
    rows = pl.LazyFrame(schema=TABLES["stripe_disputes"].schema)

    assert judge_frame(rows, suite) == dict.fromkeys(claims_of(suite), 0)


def test_a_database_is_judged_at_the_readings_instant(broken: Lab) -> None:
    suite = load_suite("dunning_states")
    with open_reading(broken.settings, "billing_prod") as reading, judging_database(reading) as judge:
        with psycopg.connect(libpq_url(broken.owner_urls["billing_prod"])) as connection:
            connection.execute("INSERT INTO dunning_states (account_id, state) VALUES ('later', 'odd')")
        counts = judge.judge(suite)
        with psycopg.connect(libpq_url(broken.owner_urls["billing_prod"])) as connection:
            connection.execute("DELETE FROM dunning_states WHERE account_id = 'later'")

    assert counts["state_is_a_known_value"] == 1


@pytest.mark.parametrize("database", DATABASES)
def test_great_expectations_is_handed_counts_and_never_a_row(broken: Lab, database: Database) -> None:
    asked: list[tuple[str, int]] = []
    with open_reading(broken.settings, database) as reading, judging_database(reading) as judge:
        event.listen(Engine, "after_cursor_execute", listener := partial(_note, asked))
        for suite in OF_TABLES:
            if DATABASE_OF[suite.table] == database:
                judge.judge(suite)
        event.remove(Engine, "after_cursor_execute", listener)

    assert len(asked) > 10
    assert max(rows for _, rows in asked) == 1
    assert all("count(" in sql or "sum(" in sql for sql, rows in asked if rows == 1)
    assert not any("email" in sql for sql, _ in asked)


# What Dagster is told -----------------------------------------------------------------------------------------------


def test_the_job_fails_each_check_by_its_severity_and_shows_nothing_personal(broken: Lab) -> None:
    result = judged(broken.settings)

    told = "".join(str(event) for event in result.all_events)
    evaluations = {(e.asset_key.to_user_string(), e.check_name): e for e in result.get_asset_check_evaluations()}
    assert len(evaluations) == sum(len(suite.expected) for suite in SUITES)
    assert not any(evaluation.passed for evaluation in evaluations.values())
    status = evaluations["billing_prod/invoices", "status_is_a_known_value"]
    assert status.severity == dg.AssetCheckSeverity.ERROR
    assert status.metadata["keys"].value == "planted_status_is_a_known_value"
    assert status.metadata["contract_violations"].value == 1
    assert (
        evaluations["subs_account/subs_account", "updated_by_is_a_known_value"].severity == dg.AssetCheckSeverity.WARN
    )
    assert evaluations["cf_prod/accounts", "currency_exists"].severity == dg.AssetCheckSeverity.WARN
    assert "planted_status_is_a_known_value" in told
    assert "@example" not in told


def test_a_key_that_looks_like_an_address_is_withheld() -> None:
    rows = anything.snapshot_of({"dunning_states": [{"account_id": PERSONAL, "state": "odd"}]})["dunning_states"]

    found = sweep_suite(rows, load_suite("dunning_states"))["state_is_a_known_value"]

    assert found == Broken(1, ("(withheld)",))


def test_when_the_two_do_not_count_the_same_the_check_is_an_error() -> None:
    from checks.expectations.asset_checks import verdict

    [one] = [one for one in load_suite("subs_account").expected if one.claim == "updated_by_is_a_known_value"]

    told = verdict(one, 1, Broken(0))

    assert not told.passed
    assert told.severity == dg.AssetCheckSeverity.ERROR


def test_without_an_audit_stripe_cannot_be_judged_and_its_checks_are_not_failed(sound: Lab) -> None:
    result = judged(sound.settings)

    stores = {evaluation.asset_key.path[0] for evaluation in result.get_asset_check_evaluations()}
    assert stores == set(IN_DATABASES)
    with pytest.raises(RunUnknown, match="trueup audit"):
        list(judge_store(sound.settings, "stripe"))


def test_what_cannot_be_judged_is_no_verdict_and_quotes_no_row(sound: Lab) -> None:
    suite = load_suite("accounts")
    document = json.loads(json.dumps(suite.document).replace('"column": "status"', '"column": "email"'))
    unfit = Suite("accounts", document)

    with (
        open_reading(sound.settings, "cf_prod") as reading,
        judging_database(reading) as judge,
        pytest.raises(StoreNotWhole, match="status_is_a_known_value") as raised,
    ):
        judge.judge(unfit)

    assert "@" not in str(raised.value)


def _note(asked: list[tuple[str, int]], _connection: object, cursor: Any, sql: str, *_rest: object) -> None:
    asked.append((sql, cursor.rowcount))


def judged(settings: Settings) -> dg.ExecuteInProcessResult:
    """The job's run, quiet, on an instance that forgets."""
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job = build_defs({"settings": settings}).resolve_job_def("contracts")
    return job.execute_in_process(run_config=quiet, raise_on_error=False)


def claims_of(suite: Suite) -> list[str]:
    return [one.claim for one in suite.expected]


def snapshot_of(settings: Settings, folder: Path) -> dict[str, pl.LazyFrame]:
    found = {}
    for database in DATABASES:
        with open_reading(settings, database) as reading:
            found |= {name: read.scan() for name, read in gather_database(reading, Scope.fleet(), folder).items()}
    return found


def stripe_of(fleet: Fleet) -> dict[str, pl.LazyFrame]:
    return {suite.table: fleet.frames[suite.table].lazy() for suite in OF_STRIPE}
