"""Outcomes: what became of each account of a plan, stored_outcomes, logged and reported.

All changes of an account share its outcome. Where a change has no account (an event of nobody), its row stands for
itself: such a *target* is named by table and key. Which outcome a target gets is decided in `apply.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import polars as pl
from sqlalchemy import Connection, text

from trueup.correction.plan import Plan
from trueup.stores.auditor.audit_log import Entry
from trueup.stores.auditor.chain import ChainOfPlan
from trueup.stores.auditor.connection import copy_rows
from trueup.stores.auditor.outbox import WrittenRow
from trueup.stores.errors import EXIT_DISAGREEMENTS

OUTCOMES: Final = ("applied", "already applied", "superseded", "conflict", "blocked")
FINE: Final = ("applied", "already applied")
DECIDED: Final = ("applied", "superseded", "conflict")  # what a later start of the same apply does not write again

TARGET: Final = pl.col("account_id").fill_null(pl.concat_str("table", "key", separator=":")).alias("target")


class Outcome(NamedTuple):
    """What became of a target, and why."""

    outcome: str
    why: str = ""


Outcomes = Mapping[str, Outcome]
"""Unit → its outcome."""


@dataclass(frozen=True)
class ApplyResult:
    """What became of every account of a plan.

    `outcomes` has target (the account, or table and key where there is none), account_id, outcome, why, changes.
    """

    plan_id: str
    is_dry_run: bool
    was_finished: bool  # before this apply began, which then changed nothing
    outcomes: pl.DataFrame
    rows_written: int
    events_emitted: int

    @property
    def counts(self) -> dict[str, int]:
        """Outcome → accounts, for every outcome there is."""
        found: dict[str, int] = dict(self.outcomes.group_by("outcome").len().iter_rows())
        return {outcome: found.get(outcome, 0) for outcome in OUTCOMES}

    @property
    def exit_code(self) -> int:
        """0 if everything is applied, now or before; else 1."""
        return 0 if sum(self.counts[outcome] for outcome in FINE) == self.outcomes.height else EXIT_DISAGREEMENTS

    def as_dict(self) -> dict[str, Any]:
        """The result, for JSON."""
        return {
            "plan_id": self.plan_id,
            "dry_run": self.is_dry_run,
            "was_finished": self.was_finished,
            "accounts": self.counts,
            "rows_written": self.rows_written,
            "events_emitted": self.events_emitted,
            "outcomes": self.outcomes.to_dicts(),
        }


def outcome_table(changes: pl.DataFrame, outcomes: Outcomes) -> pl.DataFrame:
    """The outcomes of these changes' targets, as `ApplyResult` holds them."""
    known = pl.DataFrame(
        [(target, *outcome) for target, outcome in outcomes.items()],
        schema={"target": pl.String(), "outcome": pl.String(), "why": pl.String()},
        orient="row",
    )
    targets = changes.with_columns(TARGET).group_by("target", "account_id").agg(changes=pl.len().cast(pl.Int64()))
    joined = targets.join(known, on="target", how="left", validate="1:1")
    return joined.select("target", "account_id", "outcome", "why", "changes").sort("target")


def outcomes_in_chain(connection: Connection, plan: Plan, chain: ChainOfPlan) -> tuple[dict[str, Outcome], list[str]]:
    """What earlier starts of the plan's apply came to, and the stored outcomes that the audit chain does not know.

    What they applied is `already applied` now: every change of the target has an entry that says so.
    """
    rows = connection.execute(_STORED_OUTCOMES, {"plan_id": plan.plan_id, "decided": list(DECIDED)}).all()
    changes = plan.changes.with_columns(TARGET)
    applied = set(
        changes.group_by("target")
        .agg(is_applied=pl.col("change_id").is_in(sorted(chain.applied)).all())
        .filter("is_applied")["target"]
    )
    outcomes: dict[str, Outcome] = {}
    unknown = []
    for target, outcome, why in rows:
        if outcome == "applied" and target in applied:
            outcomes[target] = Outcome("already applied")
        elif outcome != "applied" and chain.passed_over.get(target) == outcome:
            outcomes[target] = Outcome(outcome, why)
        else:
            unknown.append(f"the outcome `{outcome}` of {target} is not in the audit log")
    recorded = connection.execute(_RECORDED, {"plan_id": plan.plan_id}).scalars()
    unknown += [f"change {change} was recorded as applied and is not in the audit log" for change in recorded]
    return outcomes, unknown


def store_outcomes(
    connection: Connection, plan_id: str, outcomes: Outcomes, changes: pl.DataFrame, at: datetime
) -> None:
    """Store decided outcomes, and queue for the next audit what someone moved."""
    targets = sorted(target for target in outcomes if outcomes[target].outcome in DECIDED)
    connection.execute(
        _STORE_OUTCOMES,
        {
            "plan_id": plan_id,
            "targets": targets,
            "outcomes": [outcomes[target].outcome for target in targets],
            "whys": [outcomes[target].why for target in targets],
            "at": at,
        },
    )
    account_of = dict(changes.select("target", "account_id").iter_rows())
    moved = [target for target in targets if outcomes[target].outcome == "conflict" and account_of[target] is not None]
    queued = ((account_of[target], plan_id, outcomes[target].why, at) for target in moved)
    copy_rows(connection, "trueup.audit_queue", ("account_id", "plan_id", "reason", "queued_at"), queued)


def entries_of(
    plan: Plan, changes: pl.DataFrame, outcomes: Outcomes, written: list[WrittenRow], actor: str
) -> list[Entry]:
    """An audit entry for each change that was applied, and one for each target that was passed over."""
    versions = {(row.table, row.key): row.version for row in written}
    applied = [
        Entry(
            actor,
            "applied",
            plan_id=plan.plan_id,
            change_id=change["change_id"],
            account_id=change["account_id"],
            table=change["table"],
            key=change["key"],
            column=change["column"],
            before=change["before"],
            after=change["after"],
            event_ids=tuple(change["event_ids"]),
            reconciled_at=plan.as_of,
            detail={
                "codes": change["codes"],
                "reason": change["reason"],
                "row_version": versions[change["table"], change["key"]],
            },
        )
        for change in changes.iter_rows(named=True)
        if outcomes[change["target"]].outcome == "applied"
    ]
    account_of = dict(changes.select("target", "account_id").iter_rows())
    passed_over = [
        Entry(actor, outcome, plan.plan_id, account_id=account_of[target], key=target, detail={"why": why})
        for target, (outcome, why) in sorted(outcomes.items())
        if outcome not in FINE
    ]
    return [*applied, *passed_over]


_STORED_OUTCOMES: Final = text("""
    SELECT target, outcome, why FROM trueup.apply_outcomes WHERE plan_id = :plan_id AND outcome = ANY (:decided)
""")
_RECORDED: Final = text("""
    SELECT a.change_id FROM trueup.applied_changes a WHERE a.plan_id = :plan_id AND NOT EXISTS (
        SELECT FROM trueup.audit_log e
        WHERE e.plan_id = a.plan_id AND e.change_id = a.change_id AND e.action = 'applied'
    ) ORDER BY 1 LIMIT 10
""")
_STORE_OUTCOMES: Final = text("""
    INSERT INTO trueup.apply_outcomes (plan_id, target, outcome, why, decided_at)
    SELECT :plan_id, target, outcome, why, :at
    FROM unnest(CAST(:targets AS text[]), CAST(:outcomes AS text[]), CAST(:whys AS text[])) AS o (target, outcome, why)
    ON CONFLICT (plan_id, target) DO NOTHING
""")
