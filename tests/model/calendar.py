"""Days: local dates, and spans of days that hold a clock.

"Local date" is in the account's timezone, else the policy's. A span begins on a day and ends on a day; the day it
begins is not held yet, the day it ends still is. "Is it running today" counts from the day it begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

FOREVER = date.max


@dataclass(frozen=True)
class Span:
    """Days that something was going on: d is held when began < d ≤ last."""

    began: date
    last: date

    def is_running_on(self, day: date) -> bool:
        return self.began <= day <= self.last


@cache
def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def local_date(instant: datetime, timezone: str) -> date:
    return instant.astimezone(zone(timezone)).date()


def held_days(spans: Iterable[Span], clock: date, today: date) -> int:
    """Days of (clock, today] that at least one span holds; a day counts once however many reasons it has."""
    held: set[int] = set()
    for span in spans:
        first = max(span.began, clock).toordinal() + 1
        held.update(range(first, min(span.last, today).toordinal() + 1))
    return len(held)


def end_of_month(year: int, month: int) -> date:
    first_of_next = date(year + month // 12, month % 12 + 1, 1)
    return first_of_next - timedelta(days=1)
