"""The port to Stripe: one page or one object at a time, through the official SDK's client.

What belongs here is everything about a request: the pinned API version, the key, time limits, the rate limit, retries
with back-off, and Stripe's errors translated into ours. What is requested, and in which order, is `lists.py` and
`subset.py`; what becomes of an object is `frames.py`.

The SDK builds and signs each request and tells its errors apart. It would also parse each good answer into ordered
dicts, in pure Python, which takes ten times longer than the rest together; so its HTTP client is ours: it stores a good
response's bytes for us and hands the SDK an empty object. This also keeps customers' data out of the SDK's debug log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, NoReturn, Self
from urllib.parse import urlsplit

import httpx
import stamina
import stripe

from trueup.stores.errors import PrivilegeMissing, StoreUnreachable
from trueup.stores.settings import Settings
from trueup.stores.stripe.parsing import parsed
from trueup.stores.stripe.rate import RequestRate

LIST_LIMIT: Final = 100  # the most that Stripe gives a page
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_BAD_REQUEST, _NOT_FOUND, _SERVER_ERROR, _LOCKED = 400, 404, 500, 409


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long one request is repeated: so many tries, with growing waits, for no longer than this.

    The last try may begin just before the time is over, so a request that never succeeds fails after at most
    `timeout_seconds` and one time limit of a response (`Settings.stripe_timeout_seconds`).
    """

    attempts: int = 10
    wait_first_seconds: float = 0.2
    wait_max_seconds: float = 10.0
    timeout_seconds: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(timeout_seconds=settings.stripe_give_up_seconds)


class Page(NamedTuple):
    """One page of a list. `is_text_sound` is false where the answer was not UTF-8 and had to be mended to be read."""

    objects: list[Any]
    has_more: bool
    is_text_sound: bool


class Refused(Exception):
    """Stripe understood the request and does not take it: a code and a parameter, never Stripe's words."""

    def __init__(self, status: int, code: str | None, param: str | None) -> None:
        super().__init__(f"HTTP {status}, {code or 'no code'}, parameter {param or 'none'}")
        self.status, self.code, self.param = status, code, param


