"""Dependencies: what else is read, so that a scope's accounts get the result that the whole fleet would give them.

A child takes its parent's result; an account takes the facts of all its Stripe customers, and so of the accounts it
shares one with; and the ledger may have filed an invoice or a charge of theirs under another account, tied to them by
its Stripe id alone. An expanded scope names all of these. What is neither in it nor tied to it is not read.

It is worked out from the same readings that the tables are read from, so that the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from trueup.contract.schemas import TABLES, Snapshot
from trueup.stores.dependencies import TIES
from trueup.stores.errors import AccountUnknown, StoreError
from trueup.stores.postgres.models import DATABASE_OF
from trueup.stores.postgres.reading import DatabaseReading, tables_in
from trueup.stores.postgres.selects import own_rows, parameters, quoted
from trueup.stores.postgres.translate import translated
from trueup.stores.scope import Scope
from trueup.stores.settings import DATABASES, Database

ReadingOf = Callable[[Database], DatabaseReading]


def expand_scope(scope: Scope, reading_of: ReadingOf) -> Scope:
    """The scope with everything in the databases that its accounts depend on.

    Read Stripe for its `customers` and `stripe_ids` next, and then `expand_by_stripe` before reading
    billing_prod and subs_dunning. A database that cannot be read adds nothing: its own reading reports what is wrong.

    Raises:
        AccountUnknown: an account of the scope is in none of the databases.
    """
    if scope.is_fleet:
        return scope
    _refuse_unknown(scope, reading_of)
    parents = _ids(reading_of, "cf_prod", "SELECT DISTINCT parent_account_id FROM public.accounts WHERE {own}", scope)
    scope = replace(scope, related=scope.related | parents)
    customers = _ids(
        reading_of, "subs_api", "SELECT DISTINCT stripe_customer_id FROM public.subs_customer WHERE {own}", scope
    )
    sharing = """
        SELECT DISTINCT account_id FROM public.subs_customer WHERE stripe_customer_id IN (
            SELECT stripe_customer_id FROM public.subs_customer WHERE {own})
    """
    scope = replace(scope, related=scope.related | _ids(reading_of, "subs_api", sharing, scope))
    ties = " UNION ".join(
        f"SELECT {link.column} FROM public.{quoted(name)} WHERE {{own}}"
        for name, links in TIES.items()
        for link in links
        if DATABASE_OF[name] == "billing_prod"
    )
    stripe_ids = _ids(reading_of, "billing_prod", ties, scope)
    return replace(scope, customers=scope.customers | customers, stripe_ids=scope.stripe_ids | stripe_ids)


def expand_by_stripe(scope: Scope, stripe: Snapshot) -> Scope:
    """The scope with its accounts' Stripe customers, and with the Stripe ids that tie other stores' rows to them."""
    if scope.is_fleet:
        return scope
    followed = {(link.table, link.to) for links in TIES.values() for link in links}
    ids = pl.concat([stripe[name].select(pl.col(column).alias("id")) for name, column in sorted(followed)])
    customers = stripe["stripe_customers"].select("customer_id").collect().to_series()
    return replace(
        scope,
        customers=scope.customers | frozenset(customers.drop_nulls()),
        stripe_ids=scope.stripe_ids | frozenset(ids.collect().to_series().drop_nulls()),
    )


def _refuse_unknown(scope: Scope, reading_of: ReadingOf) -> None:
    """Every account of the scope must be in some table; where a database is out of reach, that is unknown."""
    unknown = scope.accounts or frozenset()
    if not unknown:
        return
    asked = Scope(accounts=scope.accounts, buckets=scope.buckets)
    for database in DATABASES if unknown else ():
        with_account = [name for name in tables_in(database) if "account_id" in TABLES[name].columns]
        statement = " UNION ".join(f"SELECT account_id FROM public.{quoted(n)} WHERE {{own}}" for n in with_account)
        try:
            unknown -= _query(reading_of(database), statement, asked)
        except StoreError:
            return
    if unknown:
        raise AccountUnknown(unknown)


def _ids(reading_of: ReadingOf, database: Database, statement: str, scope: Scope) -> frozenset[str]:
    try:
        return _query(reading_of(database), statement, scope)
    except StoreError:
        return frozenset()


def _query(reading: DatabaseReading, statement: str, scope: Scope) -> frozenset[str]:
    """The ids that a query over the scope's own rows gives."""
    query = statement.format(own=own_rows(scope, reading.bucket_count))
    with translated(reading.database), reading.holder.cursor() as cursor:
        for setting, ids in parameters(scope).items():
            cursor.execute("SELECT set_config(%s, %s, true)", (setting, ids))
        cursor.execute(query.encode())
        return _distinct(cursor.fetchall())


def _distinct(rows: Iterable[tuple[Any, ...]]) -> frozenset[str]:
    return frozenset(row[0] for row in rows if row[0] is not None)
