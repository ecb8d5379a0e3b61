"""Sinks: where events are published to, a webhook and a Redis stream.

A sink takes one message or says why not: `SinkUnavailable` if it cannot be reached or asks us to wait, so that the
same message may well be taken later; `SinkRefused` if it answered that it does not want this one. Both may have
happened after the message was taken in fact, so every sink may see a message twice. What then follows is the relay's
decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx
import redis
import stamina
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from trueup.stores.errors import EXIT_NOT_WHOLE, SettingsError, TrueupError
from trueup.stores.settings import Settings

CONTENT_TYPE: Final = "application/cloudevents+json"

_ATTEMPTS: Final = 3
_COME_BACK: Final = frozenset({408, 425, 429, 502, 503, 504})  # HTTP's ways to say: not now


class SinkUnavailable(TrueupError):
    """The sink cannot be reached, or asks us to come back."""

    exit_code = EXIT_NOT_WHOLE


class SinkRefused(Exception):
    """The sink answered that it does not take this message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event as it is sent: a CloudEvent in JSON."""

    event_id: str
    type: str
    account_id: str | None
    body: bytes


class Sink(Protocol):
    """Somewhere to publish to."""

    name: str

    def send(self, message: Message) -> None:
        """Deliver one message. Raises SinkUnavailable or SinkRefused."""


class WebhookSink:
    """POST with a Standard Webhooks signature; any 2xx answer means taken."""

    name = "webhook"

    def __init__(self, client: httpx.Client, url: str, secret: str) -> None:
        self._client, self._url = client, url
        try:
            self._webhook = Webhook(secret)
        except (ValueError, EmptyWebhookSecretError):  # not chained: its message may hold the secret
            raise SettingsError(["TRUEUP_WEBHOOK_SECRET is not base64"], "It looks like whsec_…, in base64.") from None

    @stamina.retry(on=SinkUnavailable, attempts=_ATTEMPTS, wait_initial=0.1, wait_max=2.0)
    def send(self, message: Message) -> None:
        """Sign and deliver."""
        now = datetime.now(UTC)
        headers = {
            "content-type": CONTENT_TYPE,
            "webhook-id": message.event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message.event_id, now, message.body.decode()),
        }
        try:
            answer = self._client.post(self._url, content=message.body, headers=headers)
        except httpx.TransportError as error:
            raise SinkUnavailable(f"the webhook did not answer ({type(error).__name__}).", _WEBHOOK_DOWN) from error
        if answer.status_code in _COME_BACK:
            raise SinkUnavailable(f"the webhook answered {answer.status_code}.", _WEBHOOK_DOWN)
        if not answer.is_success:
            raise SinkRefused(f"HTTP {answer.status_code}")


class RedisSink:
    """XADD to a Redis stream; `event` is the CloudEvent. Durability is the server's (appendonly yes)."""

    name = "redis"

    def __init__(self, client: redis.Redis, stream: str) -> None:
        self._client, self._stream = client, stream

    @stamina.retry(on=SinkUnavailable, attempts=_ATTEMPTS, wait_initial=0.1, wait_max=2.0)
    def send(self, message: Message) -> None:
        """Append to the stream."""
        fields: dict[str, str | bytes] = {
            "id": message.event_id,
            "type": message.type,
            "account_id": message.account_id or "",
            "event": message.body,
        }
        try:
            self._client.xadd(self._stream, fields)  # type: ignore[arg-type]
        except _REDIS_DOWN as error:
            raise SinkUnavailable(f"Redis did not take it ({type(error).__name__}).", _REDIS_WAY_OUT) from error
        except RedisError as error:
            raise SinkRefused(f"Redis: {type(error).__name__}") from error


@contextmanager
def open_sinks(settings: Settings) -> Iterator[Sequence[Sink]]:
    """Every sink that is configured; raises SettingsError if none is, since nothing is published to nowhere."""
    faults = _faults(settings)
    if faults:
        raise SettingsError(faults, "Set TRUEUP_WEBHOOK_URL and TRUEUP_WEBHOOK_SECRET, or TRUEUP_REDIS_URL, or both.")
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if settings.webhook_url and settings.webhook_secret:
            client = stack.enter_context(httpx.Client(timeout=settings.relay_timeout_seconds))
            sinks.append(WebhookSink(client, settings.webhook_url, settings.webhook_secret.get_secret_value()))
        if settings.redis_url:
            server = redis.Redis.from_url(
                settings.redis_url,
                socket_timeout=settings.relay_timeout_seconds,
                socket_connect_timeout=settings.relay_timeout_seconds,
            )
            stack.callback(server.close)
            sinks.append(RedisSink(server, settings.redis_stream))
        yield sinks


_WEBHOOK_DOWN: Final = "Check what listens at TRUEUP_WEBHOOK_URL; nothing is lost, run `trueup relay` again."
_REDIS_WAY_OUT: Final = "Check the server at TRUEUP_REDIS_URL; nothing is lost, run `trueup relay` again."
_REDIS_DOWN: Final = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError)


def _faults(settings: Settings) -> list[str]:
    if not settings.webhook_url and not settings.redis_url:
        return ["no sink is configured: events have nowhere to go"]
    faults = []
    if settings.webhook_url and not settings.webhook_secret:
        faults.append("TRUEUP_WEBHOOK_URL is set without TRUEUP_WEBHOOK_SECRET: no event goes out unsigned")
    if settings.webhook_url and urlsplit(settings.webhook_url).scheme not in {"http", "https"}:
        faults.append("TRUEUP_WEBHOOK_URL is not an http or https address")
    if settings.redis_url and urlsplit(settings.redis_url).scheme not in {"redis", "rediss", "unix"}:
        faults.append("TRUEUP_REDIS_URL is not an address like redis://host:6379/0")
    return faults
