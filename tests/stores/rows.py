"""Ways to put rows into the stores' tables: named columns, one row each, nothing filled in but what a key needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from trueup.stores.postgres.models import DATABASE_OF
from trueup.stores.settings import libpq_url


@contextmanager
def session(url: str, role: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
    """A connection of its own, each statement by itself, as any role."""
    with psycopg.connect(libpq_url(as_role(url, role)), autocommit=True) as connection:
        yield connection


def as_role(url: str, role: str, password: str | None = None) -> str:
    return make_url(url).set(username=role, password=password).render_as_string(hide_password=False)


def put(urls: Mapping[str, str], table: str, *rows: Mapping[str, Any]) -> None:
    """Insert rows into a table of whichever database it is in."""
    with session(urls[DATABASE_OF[table]]) as connection:
        for row in rows:
            connection.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier(table),
                    sql.SQL(", ").join(map(sql.Identifier, row)),
                    sql.SQL(", ").join([sql.Placeholder()] * len(row)),
                ),
                tuple(row.values()),
            )
