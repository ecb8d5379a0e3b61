"""What a scope closes over: everything its accounts depend on, and nothing else."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import psycopg
import pytest

from tests.conftest import settings_for
from tests.stores.rows import put
from trueup.contract.schemas import TABLES, Snapshot, empty
from trueup.stores.errors import AccountUnknown
from trueup.stores.postgres.dependencies import expand_by_stripe, expand_scope
from trueup.stores.postgres.gather import readings
from trueup.stores.postgres.reading import read_frame
from trueup.stores.postgres.selects import parameters, select
from trueup.stores.scope import Scope, bucket_of
from trueup.stores.settings import DATABASES, Settings, libpq_url


def closed(settings: Settings, scope: Scope) -> Scope:
    with readings(settings) as reading_of:
        return expand_scope(scope, reading_of)


def keys(settings: Settings, name: str, scope: Scope) -> list[str | int]:
    database = next(d for d in DATABASES if name in tables(d))
    with readings(settings) as reading_of:
        frame = read_frame(reading_of(database), name, expand_scope(scope, reading_of))
    return sorted(frame[TABLES[name].key[0]].to_list())


def tables(database: str) -> list[str]:
    from trueup.stores.postgres.models import DATABASE_OF

    return [name for name, home in DATABASE_OF.items() if home == database]


def of_stripe(**frames: pl.DataFrame) -> Snapshot:
    return {name: frames.get(name, empty(name)).lazy() for name, table in TABLES.items() if table.store == "stripe"}


def test_the_fleet_is_closed_already(settings: Settings) -> None:
    assert closed(settings, Scope.fleet()) == Scope.fleet()


def test_a_child_brings_its_parent_and_not_its_siblings(settings: Settings, databases: dict[str, str]) -> None:
    put(
        databases,
        "accounts",
        {"account_id": "child", "parent_account_id": "parent"},
        {"account_id": "sibling", "parent_account_id": "parent"},
        {"account_id": "parent", "parent_account_id": "grandparent"},
        {"account_id": "grandparent"},
        {"account_id": "stranger"},
    )
    put(
        databases, "invoices", {"invoice_id": "in_p", "account_id": "parent"}, {"invoice_id": "in_s", "account_id": "s"}
    )

    assert keys(settings, "accounts", Scope.of_accounts(["child"])) == ["child", "parent"]
    assert keys(settings, "invoices", Scope.of_accounts(["child"])) == ["in_p"]


def test_accounts_that_share_a_customer_come_together(settings: Settings, databases: dict[str, str]) -> None:
    put(
        databases,
        "subs_customer",
        {"id": 1, "account_id": "a", "stripe_customer_id": "cus_1"},
        {"id": 2, "account_id": "b", "stripe_customer_id": "cus_1"},
        {"id": 3, "account_id": "b", "stripe_customer_id": "cus_2"},
        {"id": 4, "account_id": "c", "stripe_customer_id": "cus_3"},
        {"id": 5, "account_id": None, "stripe_customer_id": "cus_1"},
    )
    put(databases, "charges", {"charge_id": "ch_b", "account_id": "b"}, {"charge_id": "ch_c", "account_id": "c"})
    scope = closed(settings, Scope.of_accounts(["a"]))

    assert scope.accounts == {"a"}
    assert scope.related == {"a", "b"}
    assert scope.customers == {"cus_1"}
    assert {1, 2, 5} <= set(keys(settings, "subs_customer", Scope.of_accounts(["a"])))
    assert 4 not in keys(settings, "subs_customer", Scope.of_accounts(["a"]))
    assert keys(settings, "charges", Scope.of_accounts(["a"])) == ["ch_b"]


def test_the_ledgers_stripe_ids_are_asked_for_even_without_a_mapping(
    settings: Settings, databases: dict[str, str]
) -> None:
    put(databases, "invoices", {"invoice_id": "1", "account_id": "a", "stripe_invoice_id": "in_1"})
    put(databases, "charges", {"charge_id": "1", "account_id": "a", "stripe_charge_id": "ch_1"})
    put(databases, "charges", {"charge_id": "2", "account_id": "b", "stripe_charge_id": "ch_2"})

    assert closed(settings, Scope.of_accounts(["a"])).stripe_ids == {"in_1", "ch_1"}


def test_what_stripe_said_brings_rows_that_were_filed_under_another_account(
    settings: Settings, databases: dict[str, str]
) -> None:
    put(databases, "accounts", {"account_id": "a"})
    put(databases, "invoices", {"invoice_id": "1", "account_id": "wrong", "stripe_invoice_id": "in_1"})
    put(databases, "invoices", {"invoice_id": "2", "account_id": "wrong", "stripe_invoice_id": "in_2"})
    put(databases, "charges", {"charge_id": "1", "account_id": None, "stripe_charge_id": "ch_1"})
    put(databases, "charges", {"charge_id": "2", "account_id": "other", "invoice_id": "1"})
    put(databases, "credit_notes", {"credit_note_id": "1", "invoice_id": "1"})
    put(databases, "credit_notes", {"credit_note_id": "2", "invoice_id": "2"})
    put(databases, "schedules", {"schedule_id": "1", "invoice_id": "1"})
    put(databases, "subs_mandate", {"mandate_id": "1", "account_id": "wrong", "stripe_payment_method_id": "pm_1"})
    said = of_stripe(
        stripe_customers=pl.DataFrame({"customer_id": ["cus_1"]}),
        stripe_invoices=pl.DataFrame({"invoice_id": ["in_1"]}),
        stripe_charges=pl.DataFrame({"charge_id": ["ch_1"]}),
        stripe_payment_methods=pl.DataFrame({"payment_method_id": ["pm_1"]}),
    )
    scope = expand_by_stripe(Scope.of_accounts(["a"]), said)

    assert scope.customers == {"cus_1"}
    assert keys(settings, "invoices", scope) == ["1"]
    assert keys(settings, "charges", scope) == ["1", "2"]
    assert keys(settings, "credit_notes", scope) == ["1"]
    assert keys(settings, "schedules", scope) == ["1"]
    assert keys(settings, "subs_mandate", scope) == ["1"]


def test_a_bucket_closes_like_the_list_of_its_accounts(settings: Settings, databases: dict[str, str]) -> None:
    accounts = [f"acct_{number}" for number in range(60)]
    parents = dict.fromkeys(accounts[1:20], accounts[0])
    put(databases, "accounts", *({"account_id": a, "parent_account_id": parents.get(a)} for a in accounts))
    put(
        databases,
        "subs_customer",
        *({"id": n, "account_id": a, "stripe_customer_id": f"cus_{n // 2}"} for n, a in enumerate(accounts)),
    )
    mine = [a for a in accounts if bucket_of(a, 16) == 3]
    by_bucket, by_list = closed(settings, Scope.of_buckets([3])), closed(settings, Scope.of_accounts(mine))

    assert by_bucket.customers == by_list.customers
    assert by_bucket.related - set(mine) == by_list.related - set(mine)
    assert keys(settings, "accounts", Scope.of_buckets([3])) == keys(settings, "accounts", Scope.of_accounts(mine))


def test_rows_without_an_account_belong_to_bucket_minus_one(settings: Settings, databases: dict[str, str]) -> None:
    put(databases, "subs_stuck_events", {"event_id": "evt_1", "account_id": None}, {"event_id": "e", "account_id": "a"})

    assert keys(settings, "subs_stuck_events", Scope.of_buckets([-1])) == ["evt_1"]


def test_unknown_accounts_are_named_and_a_row_anywhere_makes_one_known(
    settings: Settings, databases: dict[str, str]
) -> None:
    put(databases, "accounts", {"account_id": "acct_1"})
    put(databases, "schedules", {"schedule_id": "s", "account_id": "acct_2"})
    put(databases, "subs_mandate", {"mandate_id": "m", "account_id": "acct_3"})

    with pytest.raises(AccountUnknown) as caught:
        closed(settings, Scope.of_accounts(["acct_1", "acct_2", "acct_3", "acct_4", "ACCT_1"]))
    assert caught.value.accounts == ("ACCT_1", "acct_4")
    assert "cf_prod" in caught.value.way_out


def test_with_a_database_out_of_reach_nobody_can_say_that_an_account_is_unknown(
    databases: dict[str, str], tmp_path: Path
) -> None:
    settings = settings_for(databases | {"subs_api": "postgresql://nobody@127.0.0.1:1/subs_api"}, tmp_path)

    assert closed(settings, Scope.of_accounts(["acct_1"])).accounts == {"acct_1"}


@pytest.mark.parametrize("scope", [Scope.of_accounts(["acct_1"]), Scope.of_buckets([1])], ids=["accounts", "bucket"])
@pytest.mark.parametrize("name", ["invoices", "charges", "schedules", "credit_notes"])
def test_in_a_large_ledger_no_list_is_gone_through_for_every_row(
    databases: dict[str, str], name: str, scope: Scope
) -> None:
    """Told of tables with millions of rows, the planner still looks every list up in a hash table."""
    with psycopg.connect(libpq_url(databases["billing_prod"]), autocommit=False) as connection:
        for table in ("invoices", "charges", "schedules", "credit_notes"):
            connection.execute("UPDATE pg_class SET reltuples = 4e6, relpages = 1 WHERE relname = %s", (table,))
            put(databases, table, {f"{table[:-1]}_id": "one"})
        for setting, value in parameters(scope).items():
            connection.execute("SELECT set_config(%s, %s, true)", (setting, value))
        lines = connection.execute(f"EXPLAIN {select(name, scope, 16)}".encode()).fetchall()
        filters = [line for (line,) in lines if "SubPlan" in line and "ANY" in line]
        connection.rollback()

    assert any("rows=" in line and int(line.split("rows=")[1].split()[0]) > 100_000 for (line,) in lines)
    assert [line for line in filters if "(SubPlan" in line] == []
