"""The Stripe sandbox as a process of its own: what is said when it cannot start."""

from __future__ import annotations

import pytest

from trueup.sandbox.stripe_api import StripeSandboxProcess, running


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    with running.loopback(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(running.PortTaken, match=f"port {port}") as refused:
            StripeSandboxProcess(port=port).__enter__()

    assert "--port" in refused.value.way_out
    assert refused.value.exit_code == 2


def test_a_process_that_ends_at_once_is_named_with_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.sys, "executable", "/bin/false")

    with pytest.raises(running.StripeSandboxEnded, match="Stripe sandbox ended before it listened, with exit code 1"):
        StripeSandboxProcess().__enter__()
