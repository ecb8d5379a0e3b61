"""Terms: what one run is asked, in the words of whoever launches it: whose accounts, and about which instant.

The command line and Dagster both hand over the same few values; here they are read and refused, every fault at once,
before any store is asked. What a run then is, with its policy and its folder, is in `trueup/audit/run_folder.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trueup.audit.manifest import Manifest
from trueup.engine.policy import PolicyError
from trueup.stores.errors import SettingsError
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

EXPECTED_FILE: Final = "Give a UTF-8 text file with one account id per line."


@dataclass(frozen=True)
class Terms:
    """What one run is asked. Nothing but defaults: the whole fleet, now.

    accounts: ids. accounts_file: a file of ids, added to them. buckets: numbers of buckets. as_of: ISO 8601.
    """

    accounts: Sequence[str] = ()
    accounts_file: str = ""
    buckets: Sequence[int] = ()
    as_of: str = ""

    @property
    def is_of_fleet(self) -> bool:
        """Whether the run's numbers are the fleet's: every account, now."""
        return not (self.accounts or self.accounts_file or self.buckets or self.as_of)

    def check(self) -> None:
        """Refuse what cannot be meant, whatever the settings: SettingsError with every fault."""
        self._read(bucket_count=None)

    def manifest(self, settings: Settings, run_id: str, started_at: datetime) -> Manifest:
        """The manifest of a run on these terms.

        Raises:
            SettingsError: naming every fault of the terms and of the policy at once.
        """
        policy_faults: list[str] = []
        try:
            Manifest.of_launch(settings, run_id, started_at, Scope.fleet())
        except PolicyError as error:
            policy_faults = [str(error)]
        scope, as_of = self._read(settings.bucket_count, policy_faults)
        return Manifest.of_launch(settings, run_id, started_at, scope, as_of)

    def _read(self, bucket_count: int | None, more_faults: Sequence[str] = ()) -> tuple[Scope, datetime | None]:
        faults, ways_out = list(more_faults), list[str]()

        @contextmanager
        def collected() -> Iterator[None]:
            try:
                yield
            except SettingsError as error:
                faults.extend(error.faults)
                ways_out.append(error.way_out)

        as_of, accounts = None, list(self.accounts)
        with collected():
            as_of = parse_instant(self.as_of) if self.as_of else None
        with collected():
            accounts += read_account_ids(self.accounts_file)
        with collected():
            _refuse_two_scopes(accounts, self.buckets)
        with collected():
            _refuse_unknown_buckets(self.buckets, bucket_count)
        if faults:
            raise SettingsError(faults, " ".join(dict.fromkeys(ways_out)))
        return (
            Scope(
                accounts=frozenset(accounts) if accounts else None,
                buckets=tuple(sorted(set(self.buckets))) if self.buckets else None,
            ),
            as_of,
        )


def _refuse_two_scopes(accounts: Sequence[str], buckets: Sequence[int]) -> None:
    if accounts and buckets:
        raise SettingsError(["both accounts and buckets were given"], "A run has one scope: give either.")


def _refuse_unknown_buckets(buckets: Sequence[int], bucket_count: int | None) -> None:
    unknown = [bucket for bucket in buckets if bucket_count is not None and bucket not in range(-1, bucket_count)]
    if unknown:
        faults = [f"there is no bucket {bucket}" for bucket in unknown]
        raise SettingsError(faults, f"Buckets are 0 to {(bucket_count or 0) - 1} (TRUEUP_BUCKET_COUNT).")


EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No store knows anything of before."""


def parse_instant(text: str, now: datetime | None = None) -> datetime:
    """An ISO 8601 instant with an offset, in UTC.

    Raises:
        SettingsError: it is no instant, says no time or no offset, lies in the future, or before every store.
    """
    way_out = "Write a past instant in ISO 8601 with its offset, like 2026-03-01T00:00:00Z."
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError([f"{text!r} is not an instant"], way_out) from None
    if instant.tzinfo is None or not any(mark in text for mark in "Tt "):
        raise SettingsError([f"{text!r} has no time of day or no offset, so it could be any of many instants"], way_out)
    if instant > (now or datetime.now(UTC)):
        raise SettingsError([f"{text!r} lies in the future: nothing is known of it"], way_out)
    if instant.replace(tzinfo=UTC) < EARLIEST:
        raise SettingsError([f"{text!r} lies before everything that the stores know"], way_out)
    return instant.astimezone(UTC)


def read_account_ids(path: str) -> Sequence[str]:
    """Account ids from a file, one per line; blank lines and lines that start with # are left out.

    Raises:
        SettingsError: the file cannot be read, or names no account.
    """
    if not path:
        return []
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()  # a byte order mark is no part of an id
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingsError([f"the accounts file {path} cannot be read: {fault}"], EXPECTED_FILE) from fault
    account_ids = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not account_ids:
        raise SettingsError([f"the accounts file {path} names no account"], EXPECTED_FILE)
    unprintable = [number for number, line in enumerate(lines, start=1) if not line.strip().isprintable()]
    if unprintable:
        raise SettingsError(
            [f"line {number} of the accounts file {path} holds a control character" for number in unprintable[:5]],
            EXPECTED_FILE,
        )
    return account_ids
