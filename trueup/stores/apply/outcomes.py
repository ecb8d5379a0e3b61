"""Outcomes: what became of each account of a plan, remembered, logged and reported.

All changes of an account share its outcome. Where a change has no account (an event of nobody), its row stands for
itself: such a *unit* is named by table and key. Which outcome a unit gets is decided in `apply.py`.
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
from trueup.stores.auditor.connection import copy_rows
from trueup.stores.auditor.outbox import WrittenRow
from trueup.stores.errors import EXIT_DISAGREEMENTS

OUTCOMES: Final = ("applied", "already applied", "superseded", "conflict", "blocked")
FINE: Final = ("applied", "already applied")
DECIDED: Final = ("applied", "superseded", "conflict")  # what a later start of the same apply does not look at again

UNIT: Final = pl.col("account_id").fill_null(pl.concat_str("table", "key", separator=":")).alias("unit")


class Outcome(NamedTuple):
    """What became of a unit, and why."""

    outcome: str
    why: str = ""


Outcomes = Mapping[str, Outcome]
"""Unit → its outcome."""


@dataclass(frozen=True)
class ApplyResult:
    """What became of every account of a plan.

    `outcomes` has unit (the account, or table and key where there is none), account_id, outcome, why, changes.
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
    """The outcomes of these changes' units, as `ApplyResult` holds them."""
    known = pl.DataFrame(
        [(unit, *outcome) for unit, outcome in outcomes.items()],
        schema={"unit": pl.String(), "outcome": pl.String(), "why": pl.String()},
        orient="row",
    )
    units = changes.with_columns(UNIT).group_by("unit", "account_id").agg(changes=pl.len().cast(pl.Int64()))
    joined = units.join(known, on="unit", how="left", validate="1:1")
    return joined.select("unit", "account_id", "outcome", "why", "changes").sort("unit")


def remembered(connection: Connection, plan_id: str) -> dict[str, Outcome]:
    """What earlier starts of the plan's apply came to; what they applied is `already applied` now."""
    rows = connection.execute(_REMEMBERED, {"plan_id": plan_id, "decided": list(DECIDED)}).all()
    return {row.unit: Outcome("already applied") if row.outcome == "applied" else Outcome(*row[1:]) for row in rows}


def remember(connection: Connection, plan_id: str, outcomes: Outcomes, changes: pl.DataFrame, at: datetime) -> None:
    """Keep the outcomes with the changes they are of, and queue for the next audit what someone moved."""
    units = sorted(outcomes)
    connection.execute(
        _REMEMBER,
        {
            "plan_id": plan_id,
            "units": units,
            "outcomes": [outcomes[unit].outcome for unit in units],
            "whys": [outcomes[unit].why for unit in units],
            "at": at,
        },
    )
    account_of = dict(changes.select("unit", "account_id").iter_rows())
    moved = [unit for unit in units if outcomes[unit].outcome == "conflict" and account_of[unit] is not None]
    queued = ((account_of[unit], plan_id, outcomes[unit].why, at) for unit in moved)
    copy_rows(connection, "trueup.audit_queue", ("account_id", "plan_id", "reason", "queued_at"), queued)


def entries_of(
    plan: Plan, changes: pl.DataFrame, outcomes: Outcomes, written: list[WrittenRow], actor: str
) -> list[Entry]:
    """An audit entry for each change that was applied, and one for each unit that was passed over."""
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
        if outcomes[change["unit"]].outcome == "applied"
    ]
    account_of = dict(changes.select("unit", "account_id").iter_rows())
    passed_over = [
        Entry(actor, outcome, plan.plan_id, account_id=account_of[unit], key=unit, detail={"why": why})
        for unit, (outcome, why) in sorted(outcomes.items())
        if outcome not in FINE
    ]
    return [*applied, *passed_over]


_REMEMBERED: Final = text("""
    SELECT unit, outcome, why FROM trueup.apply_outcomes WHERE plan_id = :plan_id AND outcome = ANY (:decided)
""")
_REMEMBER: Final = text("""
    INSERT INTO trueup.apply_outcomes (plan_id, unit, outcome, why, decided_at)
    SELECT :plan_id, unit, outcome, why, :at
    FROM unnest(CAST(:units AS text[]), CAST(:outcomes AS text[]), CAST(:whys AS text[])) AS o (unit, outcome, why)
    ON CONFLICT (plan_id, unit) DO UPDATE
        SET outcome = excluded.outcome, why = excluded.why, decided_at = excluded.decided_at
        WHERE excluded.outcome <> 'already applied'
""")
