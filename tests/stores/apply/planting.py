"""What the tests of plan, gate and apply share: rows in the subs-api tables, plans over them, and an open gate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from trueup.contract.schemas import CHANGES, STORES, TABLES
from trueup.correction.changes import change_id
from trueup.correction.plan import Plan, PlanScope, make_plan
from trueup.stores.auditor.history import AuditedRun, record_run
from trueup.stores.auditor.keys import SigningKey, read_key
from trueup.stores.auditor.pins import new_approver
from trueup.stores.auditor.plans import approve_plan, store_plan
from trueup.stores.auditor.tables import auditor_tables
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

AS_OF = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FLEET = 1_000
STORE_OF = {"subs_account": "subs_account"}
NO_FINDINGS = pl.DataFrame(
    schema={
        "account_id": pl.String(), "code": pl.String(), "severity": pl.String(), "stores": pl.List(pl.String()),
        "object_id": pl.String(), "observed": pl.String(), "desired": pl.String(), "owner": pl.String(),
        "caused_by": pl.String(), "is_root": pl.Boolean(), "first_seen_at": pl.Datetime("us", "UTC"),
        "seen_count": pl.Int64(), "event_ids": pl.List(pl.String()), "snapshot": pl.String(),
        "is_settling": pl.Boolean(), "is_suppressed": pl.Boolean(),
    }
)  # fmt: skip


def sql(settings: Settings, statement: str, **given: Any) -> list[Any]:
    """Run one statement as the owner, and commit it."""
    engine = create_engine(settings.subs_api_url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement), given)
            return list(result.all()) if result.returns_rows else []
    finally:
        engine.dispose()


def as_owner(settings: Settings, statement: str, **given: Any) -> None:
    """Run one statement as whoever owns the tables could: with the triggers taken off for as long."""
    engine = create_engine(settings.subs_api_url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            for table in auditor_tables():
                connection.execute(text(f"ALTER TABLE trueup.{table} DISABLE TRIGGER USER"))
            connection.execute(text(statement), given)
            for table in auditor_tables():
                connection.execute(text(f"ALTER TABLE trueup.{table} ENABLE ALWAYS TRIGGER append_only"))
    finally:
        engine.dispose()


def plant(settings: Settings, accounts: int, *, missing: int = 0) -> None:
    """Accounts a0, a1 … each with a dunning row in grace (but for the last `missing`), and a flag row."""
    long_ago = AS_OF - timedelta(days=3)
    sql(
        settings,
        """
        INSERT INTO subs_account (account_id, billing_email, bad_debt, dunning_exempt, updated_by, updated_at, version)
        SELECT 'a' || n, 'x' || n || '@example.com', false, false, 'A1', :at, 4 FROM generate_series(0, :last) n
        """,
        last=accounts - 1,
        at=long_ago,
    )
    sql(
        settings,
        """
        INSERT INTO subs_dunning (account_id, state, attempt_count, clock_started_on, driver_invoice_id, reason,
                                  updated_at, version)
        SELECT 'a' || n, 'grace', 1, '2026-11-01', 'in_' || n, 'past_due', :at, 7 FROM generate_series(0, :last) n
        """,
        last=accounts - missing - 1,
        at=long_ago,
    )


def change(
    account: str | None, table: str, column: str, before: Any, after: Any, version: int | None, key: str | None = None
) -> dict[str, Any]:
    name, was, is_to_be = key or account or "", json.dumps(before), json.dumps(after)
    return {
        "change_id": change_id(table, name, column, was, is_to_be, version),
        "account_id": account,
        "store": STORE_OF.get(table, "subs_dunning"),
        "table": table,
        "key": name,
        "column": column,
        "before": was,
        "after": is_to_be,
        "row_version": version,
        "codes": ["DUN_STUCK_AFTER_PAYMENT"],
        "reason": "good_standing",
        "event_ids": ["evt_1"],
    }


def cleared(account: str, version: int = 7) -> list[dict[str, Any]]:
    """What a planted account's dunning row needs to be cleared."""
    number = account.removeprefix("a")
    return [
        change(account, "subs_dunning", "state", "grace", "good_standing", version),
        change(account, "subs_dunning", "attempt_count", 1, 0, version),
        change(account, "subs_dunning", "clock_started_on", "2026-11-01", None, version),
        change(account, "subs_dunning", "driver_invoice_id", f"in_{number}", None, version),
        change(account, "subs_dunning", "reason", "past_due", "", version),
        change(account, "subs_dunning", "computed_at", None, "2026-11-20T12:00:00.000000Z", version),
    ]


