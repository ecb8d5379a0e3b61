"""The chain: what the audit log says of a plan, against the rows that the gate would otherwise believe.

A row of schema trueup can be inserted by whoever has the writer's login; an entry of the chain needs the auditor's key.
So the chain decides: which plans were proposed and in which order, who approved, who rejected, what was applied, and
what a run's checks and row counts were. Where a row and the chain differ, the plan rests on a history that does not
hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from trueup.correction.plan import Plan
from trueup.stores.auditor.audit_log import auditor_key, entry_hash, last_noted_head, noted_heads, verify_log
from trueup.stores.settings import Settings

AUDITED: Final = "audited"
"""The action of the entry that a run leaves: its id as `key`, and digests of its checks and row counts."""


@dataclass(frozen=True)
class ChainOfPlan:
    """What the chain says of one plan.

    proposed: number of its entry, null if none fits its manifest. signatures: those of its approvals. applied: change
    ids that took effect. passed_over: target → outcome of accounts that were not written. faults: entries whose content
    is not what their hash says.
    """

    proposed: int | None
    is_rejected: bool
    is_finished: bool
    signatures: frozenset[str]
    applied: frozenset[str]
    passed_over: dict[str, str]
    faults: tuple[str, ...]


def chain_faults(connection: Connection, settings: Settings) -> tuple[str, ...]:
    """What does not hold in the chain, from the newest head that this machine noted on; nothing if all does."""
    trusted = auditor_key(settings).trusted
    verdict = verify_log(connection, trusted, noted_heads(settings), last_noted_head(settings))
    return () if verdict.broken is None else (f"entry {verdict.broken.number} {verdict.broken.what}",)


def chain_of_plan(connection: Connection, plan: Plan) -> ChainOfPlan:
    """What the chain says of a plan, each entry's content checked against its hash."""
    entries = [dict(row) for row in connection.execute(_OF_PLAN, {"plan_id": plan.plan_id}).mappings()]
    sound = [entry for entry in entries if entry["hash"] == entry_hash(entry)]
    by_action: dict[str, list[dict[str, Any]]] = {}
    for entry in sound:
        by_action.setdefault(entry["action"], []).append(entry)
    proposed = [
        e["number"] for e in by_action.get("proposed", ()) if _detail(e).get("manifest_sha256") == plan.manifest_hash
    ]
    finished = [_detail(entry)["accounts"] for entry in by_action.get("finished", ())]
    return ChainOfPlan(
        proposed=min(proposed, default=None),
        is_rejected="rejected" in by_action,
        is_finished=any(not counts.get("blocked") for counts in finished),
        signatures=frozenset(_detail(entry).get("signature", "") for entry in by_action.get("approved", ())),
        applied=frozenset(entry["change_id"] for entry in by_action.get("applied", ())),
        passed_over={e["key"]: name for name in ("superseded", "conflict") for e in by_action.get(name, ())},
        faults=tuple(
            f"entry {e['number']} was changed: its content does not match its hash" for e in entries if e not in sound
        ),
    )


def proposed_after(connection: Connection, number: int) -> list[str]:
    """The ids of the plans that were proposed after an entry, in order."""
    return list(connection.execute(_PROPOSED_AFTER, {"number": number}).scalars())


def run_digest(rows: Iterable[Sequence[object]]) -> str:
    """SHA-256 over rows in order of their text, whatever order they come in."""
    lines = sorted(json.dumps(list(row), ensure_ascii=False, default=str) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def run_faults(connection: Connection, run_ids: Iterable[str]) -> tuple[str, ...]:
    """Runs whose checks or row counts are not those that the chain has an entry of."""
    found = []
    for run_id in run_ids:
        rows = {name: connection.execute(query, {"run_id": run_id}).all() for name, query in _RUN_ROWS.items()}
        if not any(rows.values()):
            continue  # nothing rests on it: the gate asks for what is missing
        entries = connection.execute(_OF_RUN, {"run_id": run_id, "action": AUDITED}).mappings()
        details = [_detail(dict(entry)) for entry in entries if entry["hash"] == entry_hash(dict(entry))]
        if not any(all(detail.get(name) == run_digest(rows[name]) for name in rows) for detail in details):
            found.append(f"the checks and row counts of run {run_id} are not those in the audit log")
    return tuple(found)


def _detail(entry: dict[str, Any]) -> dict[str, Any]:
    detail: dict[str, Any] = json.loads(entry["detail"])
    return detail


_OF_PLAN: Final = text("SELECT * FROM trueup.audit_log WHERE plan_id = :plan_id ORDER BY number")
_OF_RUN: Final = text("SELECT * FROM trueup.audit_log WHERE action = :action AND key = :run_id ORDER BY number")
_PROPOSED_AFTER: Final = text(
    "SELECT plan_id FROM trueup.audit_log WHERE action = 'proposed' AND number > :number ORDER BY number"
)
_RUN_ROWS: Final = {
    "checks_sha256": text(
        'SELECT "check", store, is_blocking, has_passed FROM trueup.run_checks WHERE run_id = :run_id'
    ),
    "counts_sha256": text('SELECT store, "table", rows FROM trueup.source_counts WHERE run_id = :run_id'),
}
