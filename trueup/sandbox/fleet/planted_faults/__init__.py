"""Planted faults: one small function for each way in which the stores may disagree, under its code.

A plant disturbs accounts that agree until then and says what it planted. SRC_STALE and SRC_PARTIAL are faults of
reading, not of what the stores hold: they are made with the sandbox's faults, not here.
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
    stories,
    subscriptions,
)
from trueup.sandbox.fleet.planted_faults.fleet_editor import Ground, Plant, apportion

PLANTS: Final = {
    plant.name: plant
    for family in (identity, money, retries, subscriptions, dunning, entitlements, events, stories)
    for plant in family.PLANTS
}
CODES: Final = tuple(name for name in PLANTS if name.isupper())
STORIES: Final = tuple(name for name in PLANTS if not name.isupper())
_EXTRA_SHARE: Final = 0.1  # hygiene on top of what is counted

__all__ = ["CODES", "PLANTS", "STORIES", "Ground", "Plant", "plan_of_drift"]


def plan_of_drift(drift: int, names: Sequence[str] | None) -> list[tuple[Plant, int]]:
    """Which plants, on how many accounts each, so that exactly `drift` accounts disagree.

    Plants that are not counted come on top. Raises ValueError for a name that no plant has, a negative number, and
    when a plant that takes two accounts at a time cannot come out even.
    """
    chosen = _named(names)
    if drift < 0:
        raise ValueError(f"drift {drift} is negative: it is a number of accounts")
    counted = {plant.name: plant.weight for plant in chosen if plant.is_counted}
    if drift and not counted and names is None:
        raise ValueError("no plant is counted")
    shares = _even(apportion(drift, counted)) if counted else {}
    extra = (
        {plant.name: max(1, round(drift * _EXTRA_SHARE / 4)) for plant in chosen if not plant.is_counted}
        if drift
        else {}
    )
    return [(PLANTS[name], share) for name, share in (shares | extra).items() if share]


def _named(names: Sequence[str] | None) -> list[Plant]:
    if names is None:
        return list(PLANTS.values())
    unknown = sorted(set(names) - set(PLANTS))
    if unknown:
        raise ValueError(f"no plant is called {', '.join(unknown)}; there are {', '.join(PLANTS)}")
    return [PLANTS[name] for name in dict.fromkeys(names)]


def _even(shares: dict[str, int]) -> dict[str, int]:
    """Plants that take two accounts at a time get an even number; another takes what is left over."""
    odd = [name for name, share in shares.items() if share % PLANTS[name].size]
    singles = [name for name in shares if PLANTS[name].size == 1]
    if odd and not singles:
        raise ValueError(f"{odd[0]} takes {PLANTS[odd[0]].size} accounts at a time: ask for a multiple of that")
    even = dict(shares)
    for name in odd:
        rest = shares[name] % PLANTS[name].size
        even[name] -= rest
        even[singles[0]] += rest
    return even
