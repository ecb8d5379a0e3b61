"""Apply: an approved plan, written.

The plan's row is taken with a lock, the gate is asked, its accounts are gathered once more, and then batches of
accounts are written, each in one transaction with its events, its audit entries and the record that it was applied.
Killed at any point and started again, it finishes what is left, since everything that says how far it came committed
with the change. A dry run is the same code with every transaction rolled back.

What becomes of an account is its outcome, and all of its changes share it: *applied*; *already applied*, by an earlier
start of the same apply; *superseded*, since something else is desired by now; *conflict*, since someone moved a row
first; *blocked*, since its rows stayed locked, which leaves the plan open to be applied again. Nobody is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import polars as pl
import psycopg
import stamina
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from trueup.correction.changes import ALONG
from trueup.correction.gate import check
from trueup.correction.plan import Plan
from trueup.correction.refusals import KillSwitchOn
from trueup.stores.apply.batch import Batch
from trueup.stores.apply.outcomes import (
    TARGET,
    ApplyResult,
    Outcome,
    Outcomes,
    entries_of,
    outcome_table,
    outcomes_in_chain,
    store_outcomes,
)
from trueup.stores.auditor.approvals import approvals_of, limits_of
from trueup.stores.auditor.approvers import load_approvers
from trueup.stores.auditor.audit_log import Entry, Head, append, auditor_key, note_head
from trueup.stores.auditor.chain import ChainOfPlan, chain_faults, chain_of_plan
from trueup.stores.auditor.connection import actor, utc_now, writing
from trueup.stores.auditor.gate_facts import gate_facts, read_kill_switch
from trueup.stores.auditor.locks import held
from trueup.stores.auditor.outbox import emit, events_of
from trueup.stores.auditor.pins import read_pin, refuse_other_file
from trueup.stores.auditor.plans import PlanRecord, find_plan, read_plan, recording_refusals, set_status
from trueup.stores.settings import Settings

Regather = Callable[[frozenset[str]], pl.DataFrame]
"""Accounts → the changes (schemas.CHANGES) that are desired of them now, whether or not their rows are settling."""

Checkpoint = Callable[[str], None]
"""Called with the name of each step when it is done; tests end the process there."""

Progress = Callable[[int, int], None]
"""Called with targets done, and targets in all."""

STEPS: Final = (
    "gate passed", "regathered", "copied", "locked", "written", "outbox filled", "logged", "committed", "finished",
)  # fmt: skip
"""Every step that a checkpoint is called with, in order; `copied` to `committed` come once for each batch."""

_ATTEMPTS: Final = 3  # of one batch, before it is halved to find what blocks it
_SHORT_LOCK_SECONDS: Final = 0.2  # how long a halved batch waits for a lock
_TRANSIENT: Final = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


class Blocked(Exception):
    """The batch could not get its locks: a lock timeout, a deadlock or a serialization failure."""


def apply_plan(
    settings: Settings,
    plan_id: str,
    *,
    regather: Regather,
    dry_run: bool = False,
    now: Callable[[], datetime] = utc_now,
    checkpoint: Checkpoint = lambda _step: None,
    on_progress: Progress = lambda _done, _all: None,
    on_wait: Callable[[str], None] = lambda _holder: None,
) -> ApplyResult:
    """Apply an approved plan; `plan_id` may be the beginning of its id.

    Raises:
        PlanUnknown: there is no such plan.
        Refusal: the gate stays closed; nothing was written but the refusal's audit entry.
        StoreError: a store could not be reached or broke off. Applying again finishes what is left.
    """
    with held(settings, "apply", settings.apply_wait_seconds, on_wait), writing(settings) as connection:
        plan_id = find_plan(connection, plan_id)
        apply = _Apply(settings, connection, dry_run, now, checkpoint, on_progress)
        with recording_refusals(connection, settings, plan_id, "dry run" if dry_run else "apply", now()):
            plan, is_finished = apply.pass_gate(plan_id)
            if is_finished:
                return apply.report(plan, was_finished=True)
            checkpoint("gate passed")
            apply.write(plan, regather)
        apply.finish(plan)
        checkpoint("finished")
        return apply.report(plan)


@dataclass
class _Apply:
    """One apply: its terms, and what it has done so far."""

    settings: Settings
    connection: Connection
    dry_run: bool
    now: Callable[[], datetime]
    step: Checkpoint
    on_progress: Progress
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    rows_written: int = 0
    events_emitted: int = 0

    def __post_init__(self) -> None:
        self.key = auditor_key(self.settings)
        self.actor = actor()

    def pass_gate(self, plan_id: str) -> tuple[Plan, bool]:
        """Take the plan's row and ask the gate; the plan, and whether it was finished before and passes as it is."""
        with self.transaction():
            stored = read_plan(self.connection, plan_id, lock=True)
            chain = chain_of_plan(self.connection, stored.plan)
            self.outcomes, unknown = outcomes_in_chain(self.connection, stored.plan, chain)
            is_finished = _is_finished(stored, chain) and not (unknown or chain_faults(self.connection, self.settings))
            if not is_finished:
                self._ask_gate(stored, chain, unknown)
                set_status(self.connection, plan_id, "applying")
        return stored.plan, is_finished

    def _ask_gate(self, stored: PlanRecord, chain: ChainOfPlan, unknown: list[str]) -> None:
        pin = read_pin(self.connection)
        approvers = load_approvers(self.settings.approvers_file)
        approvals = approvals_of(self.connection, stored.plan, approvers, chain.signatures)
        facts = gate_facts(self.connection, self.settings, stored, chain, self.now())
        facts = replace(facts, chain_faults=(*facts.chain_faults, *unknown))
        limits = limits_of(self.settings)
        check(stored.plan, approvals, limits.narrowed_to(pin.limits) if pin else limits, facts)
        refuse_other_file(self.settings, pin)

    def write(self, plan: Plan, regather: Regather) -> None:
        """Write what is left of the plan, in batches of targets."""
        left = plan.changes.with_columns(TARGET).filter(~pl.col("target").is_in(list(self.outcomes)))
        changes = _with_still_desired(left, regather)
        self.step("regathered")
        targets = changes["target"].unique(maintain_order=True).to_list()
        size = self.settings.apply_batch_accounts
        for start in range(0, len(targets), size):
            self._commit_with_retries(plan, changes, targets[start : start + size])
            self.on_progress(min(start + size, len(targets)), len(targets))

    def finish(self, plan: Plan) -> None:
        """Close the plan, unless targets are blocked: those wait for its next apply."""
        counts = self.report(plan).counts
        with self.transaction():
            if counts["blocked"] == 0:
                set_status(self.connection, plan.plan_id, "applied", self.now())
            entry = Entry(self.actor, "finished", plan_id=plan.plan_id, detail={"accounts": counts})
            head = append(self.connection, self.key, [entry], self.now())
        self._note(head)

    def report(self, plan: Plan, *, was_finished: bool = False) -> ApplyResult:
        table = outcome_table(plan.changes, self.outcomes)
        return ApplyResult(plan.plan_id, self.dry_run, was_finished, table, self.rows_written, self.events_emitted)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction, which a dry run ends with a rollback. This is the one place where the two differ."""
        with self.connection.begin() as transaction:
            yield
            if self.dry_run:
                transaction.rollback()

    def _commit_with_retries(self, plan: Plan, changes: pl.DataFrame, targets: list[str]) -> None:
        """Write a batch; if locks stand in its way for long, halve it until only what is blocked is left."""
        try:
            for attempt in stamina.retry_context(on=Blocked, attempts=_ATTEMPTS, wait_initial=0.05, wait_max=1.0):
                with attempt:
                    self._commit(plan, changes, targets, self.settings.apply_lock_timeout_seconds)
        except Blocked as blocked:
            self._halve(plan, changes, targets, blocked)

    def _halve(self, plan: Plan, changes: pl.DataFrame, targets: list[str], blocked: Blocked) -> None:
        if len(targets) == 1:
            self.outcomes[targets[0]] = Outcome("blocked", str(blocked))
            return
        half = len(targets) // 2
        for part in (targets[:half], targets[half:]):
            try:
                self._commit(plan, changes, part, _SHORT_LOCK_SECONDS)
            except Blocked as again:
                self._halve(plan, changes, part, again)

    def _commit(self, plan: Plan, changes: pl.DataFrame, targets: list[str], lock_timeout: float) -> None:
        """One batch in one transaction."""
        batch = changes.filter(pl.col("target").is_in(targets))
        try:
            with self.transaction():
                outcomes, rows, events, head = self._write(plan, batch, lock_timeout)
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if isinstance(cause, _TRANSIENT):
                raise Blocked(type(cause).__name__) from error
            raise
        self.step("committed")
        self.outcomes |= outcomes
        self.rows_written += rows
        self.events_emitted += events
        self._note(head)

    def _write(self, plan: Plan, changes: pl.DataFrame, lock_timeout: float) -> tuple[Outcomes, int, int, Head | None]:
        """All that one batch writes. The audit log's lock is taken last, since it keeps every other writer waiting."""
        at = self.now()
        self.connection.execute(_LOCK_TIMEOUT, {"timeout": f"{lock_timeout * 1000:.0f}ms"})
        _refuse_if_stopped(self.connection)
        batch = Batch(self.connection, changes)
        self.step("copied")
        batch.lock_rows()
        self.step("locked")
        outcomes = _passed_over(batch, plan.plan_id)
        written, lost_race = batch.insert_rows()
        outcomes |= dict.fromkeys(lost_race, Outcome("conflict", "someone else inserted the row first"))
        batch.leave_out(lost_race)
        written += batch.update_rows()
        self.step("written")
        context = {"plan_id": plan.plan_id, "as_of": plan.manifest["as_of"], "policy_version": plan.policy_version}
        events = emit(self.connection, [event for row in written for event in events_of(row, context)], at)
        self.step("outbox filled")
        batch.record_applied(plan.plan_id, at)
        outcomes |= {target: Outcome("applied") for target in changes["target"].unique() if target not in outcomes}
        store_outcomes(self.connection, plan.plan_id, outcomes, changes, at)
        head = append(self.connection, self.key, entries_of(plan, changes, outcomes, written, self.actor), at)
        self.step("logged")
        return outcomes, len(written), events, head

    def _note(self, head: Head | None) -> None:
        if not self.dry_run:
            note_head(self.settings, head)


