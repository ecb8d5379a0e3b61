"""Planted faults of the entitlement group: access that is on or off against the desired state."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.sandbox.fleet.catalogue import OLD_FEATURE, OTHER_FEATURE
from trueup.sandbox.fleet.planted_faults.fleet_editor import FleetEditor, PlantedFault, found, of


def on_when_suspended(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """Nobody switched the customer off."""
    is_in_plan = pl.col("feature") != OLD_FEATURE  # what was taken back long ago stays taken back
    editor.set("entitlements", of(chosen) & is_in_plan, active=True, revoked_at=None)
    return [found(chosen, "ENT_ON_WHEN_SUSPENDED")]


def off_when_good(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A customer who pays is locked out."""
    switch_off(editor, chosen)
    return [found(chosen, "ENT_OFF_WHEN_GOOD")]


def switch_off(editor: FleetEditor, chosen: pl.DataFrame) -> None:
    """No feature is active."""
    revoked = pl.lit(editor.as_of - timedelta(days=2, hours=3))
    editor.set("entitlements", of(chosen), active=False, revoked_at=revoked)


def other_features(editor: FleetEditor, chosen: pl.DataFrame) -> list[pl.DataFrame]:
    """A feature that the plan does not have was never taken back."""
    rows = chosen.select(
        "account_id",
        feature=pl.lit(OTHER_FEATURE),
        active=pl.lit(True),
        granted_at="created_at",
        updated_at="created_at",
        version=pl.lit(1),
    )
    editor.add("entitlements", rows)
    return [found(chosen.with_columns(feature=pl.lit(OTHER_FEATURE)), "ENT_PLAN_MISMATCH", "feature")]


PLANTED_FAULTS: Final = (
    PlantedFault("ENT_ON_WHEN_SUSPENDED", 20, on_when_suspended, ("suspended", "bad_debt", "invoiced_suspended")),
    PlantedFault("ENT_OFF_WHEN_GOOD", 12, off_when_good, ("good_monthly", "retrying")),
    PlantedFault("ENT_PLAN_MISMATCH", 20, other_features),
)
