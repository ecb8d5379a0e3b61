"""The graph of what an account's result depends on is whole, and in an order in which it can be followed."""

from __future__ import annotations

from trueup.contract.schemas import TABLES
from trueup.stores.dependencies import ACCOUNTS, CUSTOMERS, LINKS, STORES_TIED_TO_STRIPE
from trueup.stores.stripe.objects import OBJECT_OF


def test_every_table_is_in_the_graph() -> None:
    assert set(LINKS) == set(TABLES)


def test_every_stripe_object_is_declared_with_the_columns_of_its_table() -> None:
    assert {name for name, table in TABLES.items() if table.store == "stripe"} == set(OBJECT_OF)
    for name, declared in OBJECT_OF.items():
        assert set(declared.columns) == set(TABLES[name].columns) - {"unreadable"}
        assert set(declared.filters.values()) <= set(declared.columns)


def test_a_link_joins_columns_that_exist_and_leads_to_a_table_above_it() -> None:
    above: set[str] = {ACCOUNTS, CUSTOMERS}
    for name, links in LINKS.items():
        for link in links:
            assert link.column in TABLES[name].columns, (name, link)
            assert link.to in TABLES[link.table].columns if link.to else link.table in (ACCOUNTS, CUSTOMERS)
            assert link.table in above or link.by_account, (name, link)
        above.add(name)


def test_a_table_that_names_an_account_follows_it() -> None:
    for name, table in TABLES.items():
        assert ("account_id" in table.columns) == any(link.table == ACCOUNTS for link in LINKS[name]), name


def test_stores_that_stripe_ties_to_an_account_are_known() -> None:
    assert {"billing_prod", "subs_dunning"} == STORES_TIED_TO_STRIPE
