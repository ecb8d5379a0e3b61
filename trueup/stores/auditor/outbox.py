"""The outbox: events written in the transaction that they speak about.

An event's id is taken from the change, so the same change can never become two events. Its sequence grows with each
event of the account; the number is given under a lock on the account's row in `account_sequences`, so a later number is
always committed later. Publishing is the business of `relay.py`.

Which events a written row leads to is here as well: one event for each row that was written, and one more where an
account lost its access or was cleared.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from trueup.correction.plan import WITHOUT_ACCESS
from trueup.stores.auditor.connection import copy_rows

NAMESPACE: Final = uuid.UUID("6f1d3c52-5d0b-5f0e-9a53-0f6a5d0c7e11")
NO_ACCOUNT: Final = ""

_COLUMNS: Final = ("event_id", "account_id", "sequence", "type", "data", "occurred_at")

# Sorted, so that two transactions take the accounts' rows in one order.
_NEXT: Final = text("""
    INSERT INTO trueup.account_sequences AS s (account_id, last_sequence)
    SELECT * FROM unnest(CAST(:accounts AS text[]), CAST(:counts AS bigint[])) AS n (account_id, count) ORDER BY 1
    ON CONFLICT (account_id) DO UPDATE SET last_sequence = s.last_sequence + excluded.last_sequence
    RETURNING account_id, last_sequence
""")


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be published: `cause` names what brought it about, and with `type` makes the event's id."""

    account_id: str | None
    type: str
    cause: str
    data: Mapping[str, Any]

    @property
    def event_id(self) -> uuid.UUID:
        return uuid.uuid5(NAMESPACE, f"{self.cause}\n{self.type}")


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """A row that an apply wrote, as the database returned it: column → value, JSON's types, before and after."""

    account_id: str | None
    table: str
    key: str
    version: int  # that it has now
    change_ids: tuple[str, ...]
    before: Mapping[str, Any]  # of the columns that changed
    after: Mapping[str, Any]  # of every column that a plan may carry
    codes: tuple[str, ...]
    event_ids: tuple[str, ...]


def emit(connection: Connection, events: Sequence[Event], at: datetime) -> int:
    """Put events into the outbox, in the caller's transaction and in the order given; how many there are."""
    if not events:
        return 0
    counts = Counter(event.account_id or NO_ACCOUNT for event in events)
    accounts = sorted(counts)
    given = {"accounts": accounts, "counts": [counts[account] for account in accounts]}
    last: dict[str, int] = dict(connection.execute(_NEXT, given).all())
    following = {account: last[account] - counts[account] for account in accounts}
    copy_rows(connection, "trueup.outbox", _COLUMNS, _rows(events, following, at))
    return len(events)


def events_of(row: WrittenRow, context: Mapping[str, Any]) -> list[Event]:
    """The events of one written row. `context` is part of each: plan, instant and policy.

    `dunning.state_changed` is emitted for every dunning row that was written, also where only the counters moved
    (`from` and `to` are then equal): consumers keep a copy of the row by it.
    """
    cause = "\n".join(sorted(row.change_ids))
    data = {"row_version": row.version, "codes": list(row.codes), "provider_event_ids": list(row.event_ids), **context}
    kinds = _KINDS[row.table](row)
    return [Event(row.account_id, kind, cause, {**content, **data}) for kind, content in kinds]


def _dunning(row: WrittenRow) -> list[tuple[str, dict[str, Any]]]:
    state = row.after["state"]
    before = row.before.get("state", state)
    reasons = row.after["reason"]
    content = {
        "from": before,
        "to": state,
        "driver": row.after["driver_invoice_id"],
        "reasons": reasons.split(",") if reasons else [],
        "row": {column: row.after[column] for column in row.after if column != "reason"},
    }
    kinds = ["dunning.state_changed"]
    if state in WITHOUT_ACCESS and before not in WITHOUT_ACCESS:
        kinds.append("dunning.suspended")
    if state == "good_standing" and before not in {"good_standing", None}:
        kinds.append("dunning.cleared")
    return [(kind, content) for kind in kinds]


def _account(row: WrittenRow) -> list[tuple[str, dict[str, Any]]]:
    return [("account.bad_debt_changed", {"from": row.before.get("bad_debt"), "to": row.after["bad_debt"]})]


def _mandate(row: WrittenRow) -> list[tuple[str, dict[str, Any]]]:
    return [("mandate.status_corrected", {"mandate_id": row.key, "from": dict(row.before), "to": dict(row.after)})]


def _stuck_event(row: WrittenRow) -> list[tuple[str, dict[str, Any]]]:
    content = {"event_id": row.key, "from": row.before.get("status"), "to": row.after["status"]}
    return [("event.resolved", {**content, "resolved_at": row.after["resolved_at"]})]


_KINDS: Final = {
    "subs_dunning": _dunning,
    "subs_account": _account,
    "subs_mandate": _mandate,
    "subs_stuck_events": _stuck_event,
}


def _rows(events: Iterable[Event], following: dict[str, int], at: datetime) -> Iterable[tuple[Any, ...]]:
    for event in events:
        account = event.account_id or NO_ACCOUNT
        following[account] += 1
        yield (event.event_id, event.account_id, following[account], event.type, Jsonb(dict(event.data)), at)
