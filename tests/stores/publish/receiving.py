"""What the relay's tests publish to: a webhook that checks signatures, a Redis server, and a consumer."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis
from redis.exceptions import RedisError
from standardwebhooks import Webhook

SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw=="
REDIS = shutil.which("redis-server")

needs_redis = pytest.mark.skipif(
    REDIS is None and "CI" not in os.environ, reason="redis-server is not installed (apt-get install redis-server)"
)


@dataclass
class Receiver:
    """A webhook: it keeps what is signed, and answers what `answer` says."""

    url: str = ""
    received: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], int] = lambda _event: 204


@contextmanager
def webhook() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            event = Webhook(SECRET).verify(body, dict(self.headers))
            assert self.headers["content-type"] == "application/cloudevents+json"
            assert self.headers["webhook-id"] == event["id"]
            status = receiver.answer(event)
            if status < 300:
                receiver.received.append(event)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield receiver
        server.shutdown()


class RedisServer:
    """A real Redis that writes every command to disk before it answers, so that a kill loses nothing it took."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert REDIS is not None
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        durable = ["--appendonly", "yes", "--appendfsync", "always"]
        self.process = subprocess.Popen([REDIS, *options, *durable], stdout=subprocess.DEVNULL)
        self._wait()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def events(self, stream: str = "trueup") -> list[dict[str, Any]]:
        with redis.Redis.from_url(self.url) as client:
            return [json.loads(fields[b"event"]) for _, fields in client.xrange(stream)]

    def _wait(self) -> None:
        for _ in range(200):
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
            except RedisError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("redis-server did not come up")


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    folder.mkdir(parents=True, exist_ok=True)
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Consumer:
    """The reference consumer: drops ids it has seen, refuses to go back in an account's order, and keeps the rows."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.last: dict[str, int] = {}
        self.rows: dict[str, dict[str, Any]] = {}

    def take(self, event: dict[str, Any]) -> None:
        if event["id"] in self.seen:
            return
        self.seen.add(event["id"])
        account, sequence = event["subject"], int(event["sequence"])
        assert sequence == self.last.get(account, 0) + 1, f"{account}: {sequence} after {self.last.get(account, 0)}"
        self.last[account] = sequence
        if event["type"] == "dunning.state_changed":
            self.rows[account] = event["data"]["row"]
