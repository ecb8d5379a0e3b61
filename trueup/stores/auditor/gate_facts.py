"""What the gate asks about, gathered: newer plans, the verdicts and row counts of the plan's run, the kill switch.

Only facts; the decision is `trueup.correction.gate`'s. What cannot be found stays None or empty, which closes the gate.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, TextClause, text

from trueup.correction.gate import CheckVerdict, GateFacts
from trueup.stores.auditor.audit_log import Entry, append, auditor_key, note_head
from trueup.stores.auditor.connection import actor, utc_now, writing
from trueup.stores.auditor.plans import PlanRecord
from trueup.stores.settings import Settings

SHRINK_RUNS: Final = 3  # how many earlier runs over the same accounts a store is measured against


def gate_facts(connection: Connection, kept: PlanRecord, now: datetime) -> GateFacts:
    """Everything that the gate asks about besides the plan and its approvals, in the caller's transaction."""
    run_id = kept.plan.run_id
    newer = connection.execute(_NEWER, {"number": kept.number, "plan_id": kept.plan_id}).scalars()
    verdicts = connection.execute(_VERDICTS, {"run_id": run_id}).all()
    is_recorded = connection.execute(_IS_RECORDED, {"run_id": run_id}).scalar_one()
    is_on, reason = read_kill_switch(connection)
    return GateFacts(
        plan_id=kept.plan_id,
        now=now,
        status=kept.status,
        is_stored_manifest_its_own=kept.is_row_its_own,
        newer_plans=tuple(newer),
        verdicts=tuple(CheckVerdict(*verdict) for verdict in verdicts),
        rows_now=_counts(connection, _ROWS_NOW, run_id),
        rows_before=_counts(connection, _ROWS_BEFORE, run_id) if is_recorded else None,
        is_kill_switch_on=is_on,
        kill_switch_reason=reason,
    )


def read_kill_switch(connection: Connection) -> tuple[bool | None, str]:
    """Whether it is on, and why; None where nothing says."""
    row = connection.execute(_SWITCH_IS).one_or_none()
    return (None, "") if row is None else (row.is_on, row.reason)


def set_kill_switch(settings: Settings, *, is_on: bool, reason: str) -> None:
    """Stop every apply, at the latest before its next batch; or let applies run again."""
    at = utc_now()
    with writing(settings) as connection:
        with connection.begin():
            connection.execute(_SWITCH, {"is_on": is_on, "reason": reason, "by": actor(), "at": at})
            entry = Entry(actor(), "kill_switch_on" if is_on else "kill_switch_off", detail={"reason": reason})
            head = append(connection, auditor_key(settings), [entry], at)
        note_head(settings, head)


# A newer plan covers an account if it looked at it, whether or not it found something to change.
_NEWER: Final = text("""
    SELECT newer.plan_id FROM trueup.plans newer
    WHERE newer.number > :number AND (
        (newer.scope_accounts IS NULL AND newer.scope_buckets IS NULL)
        OR EXISTS (
            SELECT FROM trueup.plan_changes c
            WHERE c.plan_id = :plan_id AND (
                c.account_id = ANY (newer.scope_accounts)
                OR (('x' || substr(md5(c.account_id), 1, 8))::bit(32)::bigint % newer.bucket_count)::text
                    = ANY (newer.scope_buckets)
            )
        )
    )
    ORDER BY newer.number
""")
_VERDICTS: Final = text(
    'SELECT "check", store, has_passed FROM trueup.run_checks WHERE run_id = :run_id AND is_blocking ORDER BY 1, 2'
)
_IS_RECORDED: Final = text("SELECT EXISTS (SELECT FROM trueup.audit_runs WHERE run_id = :run_id)")
_ROWS_NOW: Final = text("""SELECT store || '.' || "table", rows FROM trueup.source_counts WHERE run_id = :run_id""")

# The most of the last few runs over the same accounts, so that one short reading does not become the measure.
_ROWS_BEFORE: Final = text(f"""
    SELECT counted.store || '.' || counted."table", max(counted.rows)
    FROM trueup.source_counts counted
    WHERE counted.run_id IN (
        SELECT earlier.run_id FROM trueup.audit_runs earlier JOIN trueup.audit_runs this ON this.run_id = :run_id
        WHERE earlier.number < this.number AND earlier.scope_key = this.scope_key
        ORDER BY earlier.number DESC LIMIT {SHRINK_RUNS}
    )
    GROUP BY 1
""")
_SWITCH_IS: Final = text("SELECT is_on, reason FROM trueup.kill_switch WHERE number = 1")
_SWITCH: Final = text("""
    INSERT INTO trueup.kill_switch (number, is_on, reason, changed_by, changed_at) VALUES (1, :is_on, :reason, :by, :at)
    ON CONFLICT (number) DO UPDATE
        SET is_on = excluded.is_on, reason = excluded.reason, changed_by = excluded.changed_by,
            changed_at = excluded.changed_at
""")


def _counts(connection: Connection, statement: TextClause, run_id: str) -> dict[str, int]:
    return dict(connection.execute(statement, {"run_id": run_id}).all())
