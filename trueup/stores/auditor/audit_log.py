"""The audit log: who did what to which row, when, and on whose word, so that it can be proved afterwards.

Entries are numbered without a gap and each holds the hash of the one before it, so a change, a removal or an insertion
anywhere breaks the chain at that place. The last entry of every batch is its *head*, signed by the auditor's key; after
the batch has committed, the head is also noted in a file under TRUEUP_HOME, so that cutting off the end is seen as
well. The table refuses updates and deletions by grant and by trigger. What is worth an entry is its writer's decision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import Connection, make_url, text

from trueup.correction.refusals import HistoryTampered
from trueup.stores.auditor.approvers import load_approvers
from trueup.stores.auditor.connection import copy_rows, quoted, utc_now
from trueup.stores.auditor.keys import SigningKey, is_signed, read_or_make_key
from trueup.stores.settings import Settings

GENESIS: Final = "0" * 64
_PAGE: Final = 5_000

_HASHED: Final = (
    "number", "at", "actor", "action", "plan_id", "change_id", "account_id", "table", "key", "column", "before",
    "after", "event_ids", "reconciled_at", "detail", "is_head", "previous_hash", "signer",
)  # fmt: skip
_COLUMNS: Final = (*_HASHED, "hash", "signature")

# One writer of the chain at a time. Taken last in a transaction, since whoever holds it keeps every other one waiting.
# It is a row, so that only a role that may write can take it.
_LOCK = text("SELECT name FROM trueup.locks WHERE name = 'audit_log' FOR UPDATE")
_LAST = text(f"SELECT {quoted(_COLUMNS)} FROM trueup.audit_log ORDER BY number DESC LIMIT 1")
_WALK = text(f"SELECT {quoted(_COLUMNS)} FROM trueup.audit_log WHERE number > :after ORDER BY number")
_BEFORE_FIRST = text("SELECT min(number) FROM trueup.audit_log WHERE number < 1")
_AT = text("SELECT hash FROM trueup.audit_log WHERE number = :number")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be remembered. Values are JSON text; `detail` is whatever else there is to say, without secrets."""

    actor: str
    action: str
    plan_id: str | None = None
    change_id: str | None = None
    account_id: str | None = None
    table: str | None = None
    key: str | None = None
    column: str | None = None
    before: str | None = None
    after: str | None = None
    event_ids: tuple[str, ...] | None = None
    reconciled_at: datetime | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """The signed end of a batch."""

    number: int
    hash: str


@dataclass(frozen=True)
class AuditorKey:
    """The auditor's own key, and the public keys (base64) whose signature under a head counts."""

    own: SigningKey
    trusted: frozenset[str]

    @property
    def public(self) -> str:
        return self.own.public


@dataclass(frozen=True, slots=True)
class Broken:
    """The first entry that does not hold, and what is wrong with it."""

    number: int
    what: str


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What walking the chain found: how many entries hold, and the first that does not."""

    entries: int
    heads: int
    broken: Broken | None

    @property
    def holds(self) -> bool:
        return self.broken is None


def append(
    connection: Connection, key: AuditorKey, entries: Sequence[Entry], at: datetime | None = None
) -> Head | None:
    """Add entries to the chain, in the caller's transaction; the last one is signed. Nothing for no entries.

    Raises:
        HistoryTampered: the chain's last entry does not hold, so nothing may follow it.
    """
    if not entries:
        return None
    rows = next_rows(connection, key, entries, at)
    copy_rows(connection, "trueup.audit_log", _COLUMNS, ([row[column] for column in _COLUMNS] for row in rows))
    return Head(rows[-1]["number"], rows[-1]["hash"])


def next_rows(
    connection: Connection, key: AuditorKey, entries: Sequence[Entry], at: datetime | None = None
) -> list[dict[str, Any]]:
    """The rows that would be added to the chain, whose lock is held from here to the end of the transaction."""
    connection.execute(_LOCK)
    last = connection.execute(_LAST).mappings().one_or_none()
    if last is not None:
        _refuse_bad_end(dict(last), key.trusted)
    number, previous = (last["number"], last["hash"]) if last is not None else (0, GENESIS)
    return list(_chained(entries, number, previous, key.own, at or utc_now()))


def _refuse_bad_end(last: dict[str, Any], trusted: frozenset[str]) -> None:
    """Raise if the chain's last entry is not the signed head of a batch: nothing is added to what does not hold."""
    what = _fault(last, last["number"], last["previous_hash"], trusted, None)
    if what is None and not last["is_head"]:
        what = "is not the head of its batch"
    if what is not None:
        raise HistoryTampered(
            f"the audit log's last entry, {last['number']}, {what}. Nothing is added to a log that does not hold.",
            "Find out who wrote to trueup.audit_log (`trueup verify-log`). The auditor's key of another machine is "
            "trusted once the approvers' file lists it with role auditor.",
            number=last["number"],
        )


