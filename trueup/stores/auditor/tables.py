"""The auditor's own tables: schema trueup of database subs_api.

They live beside the rows they speak about, so that a change, its event and its audit entry commit together or not at
all. Four families: plans and their approvals; what applying them did; the events that go out; and what audits saw over
time. What is in an entry, and what it proves, is the business of `trueup/stores/auditor/audit_log.py` and its
neighbours; here are only the tables, and the triggers that refuse to rewrite the past.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from trueup.stores.postgres.models.base import AUDITOR_SCHEMA, Auditor


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id, which never wraps. Compared in SQL only; read as text."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


THIS_TRANSACTION: Final = text("pg_current_xact_id()")


class StoredPlan(Auditor):
    """A plan: its manifest, and how far it has come. The content is in `plan_changes` and never changes."""

    __tablename__ = "plans"

    plan_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=False), unique=True)  # later plans, higher numbers
    run_id: Mapped[str]
    as_of: Mapped[datetime]
    policy_version: Mapped[str]
    scope: Mapped[str]  # in words
    scope_accounts: Mapped[list[str] | None]  # the accounts it covers; null with null buckets: the fleet
    scope_buckets: Mapped[list[str] | None]
    bucket_count: Mapped[int]
    manifest: Mapped[str]  # JSON, to the byte: its hash is what an approver signs
    status: Mapped[str]  # proposed, approved, applying, applied, rejected
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class PlanChange(Auditor):
    """One column that a plan changes. Values are JSON text, stored to the byte, since the plan's id is their hash."""

    __tablename__ = "plan_changes"

    plan_id: Mapped[str] = mapped_column(primary_key=True)
    change_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None] = mapped_column(index=True)
    store: Mapped[str]
    table: Mapped[str] = mapped_column("table")
    key: Mapped[str]
    column: Mapped[str] = mapped_column("column")
    before: Mapped[str]
    after: Mapped[str]
    row_version: Mapped[int | None] = mapped_column(BigInteger)
    codes: Mapped[list[str]]
    reason: Mapped[str]
    event_ids: Mapped[list[str]]


class Approval(Auditor):
    """Someone's signature under a plan. Whether it is worth anything is judged each time it is used."""

    __tablename__ = "approvals"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    plan_id: Mapped[str] = mapped_column(index=True)
    approver: Mapped[str]
    public_key: Mapped[str]  # base64
    message: Mapped[str]  # the JSON that was signed
    signature: Mapped[str]  # base64
    approved_at: Mapped[datetime]


class Rejection(Auditor):
    """A plan that was turned down, for good."""

    __tablename__ = "rejections"

    plan_id: Mapped[str] = mapped_column(primary_key=True)
    rejected_by: Mapped[str]
    reason: Mapped[str]
    rejected_at: Mapped[datetime]


class AppliedChange(Auditor):
    """A change of a plan that took effect. Its key is what makes a second apply of it impossible."""

    __tablename__ = "applied_changes"

    plan_id: Mapped[str] = mapped_column(primary_key=True)
    change_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None]
    row_version: Mapped[int] = mapped_column(BigInteger)  # the version the row has since
    applied_at: Mapped[datetime]
    tx: Mapped[str] = mapped_column(Xid8, server_default=THIS_TRANSACTION)


class ApplyOutcome(Auditor):
    """What became of each account of a plan. `target` is the account, or table and key where there is no account."""

    __tablename__ = "apply_outcomes"

    plan_id: Mapped[str] = mapped_column(primary_key=True)
    target: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str]  # applied, conflict, superseded, blocked
    why: Mapped[str]
    decided_at: Mapped[datetime]


class AuditQueue(Auditor):
    """Accounts that the next audit should read first, since an apply found that someone had moved them."""

    __tablename__ = "audit_queue"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[str] = mapped_column(index=True)
    plan_id: Mapped[str]
    reason: Mapped[str]
    queued_at: Mapped[datetime]
    taken_at: Mapped[datetime | None]


