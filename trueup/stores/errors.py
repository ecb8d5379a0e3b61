"""What can go wrong with a store, in words that an operator can act on.

Every error here names the store, what happened, and the way out, and carries the exit code of the command that meets
it (docs/contract/APPLY.md, Commands). Drivers' own exceptions are translated into these at the port and kept as the
cause. A password never passes through: `without_password` is how any text that may hold an address gets here. Findings
about billing data are rows, not errors, and refusals of the gate are `trueup.correction.gate`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

EXIT_DISAGREEMENTS: Final = 1
EXIT_WRONG_USE: Final = 2
EXIT_REFUSED: Final = 3
EXIT_NOT_WHOLE: Final = 4

NAMED_MAX: Final = 10  # how many ids a message lists before it only counts

_URL_PASSWORD: Final = re.compile(r"(?P<front>[a-z][a-z0-9+.-]*://[^:/?#@\s]*):[^/?#\s]*@", re.IGNORECASE)
_NAMED_PASSWORD: Final = re.compile(r"(?P<front>(?:^|[?&\s])password\s*=\s*)(?:'[^']*'|[^&\s]+)", re.IGNORECASE)
_STRIPE_KEY: Final = re.compile(r"\b(?P<kind>[sr]k_(?:live|test)_)\w+")


class TrueupError(Exception):
    """Anything that ends a command: a message, the way out, and an exit code."""

    exit_code: int = EXIT_WRONG_USE

    def __init__(self, message: str, way_out: str = "") -> None:
        self.message = without_password(message)
        self.way_out = without_password(way_out)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.way_out}" if self.way_out else self.message


class SettingsError(TrueupError):
    """The settings are wrong or incomplete; `faults` names every one at once."""

    def __init__(self, faults: Sequence[str], way_out: str) -> None:
        self.faults = tuple(without_password(fault) for fault in faults)
        super().__init__("The settings are not usable:\n" + "\n".join(f"  - {f}" for f in self.faults), way_out)


class AccountUnknown(TrueupError):
    """An account that was asked for is in no store."""

    def __init__(self, accounts: Iterable[str]) -> None:
        self.accounts = tuple(sorted(accounts))
        verb = "is" if len(self.accounts) == 1 else "are"
        super().__init__(
            f"{some(self.accounts)} {verb} in no store.",
            "Check the spelling against accounts.account_id in cf_prod; ids are compared exactly, case included.",
        )


class StoreError(TrueupError):
    """A store could not be read whole, or not be written; nothing read from it may be taken for a whole."""

    exit_code = EXIT_NOT_WHOLE

    def __init__(self, store: str, message: str, way_out: str = "", *, table: str | None = None) -> None:
        self.store = store
        self.table = table
        where = f"{store}.{table}" if table else store
        super().__init__(f"{where}: {message}", way_out)


class StoreUnreachable(StoreError):
    """No connection: nothing listens there, the address is wrong, or the login is refused."""


class TableMissing(StoreError):
    """The database answers, but has no such table."""


class ColumnMissing(StoreError):
    """The table is there without a column that docs/contract/STORES.md gives it, or with another type."""


class PrivilegeMissing(StoreError):
    """The role may not read, or write, what this needs."""


class StoreNotWhole(StoreError):
    """The reading began and did not end; what came of it is thrown away."""


def some(ids: Sequence[str], most: int = NAMED_MAX) -> str:
    """The first few ids of a list, and how many more there are."""
    shown = ", ".join(ids[:most])
    return shown if len(ids) <= most else f"{shown} and {len(ids) - most} more"


def without_password(text: str) -> str:
    """The text with the password of every address, libpq string and Stripe key in it replaced by `***`."""
    text = _URL_PASSWORD.sub(r"\g<front>:***@", text)
    text = _NAMED_PASSWORD.sub(r"\g<front>***", text)
    return _STRIPE_KEY.sub(r"\g<kind>***", text)
