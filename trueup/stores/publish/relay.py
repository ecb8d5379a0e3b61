"""The relay: publishes the outbox, in order for each account, at least once.

It reads no further than the oldest transaction that is still open, by (transaction, id): a row beyond may yet be
preceded by one that is not committed. Transaction ids do not follow the order of commits, so within an account the
sequence decides: nothing is sent before what has a lower sequence.

A sink that is down ends the pass, and nothing is held against the event. An event that a sink refuses is tried again in
later passes, and after `relay_attempts` refusals it is put into the dead-letter table. Until someone replays or skips
it, the later events of its account wait, since a consumer may rely on their order; other accounts go on. A consumer
that drops ids it has seen sees each event once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from sqlalchemy import Connection, RowMapping, text

from trueup.stores.auditor.audit_log import Entry, append, auditor_key, note_head
from trueup.stores.auditor.connection import actor, utc_now, writing
from trueup.stores.auditor.locks import held
from trueup.stores.errors import TrueupError
from trueup.stores.publish.sinks import Message, Sink, SinkRefused, SinkUnavailable, open_sinks
from trueup.stores.settings import Settings

SOURCE: Final = "/trueup/subs_api"
PAGE: Final = 200

Checkpoint = Callable[[str], None]


class DeadEventUnknown(TrueupError):
    """No such event waits in the dead-letter table."""


@dataclass(frozen=True)
class RelayReport:
    """What a pass came to. `waiting` is what is left unpublished, whatever the reason."""

    published: int
    refused: int
    died: int
    waiting: int
    unavailable: SinkUnavailable | None

    @property
    def exit_code(self) -> int:
        """0 if nothing is left; the sink's if one is down; else 1."""
        if self.unavailable is not None:
            return self.unavailable.exit_code
        return 1 if self.waiting else 0


@dataclass(frozen=True)
class Dead:
    """An event in the dead-letter table that waits for a decision."""

    event_id: uuid.UUID
    account_id: str | None
    type: str
    sink: str
    error: str
    attempts: int
    died_at: datetime
    held_back: int  # later events of the account that wait for it


def relay_once(
    settings: Settings,
    sinks: Sequence[Sink] | None = None,
    *,
    page: int = PAGE,
    checkpoint: Checkpoint = lambda _step: None,
    on_progress: Callable[[int], None] = lambda _published: None,
) -> RelayReport:
    """Publish what there is to publish, until nothing more can be. `sinks` default to those configured.

    Raises:
        SettingsError: no sink is configured.
        StoreError: the database could not be reached or broke off; running it again goes on.
    """
    if sinks is None:
        with open_sinks(settings) as configured:
            return relay_once(settings, configured, page=page, checkpoint=checkpoint, on_progress=on_progress)
    # One relay at a time: two would send in no order.
    with held(settings, "relay", settings.apply_wait_seconds), writing(settings) as connection:
        relay = _Relay(settings, connection, sinks, checkpoint)
        while relay.unavailable is None and relay.publish_page(page):
            on_progress(relay.published)
        return relay.report()


def count_waiting(settings: Settings) -> int:
    """How many events are not published yet."""
    with writing(settings) as connection:
        return int(connection.execute(_WAITING).scalar_one())


def list_dead(settings: Settings) -> list[Dead]:
    """Dead events that wait to be replayed or skipped, oldest first."""
    with writing(settings) as connection:
        return [Dead(**row) for row in connection.execute(_DEAD).mappings()]


def replay_dead(settings: Settings, event_id: uuid.UUID | None = None) -> int:
    """Let a dead event (or all of them) be tried afresh by the next pass; how many there were."""
    return _resolve(settings, event_id, "replayed")


def skip_dead(settings: Settings, event_id: uuid.UUID) -> int:
    """Give a dead event up for good, so that the later events of its account go out."""
    return _resolve(settings, event_id, "skipped")