class AuditEntry(Auditor):
    """One line of the audit log: append-only, chained by hash, the head of each batch signed."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("audit_log_runs", "key", postgresql_where=text("action = 'audited'")),
        Index("audit_log_decisions", "action", "number", postgresql_where=text("action <> 'applied'")),
    )

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # 1, 2, 3 … without a gap
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    plan_id: Mapped[str | None] = mapped_column(index=True)
    change_id: Mapped[str | None] = mapped_column(index=True)
    account_id: Mapped[str | None] = mapped_column(index=True)
    table: Mapped[str | None] = mapped_column("table")
    key: Mapped[str | None]
    column: Mapped[str | None] = mapped_column("column")
    before: Mapped[str | None]
    after: Mapped[str | None]
    event_ids: Mapped[list[str] | None]  # the provider events behind it
    reconciled_at: Mapped[datetime | None]  # the instant the plan reasoned about
    detail: Mapped[str]  # JSON object: what else there is to say
    is_head: Mapped[bool]
    previous_hash: Mapped[str]
    hash: Mapped[str]
    signer: Mapped[str | None]  # public key, base64
    signature: Mapped[str | None]


class OutboxEvent(Auditor):
    """An event that is to be published, written in the transaction that it speaks about."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("account_id", "sequence"),
        Index("outbox_unpublished", "tx", "id", postgresql_where=text("published_at IS NULL")),
        Index("outbox_unpublished_of_account", "account_id", "sequence", postgresql_where=text("published_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=False), primary_key=True)
    tx: Mapped[str] = mapped_column(Xid8, server_default=THIS_TRANSACTION)
    event_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    account_id: Mapped[str | None]
    sequence: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    occurred_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    last_error: Mapped[str | None]


class AccountSequence(Auditor):
    """The last sequence number given to an event of an account; '' stands for events of no account."""

    __tablename__ = "account_sequences"

    account_id: Mapped[str] = mapped_column(primary_key=True)
    last_sequence: Mapped[int] = mapped_column(BigInteger)


class DeadEvent(Auditor):
    """An event that a sink refused again and again.

    Until someone replays or skips it, its account's later events wait.
    """

    __tablename__ = "outbox_dead"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[uuid.UUID] = mapped_column(index=True)
    account_id: Mapped[str | None]
    type: Mapped[str]
    sink: Mapped[str]
    error: Mapped[str]
    attempts: Mapped[int]
    died_at: Mapped[datetime]
    resolution: Mapped[str | None]  # replayed, skipped
    resolved_by: Mapped[str | None]
    resolved_at: Mapped[datetime | None]


class AuditRun(Auditor):
    """One audit: what it read and the number that is tracked over time."""

    __tablename__ = "audit_runs"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    as_of: Mapped[datetime]
    scope: Mapped[str]  # in words
    scope_key: Mapped[str] = mapped_column(index=True)  # equal for runs over the same accounts
    policy_version: Mapped[str]
    accounts: Mapped[int] = mapped_column(BigInteger)
    accounts_disagreeing: Mapped[int] = mapped_column(BigInteger)
    findings: Mapped[int] = mapped_column(BigInteger)
    recorded_at: Mapped[datetime]


class SourceCount(Auditor):
    """How many rows a store returned in a run: what `SourceShrank` compares."""

    __tablename__ = "source_counts"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    store: Mapped[str] = mapped_column(primary_key=True)
    table: Mapped[str] = mapped_column("table", primary_key=True)
    rows: Mapped[int] = mapped_column(BigInteger)
    observed_at: Mapped[datetime | None]


class RunCheck(Auditor):
    """A verdict that the gate asks for: `SourceNotWhole` if one failed or is missing."""

    __tablename__ = "run_checks"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    check: Mapped[str] = mapped_column("check", primary_key=True)
    store: Mapped[str] = mapped_column(primary_key=True)
    is_blocking: Mapped[bool]
    has_passed: Mapped[bool]
    detail: Mapped[str]


class DisagreementHistory(Auditor):
    """Disagreements by run, code and pair of stores; a finding of one store alone has it twice."""

    __tablename__ = "disagreement_history"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    store_a: Mapped[str] = mapped_column(primary_key=True)
    store_b: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime]
    severity: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    findings: Mapped[int] = mapped_column(BigInteger)
    accounts: Mapped[int] = mapped_column(BigInteger)
    settling: Mapped[int] = mapped_column(BigInteger)  # of `findings`: shown, not counted
    suppressed: Mapped[int] = mapped_column(BigInteger)  # of `findings`: shown, not counted


class FindingSeen(Auditor):
    """One spell of one finding: from the run that first saw it to the run that saw it healed."""

    __tablename__ = "findings_seen"
    __table_args__ = (
        Index(
            "findings_seen_open",
            text("coalesce(account_id, '')"),
            "code",
            text("coalesce(object_id, '')"),
            unique=True,
            postgresql_where=text("healed_at IS NULL"),
        ),
    )

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[str | None] = mapped_column(index=True)
    code: Mapped[str]
    object_id: Mapped[str | None]
    severity: Mapped[str]
    owner: Mapped[str]
    stores: Mapped[list[str]]
    first_seen_at: Mapped[datetime]
    first_run_id: Mapped[str]
    last_seen_at: Mapped[datetime]
    last_run_id: Mapped[str]
    seen_count: Mapped[int] = mapped_column(BigInteger)
    healed_at: Mapped[datetime | None]
    healed_run_id: Mapped[str | None]


class Lock(Auditor):
    """A row that one process holds while it works: `apply`, `relay`, and `audit_log` while entries are added.

    Taking one needs a right to UPDATE, which the reader's role does not have, so that a reader cannot stop a writer.
    """

    __tablename__ = "locks"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str | None]