def suspended(account: str, version: int = 7) -> list[dict[str, Any]]:
    return [change(account, "subs_dunning", "state", "grace", "suspended", version)]


def flagged(account: str, version: int = 4) -> list[dict[str, Any]]:
    """The bad-debt flag of a planted account, set."""
    return [
        change(account, "subs_account", "bad_debt", before=False, after=True, version=version),
        change(account, "subs_account", "updated_by", "A1", "A3", version),
    ]


def inserted(account: str) -> list[dict[str, Any]]:
    """The dunning row that a planted account lacks."""
    return [
        change(account, "subs_dunning", "state", None, "retrying", None),
        change(account, "subs_dunning", "attempt_count", None, 2, None),
        change(account, "subs_dunning", "next_retry_at", None, "2026-11-22T08:30:00.000000Z", None),
        change(account, "subs_dunning", "reason", None, "past_due", None),
    ]


def changes_of(*rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for some in rows for row in some], schema=CHANGES)


def plan_of(changes: pl.DataFrame, *, run_id: str = "run-1", created_at: datetime | None = None, **more: Any) -> Plan:
    given: dict[str, Any] = {
        "as_of": AS_OF,
        "policy_version": "p1",
        "scope": PlanScope(),
        "snapshot": dict.fromkeys(STORES, AS_OF),
        "fleet_accounts": FLEET,
    }
    return make_plan(changes, run_id=run_id, created_at=created_at or datetime.now(UTC), **{**given, **more})


def record(
    settings: Settings, run_id: str = "run-1", *, rows: int = 100, failed: tuple[str, ...] = (), **more: Any
) -> None:
    """A run that read every store whole, but for those named."""
    counts = [(table.store, name, rows, AS_OF) for name, table in TABLES.items()]
    checks = [("read_whole", store, True, store not in failed, "") for store in STORES]
    run = AuditedRun(
        run_id=run_id,
        as_of=AS_OF,
        policy_version="p1",
        accounts=FLEET,
        counts=pl.DataFrame(counts, schema=["store", "table", "rows", "observed_at"], orient="row"),
        checks=pl.DataFrame(checks, schema=["check", "store", "is_blocking", "has_passed", "detail"], orient="row"),
        **{"scope": Scope.fleet(), **more},
    )
    record_run(settings, run, NO_FINDINGS)


def enrolled(settings: Settings, tmp_path: Path, name: str = "ada", **more: Any) -> SigningKey:
    """A key whose public half the approvers' file lists."""
    key_file = tmp_path / f"{name}.pem"
    new_approver(settings, name, key_file, **{"identities": (f"{name}@work",), **more})
    return read_key(key_file)


def approved(settings: Settings, tmp_path: Path, changes: pl.DataFrame, **more: Any) -> Plan:
    """A plan of these changes, of a whole run, kept and approved by a person."""
    record(settings, more.get("run_id", "run-1"))
    plan = plan_of(changes, **more)
    store_plan(settings, plan)
    approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path))
    return plan


def still(changes: pl.DataFrame) -> Any:
    """A second gathering that finds the same desired as the first."""
    return lambda accounts: changes.filter(pl.col("account_id").is_in(sorted(accounts)))


def everything(settings: Settings) -> Mapping[str, Any]:
    """Every row of the billing tables and of the outbox: what a refusal must leave as it is."""
    tables = (
        "subs_dunning",
        "subs_account",
        "subs_mandate",
        "subs_stuck_events",
        "trueup.outbox",
        "trueup.applied_changes",
    )
    return {table: sorted(map(str, sql(settings, f"SELECT * FROM {table}"))) for table in tables}


def log_of(settings: Settings) -> list[Any]:
    return sql(settings, "SELECT * FROM trueup.audit_log ORDER BY number")
