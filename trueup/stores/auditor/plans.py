"""Plans at rest: stored, listed, found, approved and rejected.

A plan's content is written once and never changed; its row also says how far it has come, which opens nothing. Reading
a plan back gives the same value that was stored, so its id can be taken again from its content: that is how tampering
shows. What a plan says is `trueup.correction.plan`'s business, what an approval is worth that of `approvals.py`,
whether it may be applied the gate's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl
from sqlalchemy import Connection, RowMapping, text

from trueup.contract.schemas import CHANGES
from trueup.correction import gate
from trueup.correction.limits import Limits
from trueup.correction.plan import Plan, PlanScope, in_order
from trueup.correction.refusals import PlanTampered, Refusal
from trueup.stores.auditor.approvals import approvals_of, limits_of, record_approval
from trueup.stores.auditor.approvers import Approvers, load_approvers
from trueup.stores.auditor.audit_log import Entry, append, auditor_key, note_head
from trueup.stores.auditor.chain import chain_of_plan
from trueup.stores.auditor.connection import actor, copy_rows, quoted, utc_now, writing
from trueup.stores.auditor.keys import SigningKey
from trueup.stores.auditor.pins import read_pin, refuse_other_file
from trueup.stores.errors import TrueupError
from trueup.stores.settings import Settings


class PlanUnknown(TrueupError):
    """A plan that is not stored here."""


@dataclass(frozen=True)
class PlanInfo:
    """A plan's line in the list of plans."""

    plan_id: str
    number: int
    run_id: str
    as_of: datetime
    scope: str
    status: str  # proposed, approved, applying, applied, rejected
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None
    changes: int
    accounts: int
    is_expired: bool


@dataclass(frozen=True)
class PlanRecord:
    """A stored plan: the value, how far it has come, and whether its row still says what its content gives."""

    plan: Plan
    plan_id: str  # the id it is stored under
    number: int
    status: str
    is_row_its_own: bool


def store_plan(settings: Settings, plan: Plan, *, at: datetime | None = None) -> PlanInfo:
    """Store a plan and propose it in the audit log. One with the same content that is stored already stays as it is."""
    at = at or utc_now()
    with writing(settings) as connection:
        with connection.begin():
            is_new = connection.execute(_STORE, _row_of(plan)).rowcount == 1
            if is_new:
                rows = plan.changes.select(list(CHANGES)).iter_rows()
                copy_rows(connection, "trueup.plan_changes", ("plan_id", *CHANGES), ((plan.plan_id, *r) for r in rows))
            head = append(connection, auditor_key(settings), [_proposed(plan)] if is_new else [], at)
        note_head(settings, head)
        return _info(connection, plan.plan_id, at)


def load_plan(settings: Settings, plan_id: str) -> PlanRecord:
    """A plan by its id or the beginning of it; raises PlanUnknown, and PlanTampered if it cannot even be read."""
    with writing(settings) as connection:
        return read_plan(connection, find_plan(connection, plan_id))


def list_plans(settings: Settings, *, limit: int = 50) -> list[PlanInfo]:
    """The latest plans, newest first."""
    with writing(settings) as connection:
        return _infos(connection, None, utc_now(), limit)


def approve_plan(settings: Settings, plan_id: str, key: SigningKey, *, at: datetime | None = None) -> PlanInfo:
    """Sign a plan. It is approved once enough different keys and identities have signed it.

    Raises:
        PlanUnknown: there is no such plan.
        Refusal: what the gate would refuse it for whoever signs (PlanTampered, PlanMalformed, PlanNotOfNow,
            PlanExpired, PlanNotApproved of its maker's own), or ApproverUnknown.
    """
    at = at or utc_now()
    approvers = load_approvers(settings.approvers_file)
    with writing(settings) as connection:
        plan_id = find_plan(connection, plan_id)
        with recording_refusals(connection, settings, plan_id, "approve", at), connection.begin():
            stored = read_plan(connection, plan_id, lock=True)
            pin = read_pin(connection)
            refuse_other_file(settings, pin)
            limits = limits_of(settings).narrowed_to(pin.limits) if pin else limits_of(settings)
            gate.must_be_open(
                stored.plan, stored.plan_id, stored.status, at, is_row_its_own=stored.is_row_its_own, limits=limits
            )
            entry = record_approval(connection, stored.plan, key, approvers, at)
            status = _status_with(connection, stored, approvers, limits, entry)
            set_status(connection, plan_id, status)
            head = append(connection, auditor_key(settings), [entry], at)
        note_head(settings, head)
        return _info(connection, plan_id, at)


