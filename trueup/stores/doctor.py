"""Doctor: what is reachable, what is missing, and the mend for each.

Every setting, connection, table, column, privilege and version that a run needs is looked at, and one `Diagnosis` comes
of each; trouble with one never hides another. Nothing is written and no row of a store is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import psycopg
import stripe

from trueup.correction.ownership import OWNED
from trueup.engine.policy import PolicyError, load_policy
from trueup.stores.auditor.approvers import load_approvers
from trueup.stores.auditor.connection import writing
from trueup.stores.auditor.gate_facts import read_kill_switch
from trueup.stores.auditor.history import queue_age
from trueup.stores.auditor.tables import MAY_CHANGE, auditor_tables
from trueup.stores.errors import PrivilegeMissing, SettingsError, StoreError, TrueupError, some
from trueup.stores.postgres.models import AUDITOR_SCHEMA, Auditor
from trueup.stores.postgres.reading import DatabaseReading, open_reading, reading_url, refuse_unreadable, tables_in
from trueup.stores.postgres.translate import translated
from trueup.stores.settings import DATABASES, Database, Settings, why_not_writable
from trueup.stores.stripe.objects import LISTS, ObjectList
from trueup.stores.stripe.port import Refused, RetryPolicy, StripePort, Unanswered, open_port

VERSION_LEAST: Final = 140000  # PostgreSQL 14: the oldest that is still supported
ONCE: Final = RetryPolicy(attempts=1, timeout_seconds=15.0)
_INIT_DB: Final = "Run `trueup init-db --role-reader R --role-writer W` with addresses whose logins own the tables."
_OWN_LOGIN: Final = (
    f"In TRUEUP_SUBS_API_WRITER_URL, name a login that neither owns the tables nor is a superuser. {_INIT_DB}"
)
_PRIMARY: Final = "An audit of a standby is of no one instant, and no plan is made from it; name the primary to plan."
_SET: Final = "Set it in the environment, or in trueup.toml."
_FORBIDDEN: Final = """
    SELECT privilege FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
    WHERE has_table_privilege(%(table)s, privilege) ORDER BY privilege
"""
_LACKING: Final = """
    SELECT column_name FROM unnest(%(columns)s::text[]) AS column_name
    WHERE NOT has_column_privilege(%(table)s, column_name, %(right)s) ORDER BY column_name
"""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at: whether a run can do with it, what was seen, and how to mend or better it."""

    name: str
    is_fine: bool
    detail: str
    mend: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def diagnose(settings: Settings) -> list[Diagnosis]:
    """Look at everything that a run needs; nothing is raised for what is wrong with it."""
    found = [diagnosis for database in DATABASES for diagnosis in _database(settings, database)]
    if settings.subs_api_url:
        found += _guarded(f"schema {AUDITOR_SCHEMA}", lambda: _auditor_schema(settings))
        found += _guarded("writer", lambda: _writer(settings))
        found += _guarded("kill switch", lambda: _switch(settings))
    found += _stripe(settings)
    return [*found, _policy(settings), _approvers(settings), _home(settings)]


def _database(settings: Settings, database: Database) -> list[Diagnosis]:
    """One database: its address and version, and its tables with the reader's rights on them."""
    if not settings.url(database):
        return [Diagnosis(database, is_fine=False, detail=f"TRUEUP_{database.upper()}_URL is not set", mend=_SET)]
    return _guarded(database, lambda: _opened(settings, database))


def _opened(settings: Settings, database: Database) -> list[Diagnosis]:
    with open_reading(settings, database) as reading:
        info = reading.holder.info
        detail = f"PostgreSQL {info.server_version // 10000} at {settings.shown(database)}"
        if reading.is_standby:
            return [Diagnosis(database, is_fine=True, detail=f"{detail}, a standby", mend=_PRIMARY), *_tables(reading)]
        is_supported = info.server_version >= VERSION_LEAST
        mend = "" if is_supported else "Upgrade it to 14 or later."
        return [Diagnosis(database, is_supported, detail, mend), *_tables(reading)]


def _tables(reading: DatabaseReading) -> list[Diagnosis]:
    return [_table(reading, name) for name in tables_in(reading.database)]


def _table(reading: DatabaseReading, name: str) -> Diagnosis:
    label = f"{reading.database}.{name}"
    try:
        refuse_unreadable(reading, name)
    except StoreError as fault:
        return Diagnosis(label, is_fine=False, detail=fault.message, mend=fault.way_out)
    return Diagnosis(label, is_fine=True, detail="every column that is read is there, and may be read")


def _auditor_schema(settings: Settings) -> list[Diagnosis]:
    """The auditor's tables are all there, with the columns that this version of Trueup knows."""
    label = f"schema {AUDITOR_SCHEMA}"
    with translated("subs_api"), psycopg.connect(reading_url(settings, "subs_api")) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s", (AUDITOR_SCHEMA,)
        ).fetchall()
    there = set(rows)
    needed = {(table.name, column.name) for table in Auditor.metadata.sorted_tables for column in table.columns}
    missing = sorted(f"{table}.{column}" for table, column in needed - there)
    if missing:
        detail = f"{len(missing)} columns are missing, or not to be seen by this login: {some(missing)}"
        return [Diagnosis(label, is_fine=False, detail=detail, mend=_INIT_DB)]
    return [Diagnosis(label, is_fine=True, detail=f"{len(Auditor.metadata.tables)} tables")]


