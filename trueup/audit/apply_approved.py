"""Applying an approved plan: its accounts are read and judged once more, and what is still desired is written.

The gate and the writing itself are `trueup/stores/apply/apply.py`; here is what an apply reads before it writes.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl

from trueup.audit.gather import ScopeReading, gather_scope
from trueup.audit.judge import Basis, judge, sweep_snapshot
from trueup.audit.progress import working_on
from trueup.contract.schemas import CHANGES
from trueup.correction.changes import changes
from trueup.correction.plan import Plan
from trueup.correction.refusals import SourceNotWhole
from trueup.stores.apply.apply import Regather, apply_plan
from trueup.stores.apply.outcomes import ApplyResult
from trueup.stores.auditor.connection import utc_now
from trueup.stores.auditor.plans import load_plan
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings


def apply_approved(settings: Settings, plan_id: str, *, dry_run: bool = False) -> ApplyResult:
    """Apply a plan, reading its accounts once more.

    Raises:
        Refusal: the gate stays closed.
        StoreError: a store could not be read whole, or the database broke off; apply again to finish what is left.
    """
    plan = load_plan(settings, plan_id).plan
    with working_on("apply", len(plan.accounts)) as on_accounts:
        done = 0

        def progress(accounts: int, _all: int) -> None:
            nonlocal done
            on_accounts(accounts - done)
            done = accounts

        return apply_plan(
            settings,
            plan_id,
            regather=regather(settings, plan),
            dry_run=dry_run,
            on_progress=progress,
            on_wait=_say_who_is_waited_for,
        )


def _say_who_is_waited_for(holder: str) -> None:
    """Say at once that another apply holds the lock: whoever watches would else see nothing move."""
    logging.getLogger("trueup.apply").warning("Waiting for %s, which holds the lock of applies.", holder)


def regather(settings: Settings, plan: Plan) -> Regather:
    """Read some accounts anew: the changes that are desired of them now.

    The instant moves on by as long as the plan has waited, so that a payment since then counts. Rows that were written
    a moment ago count too: whoever wrote them, what they say now is what the plan is held against.
    """

    def changes_now(accounts: frozenset[str]) -> pl.DataFrame:
        as_of = _moved_on(plan.as_of, plan.created_at, utc_now())
        with tempfile.TemporaryDirectory(prefix="trueup-") as folder:
            reading = gather_scope(settings, Scope.of_accounts(accounts), Path(folder))
            _refuse_broken(reading, settings)
            basis = replace(Basis.of(settings, as_of), settle_minutes=0)
            judgement = judge(sweep_snapshot(reading.snapshot(), basis), reading, basis)
            judged = judgement.judged
            found = changes(judgement.findings, judged.desired.lazy(), judged.facts, basis.policy, as_of)
            return found.select(list(CHANGES))

    return changes_now


def _refuse_broken(reading: ScopeReading, settings: Settings) -> None:
    """Raise SourceNotWhole if a store could not be read whole: what it did not say might be a payment."""
    broken = reading.broken(settings.max_age_hours)
    if broken:
        causes = "; ".join(reading.faults()) or ", ".join(f"{store}: {code}" for store, code in broken.items())
        raise SourceNotWhole(
            f"the plan's accounts could not be read again: {causes}",
            "Mend the store (`trueup doctor`) and apply the plan again.",
            broken=broken,
        )


def _moved_on(as_of: datetime, created_at: datetime, now: datetime) -> datetime:
    return as_of + (now - created_at)