def reject_plan(settings: Settings, plan_id: str, *, reason: str = "", at: datetime | None = None) -> PlanInfo:
    """Turn a plan down for good. It needs no key, since it can only stop something."""
    at = at or utc_now()
    with writing(settings) as connection:
        plan_id = find_plan(connection, plan_id)
        with recording_refusals(connection, settings, plan_id, "reject", at), connection.begin():
            stored = read_plan(connection, plan_id, lock=True)
            gate.must_be_open(stored.plan, stored.plan_id, stored.status, None, is_row_its_own=stored.is_row_its_own)
            connection.execute(_STORE_REJECTION, {"plan_id": plan_id, "by": actor(), "reason": reason, "at": at})
            set_status(connection, plan_id, "rejected", at)
            entry = Entry(actor(), "rejected", plan_id=plan_id, detail={"reason": reason})
            head = append(connection, auditor_key(settings), [entry], at)
        note_head(settings, head)
        return _info(connection, plan_id, at)


def find_plan(connection: Connection, named: str) -> str:
    """The id of the plan that is called so, by its id or the beginning of it; raises PlanUnknown."""
    with connection.begin():
        found: list[str] = list(connection.execute(_FIND, {"named": named}).scalars())
    if len(found) != 1 and named not in found:
        how = "no plan is" if not found else f"{len(found)} plans are"
        raise PlanUnknown(f"{how} called {named or '(nothing)'}.", "`trueup plans` lists them.")
    return found[0]


def read_plan(connection: Connection, plan_id: str, *, lock: bool = False) -> PlanRecord:
    """A plan, in the caller's transaction; `lock` takes its row until that ends."""
    row = connection.execute(_LOCK if lock else _READ, {"plan_id": plan_id}).mappings().one()
    rows = connection.execute(_CHANGES, {"plan_id": plan_id}).all()
    plan = _plan_of(row, rows)
    return PlanRecord(plan, row["plan_id"], row["number"], row["status"], _says_the_same(plan, row))


def set_status(connection: Connection, plan_id: str, status: str, finished_at: datetime | None = None) -> None:
    """Say how far a plan has come, in the caller's transaction."""
    connection.execute(_SET_STATUS, {"plan_id": plan_id, "status": status, "finished_at": finished_at})


@contextmanager
def recording_refusals(
    connection: Connection, settings: Settings, plan_id: str, what: str, at: datetime
) -> Iterator[None]:
    """Write a refusal that leaves the block to the audit log, with all that it carries, and nothing else of the block.

    The block's own transactions have been rolled back by then, since the refusal went through them.
    """
    try:
        yield
    except Refusal as refusal:
        connection.rollback()
        entries = [
            Entry(actor(), "refused", plan_id=plan_id, detail={"what": what, **each.as_dict()})
            for each in (refusal, *refusal.others)
        ]
        with connection.begin():
            head = append(connection, auditor_key(settings), entries, at)
        note_head(settings, head)
        raise


_COLUMNS: Final = (
    "plan_id", "run_id", "as_of", "policy_version", "scope", "scope_accounts", "scope_buckets", "bucket_count",
    "manifest", "created_at", "expires_at",
)  # fmt: skip

_STORE: Final = text(f"""
    INSERT INTO trueup.plans ({", ".join(_COLUMNS)}, status)
    VALUES ({", ".join(f":{c}" for c in _COLUMNS)}, 'proposed') ON CONFLICT (plan_id) DO NOTHING
""")
_STORE_REJECTION: Final = text("""
    INSERT INTO trueup.rejections (plan_id, rejected_by, reason, rejected_at) VALUES (:plan_id, :by, :reason, :at)
""")
# A whole id names its plan, whatever other ids begin with it.
_FIND: Final = text("""
    SELECT plan_id FROM trueup.plans WHERE :named <> '' AND starts_with(plan_id, :named)
    ORDER BY plan_id <> :named LIMIT 3
""")
_READ: Final = text(f"SELECT number, status, {', '.join(_COLUMNS)} FROM trueup.plans WHERE plan_id = :plan_id")
_LOCK: Final = text(f"{_READ.text} FOR UPDATE")
_CHANGES: Final = text(f"SELECT {quoted(CHANGES)} FROM trueup.plan_changes WHERE plan_id = :plan_id")
_SET_STATUS: Final = text(
    "UPDATE trueup.plans SET status = :status, finished_at = CAST(:finished_at AS timestamptz) WHERE plan_id = :plan_id"
)
_LIST: Final = text("""
    SELECT p.plan_id, p.number, p.run_id, p.as_of, p.scope, p.status, p.created_at, p.expires_at, p.finished_at,
           count(c.change_id) AS changes, count(DISTINCT c.account_id) AS accounts
    FROM trueup.plans p LEFT JOIN trueup.plan_changes c ON c.plan_id = p.plan_id
    WHERE CAST(:plan_id AS text) IS NULL OR p.plan_id = :plan_id
    GROUP BY p.plan_id ORDER BY p.number DESC LIMIT :limit
""")


