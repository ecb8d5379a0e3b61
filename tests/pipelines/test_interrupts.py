"""Ctrl-C at any moment: exit code 130 within two seconds, one line, and nothing left running."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.cli.ui import PortTaken, check_free
from trueup.sandbox.stripe_api.running import loopback

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from pipelines.cli import main; print('up', flush=True); sys.argv[1:] = {}; main()"


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.4])
def test_while_it_is_still_being_imported_it_says_one_line(seconds: float) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(["doctor"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert program.stdout is not None
    program.stdout.readline()
    time.sleep(seconds + 0.05)
    program.send_signal(signal.SIGINT)
    said = program.communicate(timeout=30)[1]

    assert said.strip() == "Interrupted."  # click ends an unfinished line first
    assert program.returncode == 130


def test_a_port_of_the_pages_that_is_taken_is_named_before_anything_starts() -> None:
    with loopback(0) as taken, pytest.raises(PortTaken, match="Address already in use") as refused:
        check_free("127.0.0.1", taken.getsockname()[1])

    assert "--port N" in refused.value.way_out
