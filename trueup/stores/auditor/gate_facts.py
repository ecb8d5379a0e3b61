"""What the gate asks about, gathered: newer plans, the checks and row counts of the plan's run, the kill switch.

Only facts; the decision is `trueup.correction.gate`'s. Where a row of schema trueup and the audit chain could differ,
the chain is asked (`chain`). What cannot be found stays None or empty, which closes the gate.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.exc import NoResultFound

from trueup.correction.gate import CheckVerdict, GateFacts
from trueup.correction.plan import Plan
from trueup.correction.refusals import PlanTampered
from trueup.stores.auditor.audit_log import Entry, Head, auditor_key, next_rows, note_head
from trueup.stores.auditor.chain import ChainOfPlan, chain_faults, proposed_after, run_faults
from trueup.stores.auditor.connection import actor, utc_now, writing
from trueup.stores.auditor.plans import PlanRecord, read_plan
from trueup.stores.errors import SettingsError
from trueup.stores.settings import Settings

SHRINK_RUNS: Final = 3  # how many earlier runs over the same accounts a store is measured against


def gate_facts(
    connection: Connection, settings: Settings, stored: PlanRecord, chain: ChainOfPlan, now: datetime
) -> GateFacts:
    """Everything that the gate asks about besides the plan and its approvals, in the caller's transaction."""
    run_id = stored.plan.run_id
    now = max(now, connection.execute(_DATABASE_NOW).scalar_one())  # a clock set back revives no plan
    newer, newer_faults = _newer_plans(connection, stored, chain)
    measured = [run_id, *connection.execute(_RUNS_BEFORE, {"run_id": run_id}).scalars()]
    faults = (
        *chain_faults(connection, settings),
        *chain.faults,
        *([] if chain.proposed is not None else [f"plan {stored.plan_id} was never proposed in the audit log"]),
        *newer_faults,
        *run_faults(connection, measured),
        *_switch_faults(connection),
    )
    verdicts = connection.execute(_VERDICTS, {"run_id": run_id}).all()
    is_recorded = connection.execute(_IS_RECORDED, {"run_id": run_id}).scalar_one()
    is_on, reason = read_kill_switch(connection)
    return GateFacts(
        plan_id=stored.plan_id,
        now=now,
        status="rejected" if chain.is_rejected or _is_rejected(connection, stored.plan_id) else stored.status,
        is_stored_manifest_its_own=stored.is_row_its_own,
        newer_plans=newer,
        verdicts=tuple(CheckVerdict(*verdict) for verdict in verdicts),
        rows_now=_counts(connection, _ROWS_NOW, run_id),
        rows_before=_counts(connection, _ROWS_BEFORE, run_id) if is_recorded else None,
        is_kill_switch_on=is_on,
        kill_switch_reason=reason,
        chain_faults=faults,
        policy_key_accounts=_policy_key_accounts(connection, now),
    )


def read_kill_switch(connection: Connection) -> tuple[bool | None, str]:
    """Whether it is on, and why; None where nothing says."""
    row = connection.execute(_SWITCH_IS).one_or_none()
    return (None, "") if row is None else (row.is_on, row.reason)


def set_kill_switch(settings: Settings, *, is_on: bool, reason: str) -> None:
    """Stop every apply, at the latest before its next batch; or let applies run again."""
    if not reason.strip():
        raise SettingsError(["no reason was given"], "Say why: --reason TEXT. It goes into the audit log.")
    action = "kill_switch_on" if is_on else "kill_switch_off"
    with writing(settings) as connection:
        with connection.begin():
            entry = Entry(actor(), action, detail={"reason": reason})
            (row,) = next_rows(connection, auditor_key(settings), [entry], utc_now())
            connection.execute(_SWITCH, {"is_on": is_on, "reason": reason, "entry": json.dumps(row, default=str)})
        note_head(settings, Head(row["number"], row["hash"]))


