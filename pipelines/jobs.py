"""Jobs: which assets are made together.

`audit` looks and writes to no store of others. `plan` is the same and ends in a plan, which waits for its approval.
`apply_plan` is a run of its own, so that what was planned and what was written are never one breath. `relay_outbox`
publishes what applying left in the outbox. `contracts` judges the stores' tables by their expectations; it is no
partition of an audit, which sweeps the same rows itself and is not to wait for Great Expectations.
"""

from __future__ import annotations

from typing import Final

import dagster as dg

from checks.expectations import EXPECTATION_CHECKS
from trueup.contract.schemas import STORES

EXPECTED: Final = dg.AssetSelection.checks(*EXPECTATION_CHECKS)
AUDITED: Final = dg.AssetSelection.groups(*STORES, "audit") - EXPECTED
PLANNED: Final = dg.AssetSelection.assets("correction_plan")

audit = dg.define_asset_job(
    "audit",
    selection=AUDITED,
    description="Read the six stores, compute every account's dunning state, find what disagrees, read again.",
)
plan = dg.define_asset_job(
    "plan",
    selection=AUDITED | PLANNED,
    description="An audit that ends in a plan of corrections. Nothing is written until somebody approves it.",
)
apply_plan = dg.define_asset_job(
    "apply_plan",
    selection=dg.AssetSelection.assets("applied_corrections"),
    description="Apply one approved plan. The gate is asked first; without a valid approval nothing is written.",
)
relay_outbox = dg.define_asset_job(
    "relay_outbox",
    selection=dg.AssetSelection.assets("published_events"),
    description="Publish the events in the outbox.",
)
contracts = dg.define_asset_job(
    "contracts",
    selection=EXPECTED,
    description="Judge every table by what its store promises, with Great Expectations and with the sweep.",
)

JOBS: Final = (audit, plan, apply_plan, relay_outbox, contracts)
