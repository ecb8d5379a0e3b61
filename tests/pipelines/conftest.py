"""Six real stores with a small fleet in them, and the command line pointed at them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import run
from trueup.sandbox.fleet import Fleet, load_fleet, make_fleet
from trueup.sandbox.stripe_api.running import StripeSandbox

ACCOUNTS, DRIFT, SEED = 400, 30, 5


@dataclass
class Lab:
    """The stores, what was planted in them, and the program."""

    urls: dict[str, str]
    stripe: StripeSandbox
    home: Path
    output: pytest.CaptureFixture[str]
    fleet: Fleet | None = None

    def plant(self, accounts: int, drift: int, codes: Sequence[str] | None = None) -> Fleet:
        """Fill the stores; once per lab, since a Stripe sandbox keeps what it was given."""
        self.fleet = make_fleet(accounts, drift, SEED, codes=codes)
        load_fleet(self.fleet, self.urls, self.stripe)
        return self.fleet

    def trueup(self, *arguments: str) -> int:
        """Run a command; its exit code. What it said before is forgotten."""
        self.output.readouterr()
        return run(list(arguments))

    def answer(self, *arguments: str) -> tuple[int, Any]:
        """Run a command with --json; its exit code and its answer."""
        code = self.trueup(*arguments, "--json")
        said = self.output.readouterr()
        assert said.out, said.err
        return code, json.loads(said.out)


@pytest.fixture
def lab(empty_lab: Lab) -> Lab:
    """Stores with 400 accounts of which 30 disagree, and an empty home."""
    empty_lab.plant(ACCOUNTS, DRIFT)
    return empty_lab


@pytest.fixture
def empty_lab(
    databases: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Lab]:
    """Stores with nothing in them, and an empty home."""
    with StripeSandbox() as stripe:
        settings = {
            "TRUEUP_CF_PROD_URL": databases["cf_prod"],
            "TRUEUP_BILLING_PROD_URL": databases["billing_prod"],
            "TRUEUP_SUBS_API_URL": databases["subs_api"],
            "TRUEUP_STRIPE_API_KEY": stripe.api_key,
            "TRUEUP_STRIPE_API_BASE": stripe.base_url,
            "TRUEUP_HOME": str(tmp_path / "home"),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield Lab(databases, stripe, tmp_path / "home", capsys)
