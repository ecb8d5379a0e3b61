"""The contract of the stores: what a row must look like before the engine may lean on it.

`sweep` takes a snapshot as it was read, removes what cannot be used, and says for each broken row which rule it breaks.
A broken row never stops a run and never goes by unseen: it is a fault, and a fault becomes a SRC_CONTRACT finding
(`trueup.drift`). Which accounts a fault makes indeterminate is told by `is_needed`; what follows is the engine's.
"""

from __future__ import annotations

from trueup.contract.rules import NO_DUE_DATE
from trueup.contract.sweep import FAULTS, Swept, sweep
from trueup.contract.timezones import TIMEZONES

__all__ = ["FAULTS", "NO_DUE_DATE", "TIMEZONES", "Swept", "sweep"]
