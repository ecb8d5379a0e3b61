"""How many requests may go out, and what happens to those that never succeed."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stores.stripe.stripe_world import read
from trueup.sandbox.stripe_api import Fault, StripeSandbox
from trueup.stores.errors import StoreNotWhole, StoreUnreachable
from trueup.stores.settings import Settings
from trueup.stores.stripe.lists import read_lists
from trueup.stores.stripe.objects import ObjectList
from trueup.stores.stripe.port import Page
from trueup.stores.stripe.rate import ENDPOINTS_AT_ONCE, SHARE_OF_RATE, RequestRate
from trueup.stores.stripe.reading import Reading

PER_SECOND = 25.0
LISTS = [ObjectList(name, f"/v1/{name}") for name in ("charges", "invoices", "customers", "payouts", "events")]


class EndlessPort:
    """Lists that go on for ever, at the rate of a real port; a response takes twenty milliseconds."""

    def __init__(self) -> None:
        self.rate = RequestRate(PER_SECOND * SHARE_OF_RATE)
        self.sent: Counter[str] = Counter()
        self.ends_at = time.monotonic() + 2.0

    def slot(self, path: str) -> float:
        return self.rate.slot(path)

    def page(self, path: str, _: dict[str, Any], *, has_slot: bool) -> Page:
        assert has_slot
        self.sent[path] += 1
        time.sleep(0.02)
        number = self.sent.total()
        return Page([{"id": f"x_{number}"}], time.monotonic() < self.ends_at, is_text_sound=True)

    def give_up(self) -> None:
        raise AssertionError


def test_workers_use_the_whole_rate_while_there_is_work_at_four_endpoints() -> None:
    port = EndlessPort()
    read_lists(port, LISTS, 8, lambda *_: None)  # type: ignore[arg-type]
    allowed = 2.0 * PER_SECOND * SHARE_OF_RATE * ENDPOINTS_AT_ONCE

    assert port.sent.total() >= 0.95 * allowed
    assert max(port.sent.values()) <= 2.3 * PER_SECOND * SHARE_OF_RATE  # a fifth of a second may be caught up


def test_no_second_sees_more_requests_than_stripe_allows() -> None:
    rate = RequestRate(PER_SECOND * SHARE_OF_RATE)
    began = time.monotonic()
    sent = 0
    while time.monotonic() - began < 1.0:
        sent += rate.slot("/v1/charges") == 0.0
        time.sleep(0.001)

    assert 18 <= sent <= PER_SECOND


def test_without_a_limit_nobody_waits() -> None:
    assert RequestRate(None).slot("/v1/charges") == 0.0


@contextmanager
def trickling(seconds: float) -> Iterator[str]:
    """The address of a server that sends a byte of its response every tenth of a second."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=trickle, args=(client,), daemon=True).start()

    def trickle(client: socket.socket) -> None:
        with client:
            client.recv(65_536)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at and not stopped.is_set():
                try:
                    client.sendall(b" ")
                except OSError:
                    return
                time.sleep(0.1)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        listener.close()


def test_a_response_that_trickles_ends_within_the_stated_time(tmp_path: Path) -> None:
    with trickling(60.0) as base:
        settings = Settings(
            stripe_api_key="sk_test_1",  # type: ignore[arg-type]
            stripe_api_base=base,
            stripe_timeout_seconds=0.5,
            stripe_give_up_seconds=1.0,
        )
        began = time.monotonic()
        with pytest.raises(StoreUnreachable, match="no connection"):
            read(StripeSandbox(), tmp_path, settings=settings, retry_policy=None)

    assert time.monotonic() - began < 1.0 + 0.5 + 3.0  # and what a busy machine adds


def test_truncated_responses_end_within_the_stated_time(tmp_path: Path) -> None:
    with StripeSandbox() as sandbox:
        sandbox.load({"customers": [{"customer_id": "cus_1"}]})
        sandbox.faults.add(Fault("drop", path="/v1/customers", times=None))
        settings = Settings(
            stripe_api_key=sandbox.api_key,  # type: ignore[arg-type]
            stripe_api_base=sandbox.base_url,
            stripe_give_up_seconds=1.0,
        )
        began = time.monotonic()
        with pytest.raises(StoreNotWhole, match="customers: the list broke off"):
            read(sandbox, tmp_path, settings=settings, retry_policy=None)

    assert time.monotonic() - began < 1.0 + 5.0  # a wait of its own may be under way, and the machine is busy


def test_mandates_are_retrieved_while_the_lists_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = threading.Event()
    retrieve_all = Reading.retrieve_all

    def seen(self: Reading, table: str, *rest: Any, **more: Any) -> None:
        if table == "stripe_mandates":
            under_way.set()
        retrieve_all(self, table, *rest, **more)

    def after_mandates(*_: Any) -> None:
        assert under_way.wait(10.0), "the lists ended before any mandate was requested"

    monkeypatch.setattr(Reading, "retrieve_all", seen)
    monkeypatch.setattr("trueup.stores.stripe.reader.read_lists", after_mandates)
    with StripeSandbox() as sandbox:
        sandbox.load({"mandates": [{"mandate_id": "mandate_1", "payment_method_id": "pm_1"}]})
        found = read(sandbox, tmp_path, mandate_ids=["mandate_1"])

    assert found["stripe_mandates"]["mandate_id"].to_list() == ["mandate_1"]
