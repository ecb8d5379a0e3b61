"""The command line: `trueup`, one program over the same code as the Dagster jobs.

This file is where the program begins, and holds so little that Ctrl-C is answered while the rest is still being
imported. `program.py` assembles the commands; `commands/` has a module for each family of them.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Final, NoReturn

EXIT_INTERRUPTED: Final = 130
INTERRUPTED: Final = "Interrupted."

_said: Final[list[str]] = []


def main() -> None:
    """The program's entry point."""
    signal.signal(signal.SIGINT, _end_at_once)
    from pipelines.cli.interrupts import end_in_time
    from pipelines.cli.program import flushed

    end_in_time()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(flushed(run(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Run one command; its exit code, 130 if it was interrupted."""
    from pipelines.cli.program import run_command

    _said.clear()
    try:
        return run_command(arguments)
    except KeyboardInterrupt:
        say_interrupted()
        return EXIT_INTERRUPTED


def say_interrupted() -> None:
    """Say so on standard error, once; it may be closed."""
    if _said:
        return
    _said.append(INTERRUPTED)
    try:
        os.write(2, f"{INTERRUPTED}\n".encode())
    except OSError:
        return


def _end_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Nothing is open yet, and an exception may be swallowed by what is being imported."""
    say_interrupted()
    os._exit(EXIT_INTERRUPTED)
