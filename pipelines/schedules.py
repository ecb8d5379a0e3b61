"""Schedules: when the whole fleet is reconciled without anybody asking.

Stopped until somebody starts it: a fresh installation reads nothing by itself.
"""

from __future__ import annotations

from typing import Final

import dagster as dg

from pipelines.jobs import plan

nightly_reconciliation = dg.ScheduleDefinition(
    name="nightly_reconciliation",
    job=plan,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night, the whole fleet: an audit that ends in a plan, which waits for its approval.",
)

SCHEDULES: Final = (nightly_reconciliation,)