def verify_log(
    connection: Connection,
    trusted: frozenset[str],
    heads: Mapping[int, str] | None = None,
    after: Head | None = None,
) -> LogVerdict:
    """Walk the chain from its first entry to its last and name the first that is broken.

    Args:
        connection: any that may read the log.
        trusted: public keys (base64) whose signature under a head counts.
        heads: number → hash of heads noted outside the database (`noted_heads`).
        after: a head up to which the chain is known to hold; the walk begins behind it.
    """
    remaining = {number: noted for number, noted in (heads or {}).items() if after is None or number > after.number}
    number, previous, signed, is_head = 0, GENESIS, 0, True
    before_first = connection.execute(_BEFORE_FIRST).scalar_one()
    if before_first is not None:  # nobody walks there, and who asks for a plan's entries would find it
        return LogVerdict(0, 0, Broken(before_first, "stands before the first entry, which is number 1"))
    if after is not None:
        number, previous = after.number, after.hash
        if connection.execute(_AT, {"number": number}).scalar_one_or_none() != previous:
            return LogVerdict(0, 0, Broken(number, "is not the head that was noted when it was written"))
    with connection.execute(
        _WALK, {"after": number}, execution_options={"stream_results": True, "yield_per": _PAGE}
    ) as result:
        for row in result.mappings():
            what = _fault(dict(row), number + 1, previous, trusted, remaining.pop(number + 1, None))
            if what:
                return LogVerdict(number, signed, Broken(number + 1, what))
            number, previous, is_head = row["number"], row["hash"], row["is_head"]
            signed += is_head
    if remaining:
        return LogVerdict(
            number, signed, Broken(number + 1, f"is gone: head {max(remaining)} was noted when it was written")
        )
    if not is_head:
        return LogVerdict(number, signed, Broken(number + 1, "is gone: the last entry is not the head of its batch"))
    return LogVerdict(number, signed, None)


def auditor_key(settings: Settings) -> AuditorKey:
    """The auditor's own key under TRUEUP_HOME, made on first use, and those of auditors on other machines."""
    own = read_or_make_key(settings.home / "keys" / "auditor.pem")
    return AuditorKey(own, load_approvers(settings.approvers_file).auditor_keys | {own.public})


def last_noted_head(settings: Settings) -> Head | None:
    """The newest head that was noted outside the database."""
    heads = noted_heads(settings)
    return Head(max(heads), heads[max(heads)]) if heads else None


def note_head(settings: Settings, head: Head | None) -> None:
    """Note a committed head outside the database. Lost in a crash, it only makes the end a little easier to cut."""
    if head is None:
        return
    path = _heads_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{head.number} {head.hash}\n")


def noted_heads(settings: Settings) -> dict[int, str]:
    """The heads noted under TRUEUP_HOME, number → hash; half a line, from a crash, is not one."""
    path = _heads_file(settings)
    if not path.exists():
        return {}
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {int(parts[0]): parts[1] for parts in lines if len(parts) == 2 and len(parts[1]) == len(GENESIS)}  # noqa: PLR2004


def _heads_file(settings: Settings) -> Path:
    """One file for each database, by its address, since one home may serve several."""
    url = make_url(settings.subs_api_writer_url)
    address = json.dumps([url.host, url.port, url.query.get("host"), url.database], default=str)
    return settings.home / "audit_heads" / hashlib.sha256(address.encode()).hexdigest()[:16]


def _chained(
    entries: Sequence[Entry], number: int, previous: str, key: SigningKey, at: datetime
) -> Iterator[dict[str, Any]]:
    for index, entry in enumerate(entries):
        number += 1
        is_head = index == len(entries) - 1
        row = _row(entry, number, previous, at, key.public if is_head else None)
        row["hash"] = previous = entry_hash(row)
        row["signature"] = key.sign(_signed_message(number, previous)) if is_head else None
        yield row


def _row(entry: Entry, number: int, previous: str, at: datetime, signer: str | None) -> dict[str, Any]:
    return {
        "number": number,
        "at": at,
        "actor": entry.actor,
        "action": entry.action,
        "plan_id": entry.plan_id,
        "change_id": entry.change_id,
        "account_id": entry.account_id,
        "table": entry.table,
        "key": entry.key,
        "column": entry.column,
        "before": entry.before,
        "after": entry.after,
        "event_ids": None if entry.event_ids is None else list(entry.event_ids),
        "reconciled_at": entry.reconciled_at,
        "detail": json.dumps(dict(entry.detail), sort_keys=True, ensure_ascii=False, default=str),
        "is_head": signer is not None,
        "previous_hash": previous,
        "signer": signer,
    }


def entry_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 over every column but the hash itself and the signature under it."""
    content = {name: _utc(row[name]) if isinstance(row[name], datetime) else row[name] for name in _HASHED}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _signed_message(number: int, entry_hash: str) -> bytes:
    return f"trueup audit log head {number} {entry_hash}".encode()


def _fault(row: dict[str, Any], number: int, previous: str, trusted: frozenset[str], noted: str | None) -> str | None:
    """What is wrong with an entry that should have this number and follow this hash; None if nothing."""
    if row["number"] != number:
        return f"is gone: the next entry is {row['number']}"
    if row["previous_hash"] != previous:
        return "does not follow the entry before it: its previous_hash is another"
    if row["hash"] != entry_hash(row):
        return "was changed: its content does not match its hash"
    if noted not in {None, row["hash"]}:
        return "was rewritten: another hash was noted when it was written"
    return _signature_fault(row, trusted)


def _signature_fault(row: dict[str, Any], trusted: frozenset[str]) -> str | None:
    if not row["is_head"]:
        return None if row["signature"] is None else "carries a signature, and is not a head"
    if row["signer"] not in trusted:
        return f"is signed by a key that is not the auditor's ({row['signer']})"
    is_its_own = is_signed(row["signer"], row["signature"] or "", _signed_message(row["number"], row["hash"]))
    return None if is_its_own else "was changed: its signature does not match"
