"""Faults that can be switched on: failures of Stripe that its readers must handle.

A fault lets `after` requests of its path pass, then hits the next `times` requests (None: until cleared). So
"Stripe goes down in the middle of the list of charges" is `Fault("error", path="/v1/charges", after=3, times=None)`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import Literal, get_args

FaultKind = Literal["error", "drop", "slow", "rate_limit"]


@dataclass(frozen=True)
class Fault:
    """One fault.

    `error` responds with `status`; `drop` closes the connection in the middle of the body; `slow` responds after
    `seconds`; `rate_limit` responds with 429 and `Retry-After: retry_after`: always or, with `per_second`, to requests
    beyond that rate.
    """

    kind: FaultKind
    path: str | None = None  # requests whose path starts so; None: all
    after: int = 0
    times: int | None = 1
    status: int = 500
    seconds: float = 1.0
    retry_after: float = 1.0
    per_second: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"no fault is called {self.kind}; there are {', '.join(get_args(FaultKind))}")


@dataclass
class _ActiveFault:
    fault: Fault
    passed: int = 0
    times_matched: int = 0
    allowance: float = 0.0
    refilled_at: float = 0.0


class Faults:
    """The faults that are on. Safe to change from other threads while the server answers."""

    def __init__(self) -> None:
        self._active: list[_ActiveFault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._active.append(_ActiveFault(fault))

    def clear(self) -> None:
        with self._lock:
            self._active.clear()

    def as_dicts(self) -> list[dict[str, object]]:
        """The faults, each with the number of requests it hit."""
        with self._lock:
            return [{**asdict(active.fault), "times_matched": active.times_matched} for active in self._active]

    def match(self, path: str) -> Fault | None:
        """The fault that hits a request of this path, counted as used."""
        with self._lock:
            return next((active.fault for active in self._active if _matches(active, path)), None)


def _matches(active: _ActiveFault, path: str) -> bool:
    fault = active.fault
    if fault.path is not None and not path.startswith(fault.path):
        return False
    active.passed += 1
    if active.passed <= fault.after or (fault.times is not None and active.times_matched >= fault.times):
        return False
    if fault.per_second is not None and _is_allowed(active, fault.per_second):
        return False
    active.times_matched += 1
    return True


def _is_allowed(active: _ActiveFault, per_second: float) -> bool:
    """A token bucket that holds one second's worth."""
    now = time.monotonic()
    full = max(1.0, per_second)
    elapsed = now - active.refilled_at if active.refilled_at else full
    active.allowance = min(full, active.allowance + elapsed * per_second)
    active.refilled_at = now
    if active.allowance < 1:
        return False
    active.allowance -= 1
    return True