class KillSwitch(Auditor):
    """The one row that stops every apply. No row counts as on. It is turned by `turn_kill_switch` alone."""

    __tablename__ = "kill_switch"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    is_on: Mapped[bool]
    reason: Mapped[str]
    changed_by: Mapped[str]
    changed_at: Mapped[datetime]


MAY_CHANGE: Final[dict[str, tuple[str, ...]]] = {
    "plans": ("status", "finished_at"),
    "audit_queue": ("taken_at",),
    "outbox": ("published_at", "attempts", "last_error"),
    "outbox_dead": ("resolution", "resolved_by", "resolved_at"),
    "account_sequences": ("last_sequence",),
    "findings_seen": (
        "severity", "owner", "stores", "last_seen_at", "last_run_id", "seen_count", "healed_at", "healed_run_id",
    ),
    "locks": ("holder",),
}  # fmt: skip
"""Table → the columns that may change after a row was inserted.

No row of schema trueup is ever deleted, and whatever is not here is never updated: `init-db` grants no more, and
triggers refuse it to every role, the owner's too.
"""


def auditor_tables() -> tuple[str, ...]:
    """The names of the tables of schema trueup."""
    return tuple(table.name for table in Auditor.metadata.sorted_tables)


GUARDS: Final = f"""
    CREATE OR REPLACE FUNCTION {AUDITOR_SCHEMA}.refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'insufficient_privilege', HINT = 'Write a new entry that corrects the old one.';
    END $$;

    CREATE OR REPLACE FUNCTION {AUDITOR_SCHEMA}.refuse_other_columns() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF to_jsonb(NEW) - TG_ARGV <> to_jsonb(OLD) - TG_ARGV THEN
            RAISE EXCEPTION '%.%: only % may change', TG_TABLE_SCHEMA, TG_TABLE_NAME, array_to_string(TG_ARGV, ', ')
                USING ERRCODE = 'insufficient_privilege', HINT = 'Write a new row.';
        END IF;
        RETURN NEW;
    END $$;

    -- The switch and its audit entry are written together or not at all. The entry comes signed from the caller, and
    -- must be the next one.
    CREATE OR REPLACE FUNCTION {AUDITOR_SCHEMA}.turn_kill_switch(turned_on boolean, why text, entry jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        next {AUDITOR_SCHEMA}.audit_log := jsonb_populate_record(null::{AUDITOR_SCHEMA}.audit_log, entry);
        last {AUDITOR_SCHEMA}.audit_log;
    BEGIN
        SELECT * INTO last FROM {AUDITOR_SCHEMA}.audit_log ORDER BY number DESC LIMIT 1;
        IF next.number <> coalesce(last.number, 0) + 1 OR next.previous_hash <> coalesce(last.hash, repeat('0', 64))
            OR next.action <> (CASE WHEN turned_on THEN 'kill_switch_on' ELSE 'kill_switch_off' END)
            OR why IS NULL OR btrim(why) = '' THEN
            RAISE EXCEPTION 'the kill switch turns with the next audit entry that says so, and with a reason'
                USING ERRCODE = 'insufficient_privilege', HINT = 'Use `trueup stop` or `trueup resume`.';
        END IF;
        INSERT INTO {AUDITOR_SCHEMA}.audit_log SELECT next.*;
        INSERT INTO {AUDITOR_SCHEMA}.kill_switch AS k (number, is_on, reason, changed_by, changed_at)
        VALUES (1, turned_on, why, next.actor, next.at)
        ON CONFLICT (number) DO UPDATE SET is_on = excluded.is_on, reason = excluded.reason,
            changed_by = excluded.changed_by, changed_at = excluded.changed_at;
    END $$;
    REVOKE ALL ON FUNCTION {AUDITOR_SCHEMA}.turn_kill_switch(boolean, text, jsonb) FROM PUBLIC;

    INSERT INTO {AUDITOR_SCHEMA}.locks (name) VALUES ('apply'), ('audit_log'), ('relay') ON CONFLICT DO NOTHING;
    INSERT INTO {AUDITOR_SCHEMA}.kill_switch (number, is_on, reason, changed_by, changed_at)
    VALUES (1, false, 'as made', 'init-db', now()) ON CONFLICT DO NOTHING;
"""
"""What guards schema trueup once its tables are there; may be run again."""


