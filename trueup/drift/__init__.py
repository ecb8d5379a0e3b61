"""Drift: where what the stores say differs from each other, or from what the engine says.

Judged accounts and the facts behind them go in; a row comes out for every disagreement, with what each store says,
whose it is to mend, and what explains it. Whether to act on one is the plan's business, not this package's. Each code
of docs/contract/FINDINGS.md is one small function in the file of its category.
"""

from __future__ import annotations

from trueup.drift.codes import AUDITED_CATEGORIES, CATEGORIES, CODES, Code
from trueup.drift.count import by_code, confirm, disagreeing_accounts, is_counted
from trueup.drift.find import find
from trueup.drift.implied import implied, store_matrix

__all__ = [
    "AUDITED_CATEGORIES",
    "CATEGORIES",
    "CODES",
    "Code",
    "by_code",
    "confirm",
    "disagreeing_accounts",
    "find",
    "implied",
    "is_counted",
    "store_matrix",
]
