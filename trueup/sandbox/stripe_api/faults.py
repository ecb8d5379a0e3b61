"""Faults that can be switched on: what a reader of Stripe has to live through.

A fault waits until `after` requests that it fits have passed, then strikes `times` requests (None: until cleared). So
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
    """One switched-on fault.

    `error` answers `status`; `drop` closes the connection in the middle of the body; `slow` answers after `seconds`;
    `rate_limit` answers 429 with `Retry-After: retry_after`: always or, with `per_second`, to what is beyond.
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
class _Armed:
    fault: Fault
    passed: int = 0
    struck: int = 0
    allowance: float = 0.0
    refilled_at: float = 0.0


class Faults:
    """The faults that are on. Safe to change from other threads while the server answers."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._armed.append(_Armed(fault))

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()

    def as_dicts(self) -> list[dict[str, object]]:
        """The faults with how often each has struck."""
        with self._lock:
            return [{**asdict(armed.fault), "struck": armed.struck} for armed in self._armed]

    def strike(self, path: str) -> Fault | None:
        """The fault that hits a request of this path, counted as used."""
        with self._lock:
            return next((armed.fault for armed in self._armed if _strikes(armed, path)), None)


def _strikes(armed: _Armed, path: str) -> bool:
    fault = armed.fault
    if fault.path is not None and not path.startswith(fault.path):
        return False
    armed.passed += 1
    if armed.passed <= fault.after or (fault.times is not None and armed.struck >= fault.times):
        return False
    if fault.per_second is not None and _is_allowed(armed, fault.per_second):
        return False
    armed.struck += 1
    return True


def _is_allowed(armed: _Armed, per_second: float) -> bool:
    """A token bucket that holds one second's worth."""
    now = time.monotonic()
    full = max(1.0, per_second)
    elapsed = now - armed.refilled_at if armed.refilled_at else full
    armed.allowance = min(full, armed.allowance + elapsed * per_second)
    armed.refilled_at = now
    if armed.allowance < 1:
        return False
    armed.allowance -= 1
    return True
