"""The attempts that archetypes share: the default policy's schedule, and what goes wrong on its first day."""

from __future__ import annotations

from typing import Final

from trueup.sandbox.fleet.archetype import Charge

FIRST: Final = Charge(0, trigger="initial")
HARD: Final = Charge(0, decline="hard", trigger="initial")
EXPIRED: Final = Charge(0, decline="expired", trigger="initial")
AUTHENTICATION: Final = Charge(0, decline="authentication", trigger="initial")
SECOND: Final = Charge(3)
THIRD: Final = Charge(8)
FOURTH: Final = Charge(15)
PAID: Final = Charge(0, "succeeded", None, "initial")
PARTLY_PAID: Final = Charge(1, "succeeded", None, "manual", share=0.4, intent=1)