def _newer_plans(
    connection: Connection, stored: PlanRecord, chain: ChainOfPlan
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Newer plans that supersede this one, by the chain's order; and those that the chain knows and nobody stores."""
    if chain.proposed is None:
        return None, []
    newer, faults, accounts = [], [], stored.plan.accounts
    for plan_id in proposed_after(connection, chain.proposed):
        try:
            other = read_plan(connection, plan_id).plan
        except (NoResultFound, PlanTampered):
            faults.append(f"plan {plan_id}, proposed later, is not stored as it was")
            continue
        if other.is_for_looking or not _covers(connection, other, stored):
            continue
        if other.origin == "work" and not accounts <= frozenset(other.scope.accounts or ()):
            continue  # in a larger plan its accounts are judged by the second gathering
        newer.append(plan_id)
    return tuple(newer), faults


def _covers(connection: Connection, newer: Plan, stored: PlanRecord) -> bool:
    """Whether a newer plan read an account of this one, whether or not it found something to change."""
    scope = newer.scope
    if scope.accounts is None and scope.buckets is None:
        return True
    if scope.accounts is not None:
        return not stored.plan.accounts.isdisjoint(scope.accounts)
    given = {"plan_id": stored.plan_id, "buckets": list(scope.buckets or ()), "count": scope.bucket_count}
    return bool(connection.execute(_IN_BUCKETS, given).scalar_one())


def _is_rejected(connection: Connection, plan_id: str) -> bool:
    return bool(connection.execute(_REJECTED, {"plan_id": plan_id}).scalar_one())


def _policy_key_accounts(connection: Connection, now: datetime) -> int:
    """Accounts that plans approved by policy keys alone changed within the last hour."""
    since = min(now, connection.execute(_DATABASE_NOW).scalar_one()) - timedelta(hours=1)  # nor one set forward
    return int(connection.execute(_POLICY_KEY_ACCOUNTS, {"since": since}).scalar_one())


def _switch_faults(connection: Connection) -> list[str]:
    """The switch says it is off, and the newest entry about it says it was turned on."""
    is_on, _ = read_kill_switch(connection)
    last = connection.execute(_SWITCH_ENTRY).scalar_one_or_none()
    return (
        ["the kill switch is off, and no entry says who turned it off"]
        if last == "kill_switch_on" and is_on is False
        else []
    )


_DATABASE_NOW: Final = text("SELECT clock_timestamp()")
_IN_BUCKETS: Final = text("""
    SELECT EXISTS (
        SELECT FROM trueup.plan_changes WHERE plan_id = :plan_id
            AND ('x' || substr(md5(account_id), 1, 8))::bit(32)::bigint % :count = ANY (:buckets)
    )
""")
_REJECTED: Final = text("SELECT EXISTS (SELECT FROM trueup.rejections WHERE plan_id = :plan_id)")
_POLICY_KEY_ACCOUNTS: Final = text("""
    SELECT count(DISTINCT a.account_id) FROM trueup.applied_changes a
    WHERE a.applied_at > :since AND NOT EXISTS (
        SELECT FROM trueup.audit_log e WHERE e.plan_id = a.plan_id AND e.action = 'approved'
            AND e.detail::jsonb ->> 'role' <> 'policy'
    )
""")
_SWITCH_ENTRY: Final = text("""
    SELECT action FROM trueup.audit_log WHERE action IN ('kill_switch_on', 'kill_switch_off') ORDER BY number DESC LIMIT
    1
""")
_VERDICTS: Final = text(
    'SELECT "check", store, has_passed FROM trueup.run_checks WHERE run_id = :run_id AND is_blocking ORDER BY 1, 2'
)
_IS_RECORDED: Final = text("SELECT EXISTS (SELECT FROM trueup.audit_runs WHERE run_id = :run_id)")
_ROWS_NOW: Final = text("""SELECT store || '.' || "table", rows FROM trueup.source_counts WHERE run_id = :run_id""")

# The most of the last few runs over the same accounts, so that one short reading does not become the measure.
_EARLIER: Final = f"""
    SELECT earlier.run_id FROM trueup.audit_runs earlier JOIN trueup.audit_runs this ON this.run_id = :run_id
    WHERE earlier.number < this.number AND earlier.scope_key = this.scope_key
    ORDER BY earlier.number DESC LIMIT {SHRINK_RUNS}
"""
_RUNS_BEFORE: Final = text(_EARLIER)
_ROWS_BEFORE: Final = text(f"""
    SELECT counted.store || '.' || counted."table", max(counted.rows)
    FROM trueup.source_counts counted WHERE counted.run_id IN ({_EARLIER}) GROUP BY 1
""")
_SWITCH_IS: Final = text("SELECT is_on, reason FROM trueup.kill_switch WHERE number = 1")
_SWITCH: Final = text("SELECT trueup.turn_kill_switch(:is_on, :reason, CAST(:entry AS jsonb))")


def _counts(connection: Connection, statement: TextClause, run_id: str) -> dict[str, int]:
    return dict(connection.execute(statement, {"run_id": run_id}).all())
