"""Stripe's error form, and the errors that the sandbox responds with."""

from __future__ import annotations

from typing import Any


class StripeRefusal(Exception):
    """A response of 4xx or 5xx, with Stripe's words, type, code and parameter."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.code, self.param, self.kind = message, status, code, param, kind
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.kind}
        if self.code is not None:
            error |= {
                "code": self.code,
                "doc_url": f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}",
            }
        if self.param is not None:
            error["param"] = self.param
        return {"error": error}


def no_such(name: str, object_id: str, *, param: str, status: int = 404) -> StripeRefusal:
    """No object has this id: 404 in the path of a retrieve, 400 in a parameter."""
    return StripeRefusal(f"No such {name}: '{object_id}'", status=status, code="resource_missing", param=param)


def rate_limited(retry_after: float) -> StripeRefusal:
    """Too many requests; the header Retry-After says when to try again."""
    return StripeRefusal(
        "Request rate limit exceeded.",
        status=429,
        code="rate_limit",
        headers={"Retry-After": f"{retry_after:g}", "Stripe-Rate-Limited-Reason": "global-rate"},
    )


def broken(status: int) -> StripeRefusal:
    """An error on Stripe's side."""
    return StripeRefusal("An unknown error occurred.", status=status, kind="api_error")


def not_authentic(given: str) -> StripeRefusal:
    """A missing or wrong key; Stripe shows a wrong one by its first and last characters."""
    headers = {"WWW-Authenticate": 'Basic realm="Stripe"'}
    if not given:
        message = "You did not provide an API key. Provide it in the Authorization header, using Bearer auth."
        return StripeRefusal(message, status=401, headers=headers)
    return StripeRefusal(f"Invalid API Key provided: {given[:8]}****{given[-4:]}", status=401, headers=headers)
