"""Provision: schema trueup, and the two roles with exactly the rights that docs/contract/STORES.md gives them.

`trueup init-db` runs this with addresses of an owner. The reader may SELECT the columns that `selects.py` reads, and no
others: the database itself keeps e-mail addresses from us. The writer may change the columns of
`trueup.correction.ownership`, and no others, and may add to the audit log's past but never change it. Everything can be
run again: rights that a role has beyond these, on these tables, are taken away. The stores' own tables are never made
or altered here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema

from trueup.correction.ownership import OWNED
from trueup.stores.auditor.tables import MAY_CHANGE, auditor_tables, guards
from trueup.stores.errors import SettingsError
from trueup.stores.postgres.models import AUDITOR_SCHEMA, Auditor
from trueup.stores.postgres.reading import reading_url, tables_in
from trueup.stores.postgres.selects import SHAPES, columns_read, create_shapes_view
from trueup.stores.postgres.translate import translated
from trueup.stores.settings import DATABASES, Database, Settings, sqlalchemy_url

# Tables that the writer changes through a function alone, or only locks.
_ONLY_BY_FUNCTION: Final = frozenset({"kill_switch", "locks"})

Row = tuple[Any, ...]


def init_db(settings: Settings, role_reader: str | None = None, role_writer: str | None = None) -> list[str]:
    """Make schema trueup and its tables where they are missing, the roles if they are missing, and their grants.

    Args:
        settings: the addresses of the three databases, as roles that own their tables.
        role_reader: who reads; nothing is granted to a reader if left out.
        role_writer: who applies; nothing is granted to a writer if left out.

    Returns:
        The statements that were applied, in order.

    Raises:
        SettingsError: the two roles are one, or one of them is a superuser or owns what it must not change.
        StoreError: a database is out of reach, lacks a table, or does not let this login grant.
    """
    if role_reader and role_reader == role_writer:
        raise SettingsError([f"reader and writer are both {role_reader}"], "Give each a role of its own.")
    statements = create_auditor_tables(settings)
    for database in DATABASES:
        if role_reader or (role_writer and database == "subs_api"):
            statements += _grant(settings, database, role_reader, role_writer)
    return statements


def create_auditor_tables(settings: Settings) -> list[str]:
    """Make schema trueup, its tables and triggers, where they are missing; the statements it took."""
    with translated("subs_api"):
        engine = create_engine(sqlalchemy_url(reading_url(settings, "subs_api")), poolclass=NullPool)
        with _recorded(engine) as statements, engine.begin() as connection:
            connection.execute(CreateSchema(AUDITOR_SCHEMA, if_not_exists=True))
            Auditor.metadata.create_all(connection)
            connection.exec_driver_sql(guards().replace("%", "%%"))
        engine.dispose()
    return statements


def reader_grants(database: Database, named: str, role: str) -> list[sql.Composed]:
    """What the reader gets in one database, whose name on its server is `named`: SELECT on what is read, no more."""
    statements = [_on_database("CONNECT", named, role), _on_schema("public", role)]
    for name in tables_in(database):
        statements += [_nothing_on("public", name, role), _on_columns("SELECT", columns_read(name), name, role)]
    if database == "subs_api":
        statements.append(_on_schema(AUDITOR_SCHEMA, role))
        for table in auditor_tables():
            statements += [_nothing_on(AUDITOR_SCHEMA, table, role), _on_table("SELECT", AUDITOR_SCHEMA, table, role)]
        statements.append(sql.SQL(create_shapes_view()))  # type: ignore[arg-type] # a constant of ours
        statements.append(_grant_of("SELECT", sql.SQL(SHAPES), role))
    return statements


def writer_grants(named: str, role: str) -> list[sql.Composed]:
    """What the writer gets in subs_api: what `trueup.correction.ownership` says, and the auditor's schema."""
    statements = [_on_database("CONNECT, TEMPORARY", named, role), _on_schema("public", role)]
    statements += [_nothing_on("public", name, role) for name in tables_in("subs_api")]
    for name, owned in OWNED.items():
        statements.append(_on_columns("SELECT", columns_read(name), name, role))
        statements.append(_on_columns("UPDATE", owned.columns, name, role))
        if owned.may_insert:
            statements.append(_on_columns("INSERT", owned.columns, name, role))
    statements.append(_on_schema(AUDITOR_SCHEMA, role))
    for table in auditor_tables():
        rights = "SELECT" if table in _ONLY_BY_FUNCTION else "SELECT, INSERT"
        statements += [_nothing_on(AUDITOR_SCHEMA, table, role), _on_table(rights, AUDITOR_SCHEMA, table, role)]
        if table in MAY_CHANGE:
            statements.append(_on_columns("UPDATE", MAY_CHANGE[table], table, role, AUDITOR_SCHEMA))
    turn = sql.SQL("FUNCTION {}(boolean, text, jsonb)").format(sql.Identifier(AUDITOR_SCHEMA, "turn_kill_switch"))
    statements.append(_grant_of("EXECUTE", turn, role))
    statements.append(
        sql.SQL("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}").format(
            sql.Identifier(AUDITOR_SCHEMA), sql.Identifier(role)
        )
    )
    return statements


