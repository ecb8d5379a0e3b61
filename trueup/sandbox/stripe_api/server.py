"""The sandbox's HTTP server: Stripe's routes under /v1/, and the sandbox's own switches under /_sandbox/.

What Stripe would refuse is refused with Stripe's messages. Faults that are switched on hit requests under /v1/ only,
before the response is made. The switches (objects put or dropped while a list is read, faults, request counts) take the
same key.

| switch | does |
|---|---|
| `PUT /_sandbox/objects/{kind}` | JSON array of flat records or full objects: put now, one by one |
| `DELETE /_sandbox/objects/{kind}/{id}` | drop one |
| `POST /_sandbox/load/{kind}` | a Parquet file of flat records: the bulk way |
| `GET`, `POST`, `DELETE /_sandbox/faults` | see, add (the fields of `Fault`), clear |
| `GET /_sandbox/counts` | objects by kind, requests by path and by API version |
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import secrets
from collections import Counter
from typing import Any, Final

import orjson
import polars as pl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from trueup.sandbox.stripe_api.errors import StripeRefusal, broken, no_such, not_authentic, rate_limited
from trueup.sandbox.stripe_api.faults import Fault, Faults
from trueup.sandbox.stripe_api.object_store import ObjectStore
from trueup.sandbox.stripe_api.objects import KINDS, OBJECT_OF
from trueup.sandbox.stripe_api.requests import parameters, parse_list_request, parse_retrieve_request
from trueup.sandbox.stripe_api.responses import object_text, page_text

API_VERSION: Final = "2026-10-28.endive"
_WITHOUT_LIST: Final = frozenset({"mandates"})


def application(objects: ObjectStore, faults: Faults, api_key: str) -> Starlette:
    """The server's routes over these objects and faults."""
    endpoints = _Endpoints(objects, faults, api_key)
    return Starlette(
        routes=[
            Route("/v1/{kind}", endpoints.list),
            Route("/v1/{kind}/{object_id}", endpoints.retrieve),
            Route("/_sandbox/objects/{kind}", endpoints.put, methods=["PUT"]),
            Route("/_sandbox/objects/{kind}/{object_id}", endpoints.drop, methods=["DELETE"]),
            Route("/_sandbox/load/{kind}", endpoints.load, methods=["POST"]),
            Route("/_sandbox/faults", endpoints.switch, methods=["GET", "POST", "DELETE"]),
            Route("/_sandbox/counts", endpoints.counts),
        ],
        exception_handlers={StripeRefusal: _refusal, 404: _unknown_url, 405: _unknown_url},
    )


class _Endpoints:
    def __init__(self, objects: ObjectStore, faults: Faults, api_key: str) -> None:
        self.objects, self.faults, self.api_key = objects, faults, api_key
        self.request_counts: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()

    async def list(self, request: Request) -> Response:
        """One page of a list."""
        cut = await self._admit(request)
        kind = request.path_params["kind"]
        if kind not in KINDS or kind in _WITHOUT_LIST:
            raise _unrecognised(request)
        listing = parse_list_request(self.objects.collections[kind], parameters(request.query_params.multi_items()))
        page = self.objects.page(kind, listing.query)
        return _response(request, page_text(self.objects.collections, kind, page, listing.expand), cut=cut)

    async def retrieve(self, request: Request) -> Response:
        """One object by its id."""
        cut = await self._admit(request)
        kind, object_id = request.path_params["kind"], request.path_params["object_id"]
        if kind not in KINDS:
            raise _unrecognised(request)
        expand = parse_retrieve_request(kind, parameters(request.query_params.multi_items()))
        row = self.objects.collections[kind].get(object_id)
        if row is None:
            raise no_such(OBJECT_OF[kind], object_id, param="id")
        return _response(request, object_text(self.objects.collections, kind, row, expand), cut=cut)

    async def put(self, request: Request) -> Response:
        self._authenticate(request)
        self.objects.put(_kind(request), orjson.loads(await request.body()))
        return _response(request, b"{}")

    async def drop(self, request: Request) -> Response:
        self._authenticate(request)
        kind, object_id = _kind(request), request.path_params["object_id"]
        if not self.objects.drop(kind, object_id):
            raise no_such(OBJECT_OF[kind], object_id, param="id")
        return _response(request, b"{}")

    async def load(self, request: Request) -> Response:
        self._authenticate(request)
        kind = _kind(request)
        self.objects.load(kind, pl.read_parquet(io.BytesIO(await request.body())))
        return _response(request, b"{}")

    async def switch(self, request: Request) -> Response:
        self._authenticate(request)
        if request.method == "DELETE":
            self.faults.clear()
        elif request.method == "POST":
            self.faults.add(_fault(await request.body()))
        return _response(request, orjson.dumps(self.faults.as_dicts()))

    async def counts(self, request: Request) -> Response:
        self._authenticate(request)
        objects = {kind: len(collection) for kind, collection in self.objects.collections.items()}
        counts = {"objects": objects, "requests": self.request_counts, "versions": self.versions}
        return _response(request, orjson.dumps(counts))

    async def _admit(self, request: Request) -> bool:
        """Lets a request of Stripe's API in, past the faults; true if its response is to be cut off in the middle."""
        self._authenticate(request)
        self.request_counts[request.url.path] += 1
        self.versions[request.headers.get("stripe-version", "none")] += 1
        fault = self.faults.match(request.url.path)
        if fault is None:
            return False
        if fault.kind == "error":
            raise broken(fault.status)
        if fault.kind == "rate_limit":
            raise rate_limited(fault.retry_after)
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        return fault.kind == "drop"

    def _authenticate(self, request: Request) -> None:
        given = _key(request.headers.get("authorization", ""))
        if not secrets.compare_digest(given.encode(), self.api_key.encode()):
            raise not_authentic(given)


class _TruncatedResponse(Response):
    """A response whose connection breaks in the middle of the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # Starlette's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})


def _response(request: Request, body: bytes, *, status: int = 200, cut: bool = False) -> Response:
    headers = {"Request-Id": f"req_{secrets.token_hex(7)}"}
    headers["Stripe-Version"] = request.headers.get("stripe-version", API_VERSION)
    kind = _TruncatedResponse if cut else Response
    return kind(body, status_code=status, headers=headers, media_type="application/json")


async def _refusal(request: Request, refusal: Exception) -> Response:
    if not isinstance(refusal, StripeRefusal):
        raise refusal
    response = _response(request, orjson.dumps(refusal.body()), status=refusal.status)
    response.headers.update(refusal.headers)
    return response


async def _unknown_url(request: Request, _: Exception) -> Response:
    return await _refusal(request, _unrecognised(request))


def _unrecognised(request: Request) -> StripeRefusal:
    return StripeRefusal(f"Unrecognized request URL ({request.method}: {request.url.path}).", status=404)


def _key(authorization: str) -> str:
    """The key in a Bearer header, or the user name in a Basic one; empty if there is neither."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _kind(request: Request) -> str:
    kind: str = request.path_params["kind"]
    if kind not in KINDS:
        raise StripeRefusal(f"No objects are called {kind}; there are {', '.join(KINDS)}.", status=404, param="kind")
    return kind


def _fault(body: bytes) -> Fault:
    given: Any = orjson.loads(body)
    try:
        return Fault(**given)
    except (TypeError, ValueError) as unusable:
        raise StripeRefusal(f"Not a fault: {unusable}") from unusable
