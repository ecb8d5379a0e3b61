"""Planted faults: one small function for each way in which the stores may disagree, under its code.

A planted fault disturbs accounts whose stores agreed until then, and returns the findings that an audit should make.
SRC_STALE and SRC_PARTIAL come from reading and not from stored rows: the Stripe sandbox's own faults make them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trueup.sandbox.fleet.planted_faults import (
    dunning,
    entitlements,
    events,
    identity,
    money,
    retries,
    scenarios,
    subscriptions,
)
from trueup.sandbox.fleet.planted_faults.fleet_editor import FleetEditor, PlantedFault, apportion

PLANTED_FAULTS: Final = {
    fault.name: fault
    for family in (identity, money, retries, subscriptions, dunning, entitlements, events, scenarios)
    for fault in family.PLANTED_FAULTS
}
CODES: Final = tuple(name for name in PLANTED_FAULTS if name.isupper())
SCENARIOS: Final = tuple(name for name in PLANTED_FAULTS if not name.isupper())
_EXTRA_SHARE: Final = 0.1  # hygiene on top of what is counted

__all__ = ["CODES", "PLANTED_FAULTS", "SCENARIOS", "FleetEditor", "PlantedFault", "plan_of_drift"]


def plan_of_drift(drift: int, names: Sequence[str] | None) -> list[tuple[PlantedFault, int]]:
    """Which faults, on how many accounts each, so that exactly `drift` accounts disagree.

    Faults that are not counted come on top.

    Raises:
        ValueError: an unknown name, a negative number, or an odd number for faults that take two accounts at a time.
    """
    chosen = _named(names)
    if drift < 0:
        raise ValueError(f"drift {drift} is negative: it is a number of accounts")
    counted = {fault.name: fault.weight for fault in chosen if fault.is_counted}
    if drift and not counted and names is None:
        raise ValueError("no planted fault is counted")
    shares = _even(apportion(drift, counted)) if counted else {}
    extra = (
        {fault.name: max(1, round(drift * _EXTRA_SHARE / 4)) for fault in chosen if not fault.is_counted}
        if drift
        else {}
    )
    return [(PLANTED_FAULTS[name], share) for name, share in (shares | extra).items() if share]


def _named(names: Sequence[str] | None) -> list[PlantedFault]:
    if names is None:
        return list(PLANTED_FAULTS.values())
    unknown = sorted(set(names) - set(PLANTED_FAULTS))
    if unknown:
        raise ValueError(f"no planted fault is called {', '.join(unknown)}; there are {', '.join(PLANTED_FAULTS)}")
    return [PLANTED_FAULTS[name] for name in dict.fromkeys(names)]


def _even(shares: dict[str, int]) -> dict[str, int]:
    """Faults that take two accounts at a time get an even number; another takes what is left over."""
    odd = [name for name, share in shares.items() if share % PLANTED_FAULTS[name].size]
    singles = [name for name in shares if PLANTED_FAULTS[name].size == 1]
    if odd and not singles:
        raise ValueError(f"{odd[0]} takes {PLANTED_FAULTS[odd[0]].size} accounts at a time: ask for a multiple of that")
    even = dict(shares)
    for name in odd:
        rest = shares[name] % PLANTED_FAULTS[name].size
        even[name] -= rest
        even[singles[0]] += rest
    return even
