"""A fleet of billing accounts across the six stores, true or with disagreements planted in it.

    fleet = make_fleet(accounts=50_000, drift=691, seed=7)
    load_fleet(fleet, urls, sandbox)

`fleet.planted` says what an audit should find; `fleet.known` what every undisturbed account's state is.
"""

from trueup.sandbox.fleet.fleet import Fleet, make_fleet
from trueup.sandbox.fleet.load import load_fleet
from trueup.sandbox.fleet.planted_faults import CODES, SCENARIOS

__all__ = ["CODES", "SCENARIOS", "Fleet", "load_fleet", "make_fleet"]
