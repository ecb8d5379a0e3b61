"""Plants of the dunning group: what the recompute stored, or did not, and its copies and flags."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.sandbox.fleet.planted_faults.fleet_editor import Ground, Plant, found, of


def exempt_ignored(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Someone promised this customer peace, and the state says otherwise."""
    store(ground, chosen, "suspended", attempts=4)
    return [found(chosen, "DUN_EXEMPT_IGNORED")]


def dunned_in_dispute(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The bank is still deciding, and we dun already."""
    store(ground, chosen, "final_notice", attempts=1)
    return [found(chosen, "DISPUTE_OPEN_BUT_DUNNING")]


def stuck_after_payment(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The customer paid, the ledger knows, and the state was never computed again."""
    store(ground, chosen, "retrying", attempts=1)
    return [found(chosen, "DUN_STUCK_AFTER_PAYMENT")]


def not_started(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A debt of which the recompute never heard: no row at all, or one that says all is well."""
    absent, clear = chosen[::2], chosen[1::2]
    ground.drop("subs_dunning", of(absent))
    store(ground, clear, "good_standing", attempts=0)
    return [found(chosen, "DUN_NOT_STARTED")]


def suspended_early(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Stored as suspended with attempts left."""
    ground.set("subs_dunning", of(chosen), state="suspended")
    return [found(chosen, "DUN_EARLY_SUSPENSION")]


def other_state(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """One step behind."""
    ground.set("subs_dunning", of(chosen), state="grace")
    return [found(chosen, "DUN_STATE_MISMATCH")]


def counter_off(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The right state for the wrong reason: an attempt not counted, a clock a day off, a retry at another time."""
    counts, clocks, retries = chosen[::3], chosen[1::3], chosen[2::3]
    ground.set("subs_dunning", of(counts), attempt_count=pl.col("attempt_count") + 1)
    ground.set("subs_dunning", of(clocks), clock_started_on=pl.col("clock_started_on") - pl.duration(days=1))
    ground.set("subs_dunning", of(retries), next_retry_at=pl.col("next_retry_at") + pl.duration(hours=12))
    return [found(chosen, "DUN_COUNTER_MISMATCH")]


def ledger_copy_off(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """billing_prod's own copy of the state was not brought up to date."""
    copy_state(ground, chosen, "grace")
    return [found(chosen, "DUN_LEDGER_COPY_MISMATCH")]


def orphan_row(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A dunning row of an account that was purged. The chosen accounts lend their numbers only."""
    gone = chosen.with_columns(account_id=pl.col("account_id").str.replace("acc_", "purged_", literal=True))
    store(ground, gone, "good_standing", attempts=0)
    return [found(gone, "DUN_ORPHAN")]


def bad_debt_stale(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Flagged as bad debt though nothing is owed."""
    ground.set("subs_account", of(chosen), bad_debt=True, updated_by="A3")
    return [found(chosen, "FLAG_BAD_DEBT_STALE")]


def bad_debt_missing(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Bad debt that the flag does not say."""
    ground.set("subs_account", of(chosen), bad_debt=False)
    return [found(chosen, "FLAG_BAD_DEBT_MISSING")]


def store(ground: Ground, chosen: pl.DataFrame, state: str, attempts: int) -> None:
    """The dunning row that a recompute of some days ago would have left, driven by the latest bill."""
    is_clear = state == "good_standing"
    at = ground.as_of - timedelta(days=2, hours=5)
    ground.drop("subs_dunning", of(chosen))
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
    ground.add("subs_dunning", rows)


def copy_state(ground: Ground, chosen: pl.DataFrame, state: str) -> None:
    """The ledger's copy says this state."""
    ground.drop("dunning_states", of(chosen))
    rows = chosen.select(
        "account_id",
        state=pl.lit(state),
        updated_at=pl.lit(ground.as_of - timedelta(days=2, hours=4)),
        version=pl.lit(2),
    )
    ground.add("dunning_states", rows)


PLANTS: Final = (
    Plant("DUN_EXEMPT_IGNORED", 6, exempt_ignored, ("exempt",)),
    Plant("DISPUTE_OPEN_BUT_DUNNING", 8, dunned_in_dispute, ("dispute_open",)),
    Plant("DUN_STUCK_AFTER_PAYMENT", 90, stuck_after_payment, ("recovered", "recovered_by_new_card")),
    Plant("DUN_NOT_STARTED", 30, not_started, ("grace", "retrying", "invoiced_later")),
    Plant("DUN_EARLY_SUSPENSION", 20, suspended_early, ("retrying", "final_notice", "held")),
    Plant("DUN_STATE_MISMATCH", 25, other_state, ("final_notice", "hard_decline", "suspended")),
    Plant("DUN_COUNTER_MISMATCH", 30, counter_off, ("retrying", "final_notice")),
    Plant("DUN_LEDGER_COPY_MISMATCH", 25, ledger_copy_off, ("recovered", "retrying", "suspended")),
    Plant("DUN_ORPHAN", 4, orphan_row, is_counted=False),
    Plant("FLAG_BAD_DEBT_STALE", 15, bad_debt_stale, ("recovered", "retrying")),
    Plant("FLAG_BAD_DEBT_MISSING", 12, bad_debt_missing, ("bad_debt", "charged_off")),
)
