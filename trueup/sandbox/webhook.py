"""A webhook receiver on loopback, for the demo and for trying the relay out.

It answers as a careful consumer would: a message whose Standard Webhooks signature does not hold is refused, and one
that came before is taken and not counted again. What was in the messages is only counted, by type.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

SECRET: Final = "whsec_" + "dHJ1ZXVwLWRlbW8tc2VjcmV0LW9uLWxvb3BiYWNr"  # base64 of words; it guards nothing


class WebhookReceiver:
    """Takes messages at `url` while the context is open; `by_type` counts those that are new and rightly signed."""

    def __init__(self, secret: str = SECRET) -> None:
        self.secret = secret
        self.by_type: Counter[str] = Counter()
        self.refused = 0
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, body: bytes, headers: dict[str, str]) -> bool:
        """Whether the message is rightly signed; a new one is counted."""
        try:
            event = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            self.refused += 1
            return False
        event = event if isinstance(event, dict) else json.loads(body)
        with self._lock:
            if event["id"] not in self._seen:
                self._seen.add(event["id"])
                self.by_type[event["type"]] += 1
        return True


def _handler_of(receiver: WebhookReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            is_taken = receiver.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(204 if is_taken else 401)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is logged: messages are about customers."""

    return Handler