_LOCK_TIMEOUT: Final = text("SELECT set_config('lock_timeout', :timeout, true)")


def _is_finished(stored: PlanRecord, chain: ChainOfPlan) -> bool:
    """Applied before, by the chain's word; what was tampered with since is judged like any other plan, and refused."""
    return chain.is_finished and stored.is_row_its_own and stored.plan.plan_id == stored.plan_id


def _refuse_if_stopped(connection: Connection) -> None:
    is_on, reason = read_kill_switch(connection)
    if is_on is not False:
        raise KillSwitchOn(
            f"the kill switch was turned on during the apply ({reason}); what is written stays, the rest waits.",
            "Find out why with whoever turned it on, turn it off, and apply the plan again.",
            reason=reason,
        )


def _with_still_desired(changes: pl.DataFrame, regather: Regather) -> pl.DataFrame:
    """Adds `still_desired`: whether each change is still desired.

    same: yes; other: another value is; absent: none is, any more, or the row has the value already. Columns that are
    written along with a change are never a reason for anything, so they count as `same`, and so does what is of no
    account, since there is nothing to gather again.
    """
    accounts = frozenset(changes["account_id"].drop_nulls())
    now = regather(accounts) if accounts else changes
    desired = now.select("table", "key", "column", after_now=pl.col("after"))
    along = [f"{table}.{column}" for table, columns in ALONG.items() for column in columns]
    is_unquestioned = (pl.col("table") + "." + pl.col("column")).is_in(along) | pl.col("account_id").is_null()
    still_desired = (
        pl.when(is_unquestioned | (pl.col("after_now") == pl.col("after")))
        .then(pl.lit("same"))
        .when(pl.col("after_now").is_null())
        .then(pl.lit("absent"))
        .otherwise(pl.lit("other"))
    )
    return changes.join(desired, on=["table", "key", "column"], how="left", validate="1:1").with_columns(
        still_desired=still_desired
    )


def _passed_over(batch: Batch, plan_id: str) -> dict[str, Outcome]:
    """Take out of the batch every target that is not to be written: target → its outcome."""
    done = batch.already_applied(plan_id)
    batch.leave_out(done)
    moved = batch.moved_rows()
    batch.leave_out([row.target for row in moved])
    superseded = {row.target for row in moved if row.is_superseded}
    verdicts = {row.target: Outcome("superseded" if row.target in superseded else "conflict", row.why) for row in moved}
    return {**dict.fromkeys(done, Outcome("already applied")), **verdicts}
