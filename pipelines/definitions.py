"""Definitions: everything that Dagster knows of this project.

`build_defs` puts them together and takes overrides, so that tests and the demo run the very same wiring against stores
of their own. Importing this module reads no setting and opens no connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.applied import applied_corrections
from assets.corrections import correction_plan, corrections
from assets.facts import facts
from assets.initial_reading import initial_reading
from assets.manifest import run_manifest
from assets.published import PLAN_APPROVAL, published_events
from assets.recheck import recheck
from assets.results import audit_results
from assets.selection import SELECTION_ASSETS
from assets.stores import STORE_ASSETS
from checks.contracts import CONTRACT_CHECKS
from checks.disagreements import GROUP_CHECKS
from checks.expectations import EXPECTATION_CHECKS
from checks.selection import SELECTION_CHECKS
from checks.trend import TREND_CHECKS
from checks.whole import every_store_was_read_whole
from pipelines.jobs import JOBS
from pipelines.resources import build_resources
from pipelines.schedules import SCHEDULES
from pipelines.sensors import SENSORS

ASSETS: list[dg.AssetsDefinition | dg.AssetSpec] = [
    run_manifest,
    *STORE_ASSETS,
    facts,
    initial_reading,
    recheck,
    audit_results,
    corrections,
    correction_plan,
    PLAN_APPROVAL,
    applied_corrections,
    published_events,
    *SELECTION_ASSETS,
]
CHECKS = [
    *CONTRACT_CHECKS,
    *GROUP_CHECKS,
    *TREND_CHECKS,
    every_store_was_read_whole,
    *SELECTION_CHECKS,
    *EXPECTATION_CHECKS,
]


def build_defs(overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The definitions, with the given resources in the place of the usual ones."""
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources=build_resources(overrides),
        executor=dg.in_process_executor,
    )


defs = build_defs()
