"""Terms: what one run is asked, in the words of whoever launches it: whose accounts, and about which instant.

The command line and Dagster both hand over the same few values; here they are read and refused, every fault at once,
before any store is asked. What a run then is, with its policy and its folder, is in `trueup/audit/run_folder.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trueup.stores.errors import SettingsError

EXPECTED_FILE: Final = "Give a UTF-8 text file with one account id per line."


def parse_instant(text: str) -> datetime:
    """An ISO 8601 instant; without an offset it is UTC.

    Raises:
        SettingsError: it is no instant.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as fault:
        way_out = "Write it in ISO 8601, like 2026-03-01T00:00:00Z; without an offset it is UTC."
        raise SettingsError([f"{text!r} is not an instant"], way_out) from fault
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def read_account_ids(path: str) -> Sequence[str]:
    """Account ids from a file, one per line; blank lines and lines that start with # are left out.

    Raises:
        SettingsError: the file cannot be read, or names no account.
    """
    if not path:
        return []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingsError([f"the accounts file {path} cannot be read: {fault}"], EXPECTED_FILE) from fault
    account_ids = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not account_ids:
        raise SettingsError([f"the accounts file {path} names no account"], EXPECTED_FILE)
    return account_ids
