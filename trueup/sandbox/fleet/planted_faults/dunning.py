"""Planted faults of the dunning group: what the recompute stored, or did not, and its copies and flags."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.sandbox.fleet.planted_faults.fleet_editor import FleetEditor, PlantedFault, found, of


def exempt_ignored(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Someone promised this customer peace, and the state says otherwise."""
    store(editor, chosen, "suspended", attempts=4)
    return [found(chosen, "DUN_EXEMPT_IGNORED")]


def dunned_in_dispute(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The bank is still deciding, and we dun already."""
    store(editor, chosen, "final_notice", attempts=1)
    return [found(chosen, "DISPUTE_OPEN_BUT_DUNNING")]


def stuck_after_payment(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The customer paid, the ledger knows, and the state was never computed again."""
    store(editor, chosen, "retrying", attempts=1)
    return [found(chosen, "DUN_STUCK_AFTER_PAYMENT")]


def not_started(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A debt of which the recompute never heard: no row at all, or one that says all is well."""
    absent, clear = chosen[::2], chosen[1::2]
    editor.drop("subs_dunning", of(absent))
    store(editor, clear, "good_standing", attempts=0)
    return [found(chosen, "DUN_NOT_STARTED")]


def suspended_early(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Stored as suspended with attempts left."""
    editor.set("subs_dunning", of(chosen), state="suspended")
    return [found(chosen, "DUN_EARLY_SUSPENSION")]


def other_state(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """One step behind."""
    editor.set("subs_dunning", of(chosen), state="grace")
    return [found(chosen, "DUN_STATE_MISMATCH")]


def counter_off(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The right state for the wrong reason: an attempt not counted, a clock a day off, a retry at another time."""
    counts, clocks, retries = chosen[::3], chosen[1::3], chosen[2::3]
    editor.set("subs_dunning", of(counts), attempt_count=pl.col("attempt_count") + 1)
    editor.set("subs_dunning", of(clocks), clock_started_on=pl.col("clock_started_on") - pl.duration(days=1))
    editor.set("subs_dunning", of(retries), next_retry_at=pl.col("next_retry_at") + pl.duration(hours=12))
    return [found(chosen, "DUN_COUNTER_MISMATCH")]


def ledger_copy_off(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """billing_prod's own copy of the state was not brought up to date."""
    copy_state(editor, chosen, "grace")
    return [found(chosen, "DUN_LEDGER_COPY_MISMATCH")]


def orphan_row(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A dunning row of an account that was purged. The chosen accounts lend their numbers only."""
    gone = chosen.with_columns(account_id=pl.col("account_id").str.replace("acc_", "purged_", literal=True))
    store(editor, gone, "good_standing", attempts=0)
    return [found(gone, "DUN_ORPHAN")]


def bad_debt_stale(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Flagged as bad debt though nothing is owed."""
    editor.set("subs_account", of(chosen), bad_debt=True, updated_by="A3")
    return [found(chosen, "FLAG_BAD_DEBT_STALE")]


def bad_debt_missing(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Bad debt that the flag does not say."""
    editor.set("subs_account", of(chosen), bad_debt=False)
    return [found(chosen, "FLAG_BAD_DEBT_MISSING")]


def store(editor: FleetEditor, chosen: pl.DataFrame, state: str, attempts: int) -> None:
    """The dunning row that a recompute of some days ago would have left, driven by the latest bill."""
    is_clear = state == "good_standing"
    at = editor.as_of - timedelta(days=2, hours=5)
    editor.drop("subs_dunning", of(chosen))
    rows = chosen.select(
        "account_id",
        state=pl.lit(state),
        attempt_count=pl.lit(attempts),
        clock_started_on=pl.lit(None, pl.Date) if is_clear else pl.col("bill_at").dt.date(),
        driver_invoice_id=pl.lit(None, pl.String) if is_clear else pl.col("stripe_invoice_id"),
        reason=pl.lit(None if is_clear else "past_due", pl.String),
        computed_at=pl.lit(at),
        updated_at=pl.lit(at),
        version=pl.lit(4),
    )
    editor.add("subs_dunning", rows)


def copy_state(editor: FleetEditor, chosen: pl.DataFrame, state: str) -> None:
    """The ledger's copy says this state."""
    editor.drop("dunning_states", of(chosen))
    rows = chosen.select(
        "account_id",
        state=pl.lit(state),
        updated_at=pl.lit(editor.as_of - timedelta(days=2, hours=4)),
        version=pl.lit(2),
    )
    editor.add("dunning_states", rows)


PLANTED_FAULTS: Final = (
    PlantedFault("DUN_EXEMPT_IGNORED", 6, exempt_ignored, ("exempt",)),
    PlantedFault("DISPUTE_OPEN_BUT_DUNNING", 8, dunned_in_dispute, ("dispute_open",)),
    PlantedFault("DUN_STUCK_AFTER_PAYMENT", 90, stuck_after_payment, ("recovered", "recovered_by_new_card")),
    PlantedFault("DUN_NOT_STARTED", 30, not_started, ("grace", "retrying", "invoiced_later")),
    PlantedFault("DUN_EARLY_SUSPENSION", 20, suspended_early, ("retrying", "final_notice", "held")),
    PlantedFault("DUN_STATE_MISMATCH", 25, other_state, ("final_notice", "hard_decline", "suspended")),
    PlantedFault("DUN_COUNTER_MISMATCH", 30, counter_off, ("retrying", "final_notice")),
    PlantedFault("DUN_LEDGER_COPY_MISMATCH", 25, ledger_copy_off, ("recovered", "retrying", "suspended")),
    PlantedFault("DUN_ORPHAN", 4, orphan_row, is_counted=False),
    PlantedFault("FLAG_BAD_DEBT_STALE", 15, bad_debt_stale, ("recovered", "retrying")),
    PlantedFault("FLAG_BAD_DEBT_MISSING", 12, bad_debt_missing, ("bad_debt", "charged_off")),
)
