"""The request rate: how many requests may go out, for each endpoint and over all of them.

Stripe allows 25 requests a second at one endpoint and 100 over all (docs.stripe.com/rate-limits, read 2026-11-20). We
use a share of that, since others work with Stripe while we read. Requests are spaced evenly, and what a pause left
unused within the last fifth of a second may be caught up, so that no second sees more than Stripe allows.

A caller that could as well send a request to another endpoint asks for a slot and is never made to wait; one that could
not waits. Nobody takes a slot of all endpoints while it waits for its own.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final, Self

from trueup.stores.settings import Settings

ENDPOINTS_AT_ONCE: Final = 4  # Stripe allows an account four times what it allows one endpoint
SHARE_OF_RATE: Final = 0.8  # the rest is for those who work with Stripe while we read
CATCH_UP_SECONDS: Final = 0.2


@dataclass
class _Pace:
    """Evenly spaced slots (the generic cell rate algorithm): `due_at` is when the next one would come at that pace."""

    per_second: float
    due_at: float = 0.0

    def wait(self, now: float) -> float:
        return max(0.0, self.due_at - CATCH_UP_SECONDS - now)

    def take(self, now: float) -> None:
        self.due_at = max(self.due_at, now) + 1 / self.per_second


class RequestRate:
    """The rate of one reader; may be used from many threads. Without a limit every request may go out at once."""

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._all = _Pace(per_second * ENDPOINTS_AT_ONCE) if per_second else None
        self._by_endpoint: dict[str, _Pace] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rate of the settings. A Stripe of one's own has no limit unless one is set."""
        is_limited = settings.stripe_api_base is None or "stripe_requests_per_second" in settings.model_fields_set
        return cls(settings.stripe_requests_per_second * SHARE_OF_RATE if is_limited else None)

    def slot(self, path: str) -> float:
        """Takes a slot for a request of this path and gives 0; or the seconds until one may be free."""
        if self._per_second is None or self._all is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            mine = self._by_endpoint.setdefault(endpoint(path), _Pace(self._per_second))
            wait = max(mine.wait(now), self._all.wait(now))
            if wait == 0.0:
                mine.take(now)
                self._all.take(now)
            return wait

    def wait(self, path: str) -> None:
        """Blocks until a slot for this path was taken."""
        while (seconds := self.slot(path)) > 0.0:
            time.sleep(seconds)


def endpoint(path: str) -> str:
    """What Stripe counts a path under: `invoices` for /v1/invoices and for /v1/invoices/in_1."""
    return path.split("/")[2]