def _grant(settings: Settings, database: Database, role_reader: str | None, role_writer: str | None) -> list[str]:
    """Make the roles and apply their grants in one transaction of one database."""
    role_writer = role_writer if database == "subs_api" else None
    roles = [role for role in (role_reader, role_writer) if role]
    with translated(database), psycopg.connect(reading_url(settings, database)) as connection:
        there = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (roles,))}
        # A login without a password: it opens nothing until its owner sets one, or lets it in by pg_hba.conf.
        missing = [role for role in roles if role not in there]
        statements = [sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)) for role in missing]
        _refuse_powerful(connection, database, sorted(there))
        named = connection.info.dbname
        statements += reader_grants(database, named, role_reader) if role_reader else []
        statements += writer_grants(named, role_writer) if role_writer else []
        for statement in statements:
            connection.execute(statement)
        return [statement.as_string(connection) for statement in statements]


def _refuse_powerful(connection: psycopg.Connection[Row], database: str, roles: list[str]) -> None:
    """Grants bind neither a superuser nor an owner; taking an owner's rights away would hurt its own service."""
    powerful = connection.execute(
        """
        SELECT rolname, 'is a superuser' FROM pg_roles WHERE rolname = ANY(%(roles)s) AND rolsuper
        UNION
        SELECT rolname, 'owns ' || string_agg(relname, ', ' ORDER BY relname)
        FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
        WHERE rolname = ANY(%(roles)s) AND NOT rolsuper AND relnamespace = ANY(
            SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'trueup')) AND relkind IN ('r', 'p', 'v')
        GROUP BY rolname
        """,
        {"roles": roles},
    ).fetchall()
    if powerful:
        faults = [f"{database}: role {role} {why}, so that no grant can bind it" for role, why in sorted(powerful)]
        raise SettingsError(faults, "Give a role of its own; `trueup init-db` makes it if it is missing.")


@contextmanager
def _recorded(engine: Engine) -> Iterator[list[str]]:
    """The statements that change something, as the engine sends them."""
    statements: list[str] = []

    def record(_c: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.lstrip().upper().startswith("SELECT"):
            statements.append(statement.strip())

    event.listen(engine, "before_cursor_execute", record)
    yield statements
    event.remove(engine, "before_cursor_execute", record)


def _on_database(rights: str, named: str, role: str) -> sql.Composed:
    return _grant_of(rights, sql.SQL("DATABASE {}").format(sql.Identifier(named)), role)


def _on_schema(schema: str, role: str) -> sql.Composed:
    return _grant_of("USAGE", sql.SQL("SCHEMA {}").format(sql.Identifier(schema)), role)


def _on_table(rights: str, schema: str, table: str, role: str) -> sql.Composed:
    return _grant_of(rights, sql.Identifier(schema, table), role)


def _on_columns(right: str, columns: tuple[str, ...], table: str, role: str, schema: str = "public") -> sql.Composed:
    names = sql.SQL(", ").join(sql.Identifier(column) for column in columns)
    return sql.SQL("GRANT {} ({}) ON {} TO {}").format(
        sql.SQL(right),
        names,
        sql.Identifier(schema, table),
        sql.Identifier(role),
    )


def _nothing_on(schema: str, table: str, role: str) -> sql.Composed:
    return sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.Identifier(schema, table), sql.Identifier(role))


def _grant_of(rights: str, on: sql.Composable, role: str) -> sql.Composed:
    return sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(rights), on, sql.Identifier(role))
