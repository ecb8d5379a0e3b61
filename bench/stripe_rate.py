"""How much of the allowed request rate the reader uses, and whether mandates cost wall time of their own.

    python -m bench.stripe_rate [--seconds 5] [--latency 0.05]

The first figure is of a port whose lists never end: requests sent, over those that the rate allows in that time. The
second is of the Stripe sandbox at Stripe's rate: a whole reading with mandates over one without any.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from bench.stripe_pages import fleet
from trueup.sandbox.stripe_api import StripeSandboxProcess
from trueup.stores.settings import Settings
from trueup.stores.stripe import read_stripe
from trueup.stores.stripe.lists import read_lists
from trueup.stores.stripe.objects import LISTS
from trueup.stores.stripe.port import Page, StripePort
from trueup.stores.stripe.rate import CATCH_UP_SECONDS, ENDPOINTS_AT_ONCE, SHARE_OF_RATE, RequestRate

PER_SECOND: Final = 25.0
WORKERS: Final = 16


class EndlessPort:
    """Lists that go on until the time is over; a response takes its latency."""

    def __init__(self, seconds: float, latency: float) -> None:
        self.rate = RequestRate(PER_SECOND * SHARE_OF_RATE)
        self.sent: Counter[str] = Counter()
        self._latency = latency
        self._ends_at = time.monotonic() + seconds

    def slot(self, path: str) -> float:
        """As the reader asks for it."""
        return self.rate.slot(path)

    def page(self, path: str, _: Mapping[str, Any], *, has_slot: bool) -> Page:
        """One more page of the list."""
        if not has_slot:
            self.rate.wait(path)
        self.sent[path] += 1
        time.sleep(self._latency)
        return Page([{"id": f"x_{self.sent.total()}"}], time.monotonic() < self._ends_at, is_text_sound=True)

    def give_up(self) -> None:
        """Nothing fails here."""


def used(seconds: float, latency: float) -> float:
    """Requests sent over those allowed, with what may be caught up at the start."""
    port = EndlessPort(seconds, latency)
    read_lists(cast("StripePort", port), LISTS, WORKERS, lambda *_: None)
    allowed = PER_SECOND * SHARE_OF_RATE * ENDPOINTS_AT_ONCE * (seconds + CATCH_UP_SECONDS)
    return port.sent.total() / allowed


def reading(sandbox: StripeSandboxProcess, mandates: int) -> float:
    """Seconds of a whole reading at Stripe's rate."""
    settings = Settings(
        stripe_api_key=sandbox.api_key,  # type: ignore[arg-type]
        stripe_api_base=sandbox.base_url,
        stripe_requests_per_second=PER_SECOND,
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        read_stripe(settings, None, [f"mandate_{number}" for number in range(mandates)], (), Path(folder))
        return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--charges", type=int, default=20_000)
    parser.add_argument("--mandates", type=int, default=150)
    arguments = parser.parse_args()
    print(f"of the allowed rate: {used(arguments.seconds, arguments.latency):.2f}")
    with StripeSandboxProcess() as sandbox:
        sandbox.load(fleet(arguments.charges))
        alone = reading(sandbox, 0)
        print(f"with {arguments.mandates} mandates / lists alone: {reading(sandbox, arguments.mandates) / alone:.2f}")


if __name__ == "__main__":
    main()
