"""Tags of runs, by which they are found again."""

from __future__ import annotations

from typing import Final

PLAN_TAG: Final = "trueup/plan_id"
EVENTS_TAG: Final = "trueup/waiting_events"
