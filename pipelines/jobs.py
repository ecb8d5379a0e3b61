"""Jobs: which assets are made together.

`audit` reads and writes to no store of others. `plan` is the same and ends in a plan, which waits for its approval.
`apply_plan` is a run of its own, so that what was planned and what was written are never one breath. `relay_outbox`
publishes what applying left in the outbox. `contracts` judges the stores' tables by their expectations; it is no
partition of an audit, which sweeps the same rows itself and is not to wait for Great Expectations.
"""

from __future__ import annotations

from typing import Final

import dagster as dg

from checks.expectations import EXPECTATION_CHECKS
from trueup.audit.terms import Terms
from trueup.contract.schemas import STORES

EXPECTED: Final = dg.AssetSelection.checks(*EXPECTATION_CHECKS)
AUDITED: Final = dg.AssetSelection.groups(*STORES, "audit") - EXPECTED
SELECTED: Final = dg.AssetSelection.groups("selection") - dg.AssetSelection.assets(["selection", "correction_plan"])
# How long a run may take before it counts as dead, and how often a run whose process died is run again: reads only.
READS: Final = {"dagster/max_retries": "2", "dagster/retry_strategy": "ALL_STEPS"}
WITHIN_2_HOURS: Final = {"dagster/max_runtime": "7200"}
WITHIN_30_MINUTES: Final = {"dagster/max_runtime": "1800"}
PLANNED: Final = dg.AssetSelection.assets("correction_plan")

audit = dg.define_asset_job(
    "audit",
    tags=READS,
    selection=AUDITED,
    description="Read the six stores, compute every account's dunning state, find what disagrees, read it again.",
)
plan = dg.define_asset_job(
    "plan",
    tags=READS,
    selection=AUDITED | PLANNED,
    description="An audit that ends in a plan of corrections. Nothing is written until somebody approves it.",
)
apply_plan = dg.define_asset_job(
    "apply_plan",
    tags=WITHIN_30_MINUTES,
    selection=dg.AssetSelection.assets("applied_corrections"),
    description="Apply one approved plan. The gate is asked first; without a valid approval nothing is written.",
)
relay_outbox = dg.define_asset_job(
    "relay_outbox",
    tags=WITHIN_30_MINUTES,
    selection=dg.AssetSelection.assets("published_events"),
    description="Publish the events in the outbox.",
)
contracts = dg.define_asset_job(
    "contracts",
    tags=READS | WITHIN_2_HOURS,
    selection=EXPECTED,
    description="Judge every table by what its store promises, with Great Expectations and with the sweep.",
)

audit_selection = dg.define_asset_job(
    "audit_selection",
    tags=READS | WITHIN_2_HOURS,
    selection=SELECTED,
    description="Audit some accounts or buckets, or the fleet about another instant. The fleet's numbers stay.",
)
plan_selection = dg.define_asset_job(
    "plan_selection",
    tags=READS | WITHIN_2_HOURS,
    selection=SELECTED | dg.AssetSelection.assets(["selection", "correction_plan"]),
    description="The same, ending in a plan for these accounts. Nothing is written before it is approved.",
)
audit_buckets = dg.define_asset_job(
    "audit_buckets",
    tags=READS,
    selection=dg.AssetSelection.groups("buckets"),
    description="Audit buckets of the fleet, one partition each: for backfills.",
)

JOBS: Final = (
    audit,
    plan,
    audit_selection,
    plan_selection,
    audit_buckets,
    apply_plan,
    relay_outbox,
    contracts,
)


def job_for(job: str, terms: Terms) -> str:
    """The job that does `audit` or `plan` for these terms: the fleet's own, or that of a selection."""
    return job if terms.is_of_fleet or job not in {"audit", "plan"} else f"{job}_selection"
