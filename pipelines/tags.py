"""Tags of runs, by which they are found again."""

from __future__ import annotations

from typing import Final

from assets.run import PLAN_TAG, SCOPE_TAG, WHOLENESS_TAG

__all__ = ["EVENTS_TAG", "PLAN_TAG", "SCOPE_TAG", "WHOLENESS_TAG"]

EVENTS_TAG: Final = "trueup/waiting_events"