class Unanswered(Exception):
    """No usable answer, this time: what happened, and how long Stripe asks us to wait."""

    def __init__(self, what: str, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


class StripePort:
    """Sends requests to Stripe. Made by `open_port`; may be used from many threads."""

    def __init__(self, settings: Settings, retry_policy: RetryPolicy) -> None:
        base = settings.stripe_api_base
        self._bodies = _RawBodies(settings.stripe_timeout_seconds, 2 * settings.stripe_concurrency, base)
        self._client = stripe.StripeClient(
            settings.stripe_api_key.get_secret_value(),
            stripe_version=stripe.api_version,
            base_addresses={"api": base.rstrip("/")} if base else {},
            max_network_retries=0,  # stamina's business: the SDK never retries a 429
            http_client=self._bodies,
        )
        self._where = base or "api.stripe.com"
        self._rate = RequestRate.of(settings)
        self._retry_policy = retry_policy
        self._has_answered = False
        self._has_given_up = False

    def slot(self, path: str) -> float:
        """Takes leave for one request of this path; or the seconds until it may be had, if it may not now."""
        return self._rate.slot(path)

    def page(self, path: str, params: Mapping[str, Any], *, has_slot: bool = False) -> Page:
        """One page of a list; `has_slot` if the caller has just taken leave for it by `slot`.

        Raises:
            Refused: Stripe does not take the request.
            StoreUnreachable, PrivilegeMissing: nothing answers, or the key is not taken.
            Unanswered: every try failed.
        """
        answer, is_text_sound = self._request(path, {"limit": LIST_LIMIT, **params}, has_slot=has_slot)
        objects, has_more = answer.get("data"), answer.get("has_more")
        if not isinstance(objects, list) or not isinstance(has_more, bool):
            raise Unanswered("the answer is not a list")
        return Page(objects, has_more, is_text_sound)

    def retrieve(self, path: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], bool] | None:
        """One object by its id, and whether its text was sound; None if Stripe knows no such object."""
        try:
            return self._request(path, params)
        except Refused as refused:
            if refused.status == _NOT_FOUND or refused.code == "resource_missing":
                return None
            raise

    def give_up(self) -> None:
        """No more tries, in any thread: the reading has failed already."""
        self._has_given_up = True

    def close(self) -> None:
        self._bodies.close()

    def _request(self, path: str, params: Mapping[str, Any], *, has_slot: bool = False) -> tuple[dict[str, Any], bool]:
        retry_policy = self._retry_policy
        if self._has_given_up:
            raise Unanswered("the reading has failed already")
        try:
            for attempt in stamina.retry_context(
                on=self._wait,
                attempts=retry_policy.attempts,
                timeout=retry_policy.timeout_seconds,
                wait_initial=retry_policy.wait_first_seconds,
                wait_max=retry_policy.wait_max_seconds,
                wait_jitter=retry_policy.wait_first_seconds,
            ):
                with attempt:
                    if not has_slot or attempt.num > 1:
                        self._rate.wait(path)
                    answer = self._once(path, params)
        except Unanswered as unanswered:
            self._refuse_unreachable(unanswered)
            raise
        self._has_answered = True
        return answer

    def _wait(self, error: Exception) -> bool | float:
        """Whether to try again: not for what is no better next time; when Stripe says when, then."""
        if self._has_given_up or not isinstance(error, Unanswered):
            return False
        return True if error.retry_after is None else error.retry_after

    def _once(self, path: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        try:
            self._client.raw_request("get", path, **params)
        except stripe.StripeError as error:
            self._translate(error)
        answer = parsed(self._bodies.take())
        if answer is None or not isinstance(answer.value, dict):
            raise Unanswered("the answer is not a JSON object")
        return answer.value, answer.is_text_sound

    def _translate(self, error: stripe.StripeError) -> NoReturn:
        """Raise our error for Stripe's; its words may repeat a key or a payload, so they stay out."""
        status = error.http_status or 0
        if isinstance(error, stripe.AuthenticationError):
            raise StoreUnreachable(
                "stripe", f"the key is not taken (HTTP {status})", "Set TRUEUP_STRIPE_API_KEY to a valid key."
            ) from None
        if isinstance(error, stripe.PermissionError):
            raise PrivilegeMissing(
                "stripe",
                f"the key may not read this (HTTP {status})",
                "Give the restricted key read access to customers, subscriptions, invoices, charges, disputes, "
                "refunds, credit notes, payment intents, mandates and events.",
            ) from None
        if isinstance(error, stripe.RateLimitError):
            raise Unanswered("too many requests (HTTP 429)", _seconds(error.headers)) from None
        if isinstance(error, stripe.APIConnectionError):
            raise Unanswered(f"no connection ({type(error.__cause__).__name__})") from None
        if status >= _SERVER_ERROR or status == _LOCKED:
            raise Unanswered(f"HTTP {status}", _seconds(error.headers)) from None
        param = error.param if isinstance(error, stripe.InvalidRequestError) else None
        raise Refused(status, error.code, param) from None

    def _refuse_unreachable(self, unanswered: Unanswered) -> None:
        if not self._has_answered and str(unanswered).startswith("no connection"):
            raise StoreUnreachable(
                "stripe",
                f"nothing answers at {self._where}: {unanswered}",
                "Check the network and TRUEUP_STRIPE_API_BASE; `trueup doctor` tries every connection.",
            ) from unanswered


@contextmanager
def open_port(settings: Settings, retry_policy: RetryPolicy | None = None) -> Iterator[StripePort]:
    """The port to the Stripe that the settings name, closed with the block."""
    stripe.enable_telemetry = False  # it would write an id into the home folder and send it along
    port = StripePort(settings, retry_policy or RetryPolicy.of(settings))
    try:
        yield port
    finally:
        port.close()


class _RawBodies(stripe.HTTPClient):
    """The SDK's HTTP client: pooled connections, and a good response's bytes for `take` in the same thread."""

    name = "httpx"

    def __init__(self, timeout_seconds: float, connections: int, base: str | None) -> None:
        super().__init__()
        self._stored = threading.local()
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client(
            timeout=timeout_seconds,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=urlsplit(base or "").hostname not in _LOOPBACK,  # no proxy leads to loopback
        )

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,  # noqa: ANN401 - the SDK's signature
        **_: object,
    ) -> tuple[Any, int, Mapping[str, str]]:
        try:
            status, response_headers, body = self._response(method, url, headers, post_data)
        except httpx.HTTPError as error:
            raise stripe.APIConnectionError("no connection") from error  # type: ignore[no-untyped-call]
        if status != httpx.codes.OK:
            return body, status, response_headers
        self._stored.body = body
        return b"{}", status, response_headers

    def _response(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        content: Any,  # noqa: ANN401 - the SDK's
    ) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body. httpx limits the wait for each piece; the whole has to come in that time too.

        Raises:
            httpx.HTTPError: no response, a broken one, or one that trickles.
        """
        ends_at = time.monotonic() + self._timeout_seconds
        with self._http.stream(method, url, headers=headers, content=content) as response:
            pieces = []
            for piece in response.iter_bytes():
                pieces.append(piece)
                if time.monotonic() > ends_at:
                    raise httpx.ReadTimeout("the response trickles", request=response.request)
            response.stream = httpx.ByteStream(b"")  # it is tied to its stream and back: only the collector frees it
            return response.status_code, response.headers, b"".join(pieces)

    def take(self) -> bytes:
        """The bytes of this thread's last good response."""
        body: bytes = self._stored.body
        self._stored.body = b""
        return body

    def close(self) -> None:
        self._http.close()


def _seconds(headers: Mapping[str, str] | None) -> float | None:
    """`Retry-After` in seconds, if it is a number of them."""
    given = dict(headers or {}).get("retry-after", "")
    try:
        return max(0.0, float(given))
    except ValueError:
        return None
