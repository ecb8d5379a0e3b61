"""Plants of the event group, and rows that break their store's contract."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.sandbox.fleet import ids
from trueup.sandbox.fleet.planted_faults.dunning import stuck_after_payment
from trueup.sandbox.fleet.planted_faults.fleet_editor import Ground, Plant, found, of


def stuck(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The event that would have cleared a paid account is stuck."""
    eventful = add_event(ground, chosen, "invoice.paid", status="stuck")
    return [found(eventful, "EVT_STUCK", "event_id"), *stuck_after_payment(ground, chosen)]


def stuck_but_moot(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """An event is stuck, and all that it would change is already so."""
    eventful = add_event(ground, chosen, "invoice.updated", status="pending")
    return [found(eventful, "EVT_STUCK_MOOT", "event_id")]


def malformed(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A payload that is no event."""
    eventful = add_event(ground, chosen, "invoice.paid", status="stuck", is_well_formed=False)
    return [found(eventful, "EVT_MALFORMED", "event_id")]


def unheard_of_timezone(ground: Ground, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """An account in a timezone that does not exist: nobody can tell what day it is there."""
    ground.set("accounts", of(chosen), timezone="Mars/Olympus_Mons")
    return [found(chosen, "SRC_CONTRACT")]


def add_event(
    ground: Ground, chosen: pl.DataFrame, kind: str, *, status: str, is_well_formed: bool = True
) -> pl.DataFrame:
    """An event about the latest bill, two days old: the chosen accounts with its `event_id`."""
    at = pl.Series([ground.as_of - timedelta(days=2)] * len(chosen), dtype=pl.Datetime("us", "UTC"))
    eventful = chosen.with_columns(event_id=ids.dated("evt", at, ground.rng), event_at=at)
    rows = eventful.select(
        "account_id",
        "event_id",
        type=pl.lit(kind),
        is_well_formed=pl.lit(is_well_formed),
        object_id="stripe_invoice_id" if is_well_formed else pl.lit(None, pl.String),
        status=pl.lit(status),
        attempts=pl.lit(9),
        received_at="event_at",
        updated_at="event_at",
        version=pl.lit(9),
    )
    ground.add("subs_stuck_events", rows)
    return eventful


PLANTS: Final = (
    Plant("EVT_STUCK", 30, stuck, ("recovered",)),
    Plant("EVT_STUCK_MOOT", 30, stuck_but_moot, is_counted=False),
    Plant("EVT_MALFORMED", 4, malformed),
    Plant("SRC_CONTRACT", 5, unheard_of_timezone),
)