def guards() -> str:
    """The functions and triggers that refuse to rewrite the past, as one script that may be run again."""
    return GUARDS + "".join(_triggers(table) for table in auditor_tables())


def _triggers(table: str) -> str:
    """No row of a table is deleted; no column is updated but those of `MAY_CHANGE`.

    They fire whatever a session sets.
    """
    name, may = f"{AUDITOR_SCHEMA}.{table}", MAY_CHANGE.get(table, ())
    if table == "kill_switch":  # updated inside its function, which runs as the owner; the grants keep others out
        may = ("is_on", "reason", "changed_by", "changed_at")
    events = "DELETE OR TRUNCATE" if may else "UPDATE OR DELETE OR TRUNCATE"
    script = f"""
    DROP TRIGGER IF EXISTS append_only ON {name};
    CREATE TRIGGER append_only BEFORE {events} ON {name}
        FOR EACH STATEMENT EXECUTE FUNCTION {AUDITOR_SCHEMA}.refuse_rewriting();
    ALTER TABLE {name} ENABLE ALWAYS TRIGGER append_only;
    DROP TRIGGER IF EXISTS only_columns ON {name};
    """
    if not may:
        return script
    arguments = ", ".join(f"'{column}'" for column in may)
    return (
        script
        + f"""
    CREATE TRIGGER only_columns BEFORE UPDATE ON {name}
        FOR EACH ROW EXECUTE FUNCTION {AUDITOR_SCHEMA}.refuse_other_columns({arguments});
    ALTER TABLE {name} ENABLE ALWAYS TRIGGER only_columns;
    """
    )
