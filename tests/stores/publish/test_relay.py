"""The relay: at least once, in the order of each account, never to nothing."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.stores.apply.planting import approved, changes_of, cleared, inserted, log_of, plant, sql, still
from tests.stores.publish.receiving import SECRET, Consumer, needs_redis, redis_server, webhook
from trueup.stores.apply.apply import apply_plan
from trueup.stores.auditor.connection import utc_now, writing
from trueup.stores.auditor.outbox import Event, emit
from trueup.stores.errors import SettingsError
from trueup.stores.publish.relay import DeadEventUnknown, list_dead, relay_once, replay_dead, skip_dead
from trueup.stores.publish.sinks import Message, SinkRefused, SinkUnavailable
from trueup.stores.settings import Settings, libpq_url

NEEDS_DATABASES = ("subs_api",)


class ListSink:
    """Keeps what it is sent; `refuses` holds ids that it does not take."""

    name = "list"

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.refuses: set[str] = set()
        self.is_down = False

    def send(self, message: Message) -> None:
        if self.is_down:
            raise SinkUnavailable("down")
        if message.event_id in self.refuses:
            raise SinkRefused("HTTP 422")
        self.sent.append(message)

    @property
    def told(self) -> list[tuple[str | None, str]]:
        return [(message.account_id, message.type) for message in self.sent]


def put(settings: Settings, *events: tuple[str | None, str]) -> list[str]:
    """Emit events (account, name) in one transaction; their ids."""
    made = [Event(account, name, f"{account}/{name}", {"n": name}) for account, name in events]
    with writing(settings) as connection, connection.begin():
        emit(connection, made, utc_now())
    return [str(event.event_id) for event in made]


def test_events_go_out_in_order_and_once(settings: Settings) -> None:
    put(settings, ("a", "one"), ("b", "one"), ("a", "two"), (None, "nobody's"))
    sink = ListSink()

    report = relay_once(settings, [sink], page=2)

    assert sink.told == [("a", "one"), ("b", "one"), ("a", "two"), (None, "nobody's")]
    assert (report.published, report.waiting, report.exit_code) == (4, 0, 0)
    assert relay_once(settings, [sink]).published == 0
    assert len(sink.sent) == 4


def test_with_no_sink_configured_it_says_so_and_publishes_nothing(settings: Settings) -> None:
    put(settings, ("a", "one"))

    with pytest.raises(SettingsError, match="nowhere to go") as caught:
        relay_once(settings)

    assert caught.value.exit_code == 2
    assert "TRUEUP_WEBHOOK_URL" in caught.value.way_out
    assert sql(settings, "SELECT count(*) FROM trueup.outbox WHERE published_at IS NULL") == [(1,)]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"webhook_url": "http://127.0.0.1:1/"}, "unsigned"),
        ({"webhook_url": "http://127.0.0.1:1/", "webhook_secret": "whsec_!"}, "WEBHOOK_SECRET is not base64"),
        ({"webhook_url": "http://127.0.0.1:1/", "webhook_secret": "whsec_"}, "WEBHOOK_SECRET is not base64"),
    ],
)
def test_a_sink_that_is_set_up_wrongly_is_told_so(settings: Settings, given: dict[str, str], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as caught:
        relay_once(Settings.model_validate(settings.model_dump() | given))

    assert caught.value.exit_code == 2


def test_a_webhook_gets_signed_cloud_events(settings: Settings) -> None:
    (event_id,) = put(settings, ("a", "dunning.cleared"))
    with webhook() as receiver:
        report = relay_once(with_webhook(settings, receiver.url))

    (event,) = receiver.received
    assert report.published == 1
    assert event | {"time": ""} == {
        "specversion": "1.0",
        "id": event_id,
        "source": "/trueup/subs_api",
        "type": "dunning.cleared",
        "subject": "a",
        "partitionkey": "a",
        "sequence": "1",
        "time": "",
        "datacontenttype": "application/json",
        "data": {"account_id": "a", "n": "dunning.cleared"},
    }


def with_webhook(settings: Settings, url: str) -> Settings:
    return Settings.model_validate(settings.model_dump() | {"webhook_url": url, "webhook_secret": SECRET})


@pytest.mark.parametrize(("status", "is_down"), [(503, True), (429, True), (500, False), (410, False)])
def test_a_webhook_that_asks_for_time_is_down_and_one_that_says_no_refuses(
    settings: Settings,
    status: int,
    is_down: bool,  # noqa: FBT001
) -> None:
    put(settings, ("a", "one"), ("b", "one"))
    with webhook() as receiver:
        receiver.answer = lambda event: status if event["subject"] == "a" else 204
        report = relay_once(with_webhook(settings, receiver.url))

    assert (report.unavailable is not None) is is_down
    assert report.refused == (0 if is_down else 1)
    assert [event["subject"] for event in receiver.received] == ([] if is_down else ["b"])


def test_nothing_listens_and_nothing_is_lost(settings: Settings) -> None:
    put(settings, ("a", "one"))

    report = relay_once(with_webhook(settings, "http://127.0.0.1:9/"))

    assert report.unavailable is not None
    assert (report.waiting, report.exit_code) == (1, 4)
    assert sql(settings, "SELECT attempts FROM trueup.outbox") == [(0,)]  # it is not the event's fault


def test_a_refused_event_holds_back_its_account_and_no_other(settings: Settings) -> None:
    poison, *_ = put(settings, ("a", "one"), ("b", "one"), ("a", "two"), ("b", "two"))
    sink = ListSink()
    sink.refuses = {poison}

    report = relay_once(settings, [sink])

    assert sink.told == [("b", "one"), ("b", "two")]
    assert (report.refused, report.waiting, report.exit_code) == (1, 2, 1)
    assert sql(settings, "SELECT attempts, last_error FROM trueup.outbox WHERE id = 1") == [(1, "list: HTTP 422")]


def buried(settings: Settings, sink: ListSink) -> str:
    """A poison event of account a, refused until it is dead; an event behind it waits."""
    poison, _ = put(settings, ("a", "one"), ("a", "two"))
    sink.refuses = {poison}
    for _ in range(settings.relay_attempts):
        assert list_dead(settings) == []
        relay_once(settings, [sink])
    return poison


def test_an_event_that_is_refused_again_and_again_is_put_aside_with_its_error(settings: Settings) -> None:
    sink = ListSink()
    poison = buried(settings, sink)

    (dead,) = list_dead(settings)

    assert (str(dead.event_id), dead.sink, dead.error) == (poison, "list", "HTTP 422")
    assert (dead.attempts, dead.held_back) == (5, 1)
    assert relay_once(settings, [sink]).refused == 0  # it is not tried any more
    assert sink.sent == []


def test_a_dead_event_can_be_replayed_and_then_all_go_in_order(settings: Settings) -> None:
    sink = ListSink()
    buried(settings, sink)
    sink.refuses = set()

    assert replay_dead(settings) == 1
    relay_once(settings, [sink])

    assert sink.told == [("a", "one"), ("a", "two")]
    assert list_dead(settings) == []
    assert log_of(settings)[-1].action == "event_replayed"


def test_a_dead_event_can_be_skipped_and_the_others_go_on(settings: Settings) -> None:
    sink = ListSink()
    poison = buried(settings, sink)

    assert skip_dead(settings, uuid.UUID(poison)) == 1
    report = relay_once(settings, [sink])

    assert sink.told == [("a", "two")]
    assert report.waiting == 0
    with pytest.raises(DeadEventUnknown):
        skip_dead(settings, uuid.UUID(poison))


def test_a_replayed_event_that_is_refused_again_dies_again(settings: Settings) -> None:
    sink = ListSink()
    buried(settings, sink)
    replay_dead(settings)
    for _ in range(settings.relay_attempts):
        relay_once(settings, [sink])

    assert len(list_dead(settings)) == 1


def test_an_event_of_an_open_transaction_is_waited_for(settings: Settings) -> None:
    """The xid trap: a transaction that began earlier commits later, with a lower id than what was read already."""
    sink = ListSink()
    with psycopg.connect(libpq_url(settings.subs_api_url)) as early:
        early.execute("SELECT pg_current_xact_id()")  # takes its place in the order now
        put(settings, ("b", "one"))
        assert relay_once(settings, [sink]).published == 0
        early.execute(
            "INSERT INTO trueup.outbox (event_id, account_id, sequence, type, data, occurred_at) "
            "VALUES (gen_random_uuid(), 'c', 1, 'one', '{}', now())"
        )
    relay_once(settings, [sink])

    assert sink.told == [("c", "one"), ("b", "one")]


def test_an_earlier_transaction_that_takes_a_later_sequence_goes_out_later(settings: Settings) -> None:
    """xids do not follow commits: the sequence of the account decides."""
    sink = ListSink()
    with writing(settings) as early, early.begin():
        emit(early, [Event("z", "first", "z/first", {})], utc_now())  # it has the lower xid, and takes its time
        put(settings, ("a", "one"))
        emit(early, [Event("a", "two", "a/two", {})], utc_now())
    relay_once(settings, [sink], page=1)

    assert sink.told == [("z", "first"), ("a", "one"), ("a", "two")]


def test_writers_at_once_never_break_an_accounts_order(settings: Settings) -> None:
    sink = ListSink()
    done = threading.Event()

    def write(writer: int) -> None:
        for n in range(15):
            put(settings, *((account, f"{writer}/{n}") for account in ("a", "b", "c")))

    def read() -> None:
        while not done.is_set():
            relay_once(settings, [sink], page=7)

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    done.set()
    reader.join()
    relay_once(settings, [sink])

    rows = sql(settings, "SELECT event_id::text, account_id, sequence FROM trueup.outbox")
    sequence_of = {event_id: (account, sequence) for event_id, account, sequence in rows}
    for account in ("a", "b", "c"):
        sent = [sequence_of[m.event_id][1] for m in sink.sent if m.account_id == account]
        assert sent == list(range(1, 46))


def test_a_relay_that_died_after_sending_sends_again_and_the_consumer_drops_it(settings: Settings) -> None:
    put(settings, ("a", "one"), ("a", "two"))
    sink, consumer = ListSink(), Consumer()

    def die(step: str) -> None:
        if step == "noted":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        relay_once(settings, [sink], checkpoint=die)
    relay_once(settings, [sink])

    assert len(sink.sent) == 4
    for message in sink.sent:
        consumer.take(json.loads(message.body))
    assert consumer.last == {"a": 2}


@needs_redis
def test_a_consumer_ends_with_the_rows_of_the_stores_through_broker_and_relay_kills(
    settings: Settings, tmp_path: Path
) -> None:
    plant(settings, 9, missing=3)
    rows = [*(cleared(f"a{n}") for n in range(6)), *(inserted(f"a{n}") for n in range(6, 9))]
    changes = changes_of(*rows)
    plan = approved(settings, tmp_path, changes)
    apply_plan(settings, plan.plan_id, regather=still(changes))
    kills = 0

    with redis_server(tmp_path / "redis") as broker:
        configured = settings.model_copy(update={"redis_url": broker.url, "relay_timeout_seconds": 2.0})

        def kill_now_and_then(step: str) -> None:
            nonlocal kills
            kills += 1
            if step == "sent" and kills % 4 == 0:
                broker.kill()
            if step == "noted" and kills % 3 == 0:
                raise KeyboardInterrupt

        for _ in range(30):
            try:
                report = relay_once(configured, page=3, checkpoint=kill_now_and_then)
            except KeyboardInterrupt:
                continue
            finally:
                if broker.process is None:
                    broker.start()
            if report.waiting == 0:
                break
        consumer = Consumer()
        told = broker.events()
        for event in told:
            consumer.take(event)

    assert len(told) > len(consumer.seen)  # some came twice
    stored = sql(settings, "SELECT account_id, state, attempt_count, driver_invoice_id FROM subs_dunning ORDER BY 1")
    columns = ("state", "attempt_count", "driver_invoice_id")
    assert [(account, *(row[c] for c in columns)) for account, row in sorted(consumer.rows.items())] == stored


@needs_redis
def test_both_sinks_get_every_event(settings: Settings, tmp_path: Path) -> None:
    put(settings, ("a", "one"), ("b", "one"))
    with webhook() as receiver, redis_server(tmp_path / "redis") as broker:
        both = Settings.model_validate(with_webhook(settings, receiver.url).model_dump() | {"redis_url": broker.url})
        relay_once(both)
        streamed: list[dict[str, Any]] = broker.events()

    assert streamed == receiver.received
