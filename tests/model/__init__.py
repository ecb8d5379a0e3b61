"""The second opinion: docs/contract/DUNNING.md once more, row by row, in plain Python.

Slow and literal on purpose, and written from the text alone: it shares no code with the engine but the names of the
states, so that a misreading has to be made twice to go unnoticed. Each module holds one chapter: what was known at T
(`facts`), decline classes and attempts (`attempts`), days (`calendar`), money (`money`), what holds the clock
(`holds`), the instrument (`payment_method`), one invoice under all of its rules (`invoice`), ladders given as data
(`ladder`), and the account (`account`). `judge` is the way in. docs/contract/FINDINGS.md is read the same way on top of
it (`audit`, `findings` and a `findings_` for each group of codes).
"""

from tests.model.account import judge

__all__ = ["judge"]