def _info(connection: Connection, plan_id: str, now: datetime) -> PlanInfo:
    return _infos(connection, plan_id, now, 1)[0]


def _infos(connection: Connection, plan_id: str | None, now: datetime, limit: int) -> list[PlanInfo]:
    rows = connection.execute(_LIST, {"plan_id": plan_id, "limit": limit}).mappings()
    return [
        PlanInfo(
            **row, is_expired=row["status"] in gate.OPEN and row["expires_at"] <= now
        )  # the columns are its fields
        for row in rows
    ]


def _row_of(plan: Plan) -> dict[str, Any]:
    scope = plan.scope
    return {
        "plan_id": plan.plan_id,
        "run_id": plan.run_id,
        "as_of": plan.as_of,
        "policy_version": plan.policy_version,
        "scope": scope.label,
        "scope_accounts": None if scope.accounts is None else sorted(scope.accounts),
        "scope_buckets": None if scope.buckets is None else [str(bucket) for bucket in sorted(scope.buckets)],
        "bucket_count": scope.bucket_count,
        "manifest": plan.manifest_json,
        "created_at": plan.created_at,
        "expires_at": plan.expires_at,
    }


def _plan_of(row: RowMapping, changes: Sequence[Any]) -> Plan:
    """The plan as its manifest and changes give it; a manifest that cannot be read is a plan tampered with."""
    try:
        manifest = json.loads(row["manifest"])
        scope = manifest["scope"]
        return Plan(
            as_of=_instant(manifest["as_of"]),
            policy_version=manifest["policy_version"],
            run_id=manifest["run_id"],
            scope=PlanScope(scope["label"], _tuple(scope["accounts"]), _tuple(scope["buckets"]), scope["bucket_count"]),
            snapshot={store: _instant(at) for store, at in manifest["snapshot"].items()},
            fleet_accounts=manifest["fleet_accounts"],
            changes=in_order(pl.DataFrame([tuple(c) for c in changes], schema=CHANGES, orient="row")),
            created_at=_instant(manifest["created_at"]),
            expires_at=_instant(manifest["expires_at"]),
            maker=manifest["maker"],
            origin=manifest["origin"],
            age_max=timedelta(seconds=manifest["age_max_seconds"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise PlanTampered(
            f"plan {row['plan_id']} cannot be read: its manifest is not one that `trueup plan` writes.",
            "Find out who wrote to trueup.plans; then make a new plan.",
            plan_id=row["plan_id"],
        ) from error


def _says_the_same(plan: Plan, row: RowMapping) -> bool:
    """Whether every column of the stored row is what the content gives."""
    given = _row_of(plan)
    return all(row[column] == given[column] for column in _COLUMNS)


def _status_with(connection: Connection, stored: PlanRecord, approvers: Approvers, limits: Limits, entry: Entry) -> str:
    """How far the plan has come with this approval. Raises PlanNotApproved if the approval can never count."""
    plan = stored.plan
    signatures = chain_of_plan(connection, plan).signatures | {str(entry.detail["signature"])}
    sound = tuple(a for a in approvals_of(connection, plan, approvers, signatures) if a.is_sound and a.is_in_chain)
    own = [approval for approval in sound if approval.approver == entry.actor]
    gate.must_count(plan, own[-1])
    needed = limits.needed_for(plan.blast_radius.accounts_changed)
    persons = tuple(approval for approval in sound if not approval.is_policy_key)
    policy_keys = {approval.approver for approval in sound if approval.is_policy_key}
    counted = gate.different_approvers(plan.maker, persons) + len(policy_keys)
    if stored.status == "applying":
        return "applying"
    return "approved" if counted >= needed else "proposed"


def _proposed(plan: Plan) -> Entry:
    counted = {
        name: plan.manifest[name] for name in ("run_id", "maker", "scope", "changes", "blast_radius", "expires_at")
    }
    counted["manifest_sha256"] = plan.manifest_hash
    if plan.scope.accounts is not None:
        counted["scope"] = plan.scope.label  # a list of accounts may be as long as the fleet
    return Entry(actor(), "proposed", plan_id=plan.plan_id, reconciled_at=plan.as_of, detail=counted)


def _instant(written: str) -> datetime:
    return datetime.fromisoformat(written)


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
