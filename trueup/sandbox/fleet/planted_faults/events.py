"""Planted faults of the event group, and rows that break their store's contract."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.sandbox.fleet import ids
from trueup.sandbox.fleet.planted_faults.dunning import stuck_after_payment
from trueup.sandbox.fleet.planted_faults.fleet_editor import FleetEditor, PlantedFault, found, of


def stuck(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """The event that would have cleared a paid account is stuck."""
    eventful = add_event(editor, chosen, "invoice.paid", status="stuck")
    return [found(eventful, "EVT_STUCK", "event_id"), *stuck_after_payment(editor, chosen)]


def stuck_but_moot(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """An event is stuck, and all that it would change is already so."""
    eventful = add_event(editor, chosen, "invoice.updated", status="pending")
    return [found(eventful, "EVT_STUCK_MOOT", "event_id")]


def malformed(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A payload that is no event."""
    eventful = add_event(editor, chosen, "invoice.paid", status="stuck", is_well_formed=False)
    return [found(eventful, "EVT_MALFORMED", "event_id")]


def unheard_of_timezone(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """An account in a timezone that does not exist: nobody can tell what day it is there."""
    editor.set("accounts", of(chosen), timezone="Mars/Olympus_Mons")
    return [found(chosen, "SRC_CONTRACT", "account_id")]


def add_event(
    editor: FleetEditor, chosen: pl.DataFrame, kind: str, *, status: str, is_well_formed: bool = True
) -> pl.DataFrame:
    """An event about the latest bill, two days old: the chosen accounts with its `event_id`."""
    at = pl.Series([editor.as_of - timedelta(days=2)] * len(chosen), dtype=pl.Datetime("us", "UTC"))
    eventful = chosen.with_columns(event_id=ids.dated("evt", at, editor.rng), event_at=at)
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
    editor.add("subs_stuck_events", rows)
    return eventful


PLANTED_FAULTS: Final = (
    PlantedFault("EVT_STUCK", 30, stuck, ("recovered",)),
    PlantedFault("EVT_STUCK_MOOT", 30, stuck_but_moot, is_counted=False),
    PlantedFault("EVT_MALFORMED", 4, malformed),
    PlantedFault("SRC_CONTRACT", 5, unheard_of_timezone),
)