def cloud_event(row: RowMapping) -> bytes:
    """The event as CloudEvents 1.0 JSON. `sequence` and `partitionkey` are CloudEvents' own extensions."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(row["event_id"]),
        "source": SOURCE,
        "type": row["type"],
        "time": row["occurred_at"].astimezone(UTC),
        "datacontenttype": "application/json",
        "sequence": str(row["sequence"]),
    }
    if row["account_id"] is not None:
        attributes |= {"subject": row["account_id"], "partitionkey": row["account_id"]}
    return JSONFormat().write(CloudEvent(attributes, {"account_id": row["account_id"], **row["data"]}))


class _Relay:
    """One pass over the outbox."""

    def __init__(
        self, settings: Settings, connection: Connection, sinks: Sequence[Sink], checkpoint: Checkpoint
    ) -> None:
        self.settings, self.connection, self.sinks, self.step = settings, connection, sinks, checkpoint
        self.published = self.refused = self.died = 0
        self.failed: set[str] = set()  # events that were refused in this pass: their accounts wait for the next
        self.unavailable: SinkUnavailable | None = None

    def publish_page(self, size: int) -> bool:
        """Send the next events and note what came of each; whether there were any."""
        with self.connection.begin():
            rows = self.connection.execute(_NEXT, {"failed": sorted(self.failed), "size": size}).mappings().all()
        held: set[str] = set()
        sent: list[int] = []
        for row in rows:
            if row["account_id"] in held:
                continue
            try:
                self._send(row)
            except SinkRefused as refusal:
                self._note_sent(sent)
                self._note_refusal(row, refusal)
                held.add(row["account_id"] or f"event {row['event_id']}")
            except SinkUnavailable as unavailable:
                self.unavailable = unavailable
                break
            else:
                sent.append(row["id"])
        self._note_sent(sent)
        return bool(rows)

    def report(self) -> RelayReport:
        with self.connection.begin():
            waiting = self.connection.execute(_WAITING).scalar_one()
        return RelayReport(self.published, self.refused, self.died, waiting, self.unavailable)

    def _send(self, row: RowMapping) -> None:
        message = Message(str(row["event_id"]), row["type"], row["account_id"], cloud_event(row))
        for sink in self.sinks:
            try:
                sink.send(message)
            except SinkRefused as refusal:
                raise SinkRefused(f"{sink.name}: {refusal}") from refusal
            self.step("sent")

    def _note_sent(self, sent: list[int]) -> None:
        if not sent:
            return
        with self.connection.begin():
            self.connection.execute(_PUBLISHED, {"ids": sent, "at": utc_now()})
            self.step("noted")
        self.published += len(sent)
        sent.clear()

    def _note_refusal(self, row: RowMapping, refusal: SinkRefused) -> None:
        self.refused += 1
        self.failed.add(str(row["event_id"]))
        sink, _, error = str(refusal).partition(": ")
        dies = row["attempts"] + 1 >= self.settings.relay_attempts
        given = {"id": row["id"], "error": str(refusal)}
        with self.connection.begin():
            self.connection.execute(_REFUSED, given)
            if dies:
                self.connection.execute(_BURY, {"id": row["id"], "sink": sink, "error": error, "at": utc_now()})
        self.died += dies


def _resolve(settings: Settings, event_id: uuid.UUID | None, resolution: str) -> int:
    at, who = utc_now(), actor()
    with writing(settings) as connection:
        with connection.begin():
            given = {"event_id": event_id, "resolution": resolution, "by": who, "at": at}
            resolved = connection.execute(_RESOLVE, given).all()
            if not resolved and event_id is not None:
                raise DeadEventUnknown(f"no dead event is called {event_id}.", "`trueup relay --dead` lists them.")
            entries = [
                Entry(who, f"event_{resolution}", account_id=account, detail={"event_id": str(dead)})
                for dead, account in resolved
            ]
            connection.execute(_AFRESH, {"events": [dead for dead, _ in resolved]})
            head = append(connection, auditor_key(settings), entries, at)
        note_head(settings, head)
    return len(resolved)


_IS_SKIPPED: Final = (
    "EXISTS (SELECT FROM trueup.outbox_dead d WHERE d.event_id = {}.event_id AND resolution = 'skipped')"
)
_IS_DEAD: Final = "EXISTS (SELECT FROM trueup.outbox_dead d WHERE d.event_id = {}.event_id AND resolution IS NULL)"

# `earlier` is what must go out before `o`: it is dead, or was refused in this pass, or comes later by (tx, id), which
# includes everything that lies beyond the oldest open transaction.
_NEXT: Final = text(f"""
    SELECT o.id, o.event_id, o.account_id, o.sequence, o.type, o.data, o.occurred_at, o.attempts
    FROM trueup.outbox o
    WHERE o.published_at IS NULL
      AND o.tx < pg_snapshot_xmin(pg_current_snapshot())
      AND o.event_id <> ALL (CAST(:failed AS uuid[]))
      AND NOT {_IS_DEAD.format("o")} AND NOT {_IS_SKIPPED.format("o")}
      AND NOT EXISTS (
          SELECT FROM trueup.outbox earlier
          WHERE earlier.account_id = o.account_id AND earlier.sequence < o.sequence AND earlier.published_at IS NULL
            AND NOT {_IS_SKIPPED.format("earlier")}
            AND ((earlier.tx, earlier.id) > (o.tx, o.id)
                 OR earlier.event_id = ANY (CAST(:failed AS uuid[]))
                 OR {_IS_DEAD.format("earlier")})
      )
    ORDER BY o.tx, o.id LIMIT :size
""")
_PUBLISHED: Final = text("UPDATE trueup.outbox SET published_at = :at, last_error = NULL WHERE id = ANY (:ids)")
_REFUSED: Final = text("UPDATE trueup.outbox SET attempts = attempts + 1, last_error = :error WHERE id = :id")
_BURY: Final = text("""
    INSERT INTO trueup.outbox_dead (event_id, account_id, type, sink, error, attempts, died_at)
    SELECT event_id, account_id, type, :sink, :error, attempts, :at FROM trueup.outbox WHERE id = :id
""")
_WAITING: Final = text(
    f"SELECT count(*) FROM trueup.outbox o WHERE published_at IS NULL AND NOT {_IS_SKIPPED.format('o')}"
)
_DEAD: Final = text("""
    SELECT d.event_id, d.account_id, d.type, d.sink, d.error, d.attempts, d.died_at,
           (SELECT count(*) FROM trueup.outbox later JOIN trueup.outbox o ON o.event_id = d.event_id
            WHERE later.account_id = d.account_id AND later.sequence > o.sequence
              AND later.published_at IS NULL) AS held_back
    FROM trueup.outbox_dead d WHERE d.resolution IS NULL ORDER BY d.number
""")
_RESOLVE: Final = text("""
    UPDATE trueup.outbox_dead SET resolution = :resolution, resolved_by = :by, resolved_at = :at
    WHERE resolution IS NULL AND (CAST(:event_id AS uuid) IS NULL OR event_id = :event_id)
    RETURNING event_id, account_id
""")
_AFRESH: Final = text("UPDATE trueup.outbox SET attempts = 0, last_error = NULL WHERE event_id = ANY (:events)")
