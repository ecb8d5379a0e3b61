"""The contract of the stores: what a row must look like before the engine may rely on it.

`sweep` takes a snapshot as it was read, removes what cannot be used, and says for each broken row which rule it breaks.
A broken row never stops a run and never goes by unseen: it is a violation, and a violation becomes a SRC_CONTRACT
finding (`trueup.drift`). `is_needed` says which accounts it makes indeterminate; what follows from that is the
engine's.
"""

from __future__ import annotations

from trueup.contract.rules import NO_DUE_DATE
from trueup.contract.sweep import VIOLATIONS, SweepResult, sweep
from trueup.contract.timezones import TIMEZONES

__all__ = ["NO_DUE_DATE", "TIMEZONES", "VIOLATIONS", "SweepResult", "sweep"]