def _writer(settings: Settings) -> list[Diagnosis]:
    """The writer may write what is ours, and cannot rewrite the audit log."""
    url = reading_url(settings.model_copy(update={"subs_api_url": settings.subs_api_writer_url}), "subs_api")
    with translated("subs_api"), psycopg.connect(url) as connection:
        lacking = _rights_lacking(connection)
        forbidden = [
            f"{right} on {AUDITOR_SCHEMA}.{table}"
            for table in auditor_tables()
            if table not in MAY_CHANGE
            for (right,) in connection.execute(_FORBIDDEN, {"table": f"{AUDITOR_SCHEMA}.{table}"}).fetchall()
        ]
    columns = f"it may not {some(lacking)}" if lacking else "it may write what is ours"
    past = f"only triggers keep it from {some(forbidden)}" if forbidden else "it cannot rewrite it"
    return [
        Diagnosis("writer: its columns", not lacking, columns, _INIT_DB if lacking else ""),
        Diagnosis("writer: the audit log's past", is_fine=True, detail=past, mend=_OWN_LOGIN if forbidden else ""),
    ]


def _rights_lacking(connection: psycopg.Connection[Any]) -> list[str]:
    lacking = []
    for table, owned in OWNED.items():
        for right in ("UPDATE", "INSERT") if owned.may_insert else ("UPDATE",):
            rights = {"columns": list(owned.columns), "table": f"public.{table}", "right": right}
            columns = [column for (column,) in connection.execute(_LACKING, rights).fetchall()]
            lacking += [f"{right} {table}.{column}" for column in columns]
    return lacking


def _stripe(settings: Settings) -> list[Diagnosis]:
    """One object of each list, to see whether the key opens it."""
    if not settings.stripe_api_key.get_secret_value():
        return [Diagnosis("stripe", is_fine=False, detail="TRUEUP_STRIPE_API_KEY is not set", mend=_SET)]
    where = settings.stripe_api_base or "api.stripe.com"
    return _guarded("stripe", lambda: _stripe_lists(settings, where))


def _stripe_lists(settings: Settings, where: str) -> list[Diagnosis]:
    with open_port(settings, ONCE) as port:
        closed = [fault for fault in (_list_fault(port, each) for each in LISTS) if fault]
    if closed:
        mend = "Give the key read access to what it lacks, in Stripe's dashboard under API keys."
        return [Diagnosis("stripe", is_fine=False, detail="; ".join(closed), mend=mend)]
    return [Diagnosis("stripe", is_fine=True, detail=f"API {stripe.api_version} at {where}, every list opens")]


def _list_fault(port: StripePort, of: ObjectList) -> str:
    name = of.path.removeprefix("/v1/")
    try:
        port.page(of.path, {**of.params, "limit": 1})
    except PrivilegeMissing as fault:
        return f"{name}: {fault.message}"
    except (Refused, Unanswered) as fault:
        return f"{name}: {fault}"
    return ""


def _policy(settings: Settings) -> Diagnosis:
    try:
        policy = load_policy(settings.policy)
    except PolicyError as fault:
        return Diagnosis("policy", is_fine=False, detail=str(fault), mend="Mend the file, or unset TRUEUP_POLICY.")
    return Diagnosis("policy", is_fine=True, detail=f"{settings.policy or 'the shipped one'}, version {policy.version}")


def _approvers(settings: Settings) -> Diagnosis:
    path = settings.approvers_file
    try:
        listed = load_approvers(path).listed
    except SettingsError as fault:
        return Diagnosis("approvers", is_fine=False, detail=fault.message, mend=fault.way_out)
    if not listed:
        mend = "Run `trueup keys new --name N --out F` for each person who may approve."
        return Diagnosis("approvers", is_fine=True, detail=f"{path} lists nobody: no plan can be approved", mend=mend)
    without = sorted(a.name for a in listed if a.role != "auditor" and not a.identities)
    if without:
        mend = f'Add the identities that a key belongs to in {path}: identities = ["login"]; then `trueup keys trust`.'
        detail = f"{path}: {', '.join(without)} approve nothing, since they have no identity"
        return Diagnosis("approvers", is_fine=False, detail=detail, mend=mend)
    return Diagnosis("approvers", is_fine=True, detail=f"{path} lists {len(listed)}")


def _switch(settings: Settings) -> list[Diagnosis]:
    """Whether the kill switch is on, and how long conflicts have waited for an audit."""
    with writing(settings) as connection:
        is_on, reason = read_kill_switch(connection)
    accounts, oldest = queue_age(settings)
    waiting = f"{accounts} accounts wait, the first since {oldest:%Y-%m-%d %H:%M} UTC" if oldest else "nothing waits"
    is_off = is_on is False
    said = "off" if is_off else f"on: {reason}" if is_on else "nothing says whether it is off, so it counts as on"
    return [
        Diagnosis("kill switch", is_fine=is_off, detail=said, mend="" if is_off else "`trueup resume --reason R`"),
        Diagnosis("conflicts to audit again", is_fine=True, detail=waiting),
    ]


def _home(settings: Settings) -> Diagnosis:
    """The state folder, or the nearest folder above it that exists, can be written."""
    if why := why_not_writable(settings.home):
        mend = "Give this user the folder, or name another in TRUEUP_HOME."
        return Diagnosis("home", is_fine=False, detail=why.removeprefix("is "), mend=mend)
    return Diagnosis("home", is_fine=True, detail=str(settings.home))


def _guarded(name: str, inspect: Callable[[], list[Diagnosis]]) -> list[Diagnosis]:
    """What was seen, or the trouble that kept it from being seen."""
    try:
        return inspect()
    except TrueupError as fault:
        return [Diagnosis(name, is_fine=False, detail=fault.message, mend=fault.way_out)]
