"""The program `trueup`: its commands, and how it ends.

This file names the commands and turns every foreseen error into its message and exit code: 0 fine, 1 disagreements
found, 2 wrong use or configuration, 3 refused by the gate, 4 a store could not be read whole. A command's module is
imported when the command is used, so that `--help` and small commands start at once. What a command does is in the
module of its family; what is computed is in none of them. Anything unforeseen is a bug of ours: it ends the program
with its trace and exit code 70, so that no script takes it for an answer.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Final

import click

EXIT_BUG: Final = 70
EXIT_WRONG_USE: Final = 2

COMMANDS: Final = {
    "audit": "audit:audit",
    "explain": "audit:explain",
    "report": "audit:report",
    "codes": "audit:codes",
    "plan": "correct:plan",
    "plans": "correct:plans",
    "show": "correct:show",
    "keys": "correct:keys",
    "approve": "correct:approve",
    "reject": "correct:reject",
    "apply": "correct:apply",
    "stop": "correct:stop",
    "resume": "correct:resume",
    "relay": "correct:relay",
    "verify-log": "correct:verify_log",
    "init-db": "operate:init_db",
    "doctor": "operate:doctor",
    "ui": "operate:ui",
    "demo": "operate:demo",
    "sandbox": "operate:sandbox",
}
"""Command → its module in `pipelines.cli.commands`, and its name there."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- the signature is click's
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- the same
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"pipelines.cli.commands.{module}"), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="trueup")
def trueup() -> None:
    """Audit the dunning state of accounts over six stores, and correct what is ours to correct.

    Settings come from the environment (TRUEUP_CF_PROD_URL, TRUEUP_BILLING_PROD_URL, TRUEUP_SUBS_API_URL,
    TRUEUP_STRIPE_API_KEY, …) or from trueup.toml in the working directory; `trueup doctor` says what is missing.

    Exit codes: 0 fine · 1 disagreements found · 2 wrong use or configuration · 3 refused by the gate ·
    4 a store could not be read whole.
    """


def run_command(arguments: list[str]) -> int:
    """Run one command; its exit code.

    Raises:
        KeyboardInterrupt: somebody interrupted it.
    """
    try:
        return int(trueup.main(arguments, prog_name="trueup", standalone_mode=False) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as misuse:
        misuse.show()
        return misuse.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except Exception as fault:  # noqa: BLE001 -- the last line of the program: a bug must not look like an exit code of ours
        return _ended_by(fault, arguments)


def flushed(code: int) -> int:
    """Send what is left of the answer; the exit code once that is done, or has failed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _without_output(code)
    except OSError as fault:
        sys.stderr.write(f"The answer could not be written: {fault.strerror}.\n")
        return _without_output(code or EXIT_WRONG_USE)
    return code


_OUT_OF_ROOM: Final = (
    "{fault}.\nCheck that the path exists, may be written and has room (TRUEUP_HOME, --out), and run it again."
)


def _ended_by(fault: Exception, arguments: list[str]) -> int:
    """The exit code of an error; one that nobody foresaw is shown with its trace."""
    if isinstance(fault, BrokenPipeError):
        return _without_output(0)
    from trueup.correction.refusals import Refusal
    from trueup.engine.policy import PolicyError
    from trueup.stores.errors import TrueupError

    if isinstance(fault, (TrueupError, Refusal, PolicyError)):
        kind = getattr(fault, "kind", type(fault).__name__)
        return _reported(str(fault), int(getattr(fault, "exit_code", EXIT_WRONG_USE)), kind, arguments)
    if isinstance(fault, OSError):
        return _reported(_OUT_OF_ROOM.format(fault=fault), EXIT_WRONG_USE, type(fault).__name__, arguments)
    import traceback

    traceback.print_exception(fault)
    return EXIT_BUG


def _reported(message: str, exit_code: int, kind: str, arguments: list[str]) -> int:
    from pipelines.cli.terminal import say_fault

    try:
        say_fault(message, as_json="--json" in arguments, kind=kind)
    except OSError:  # standard output is closed or full: the message goes where it can
        say_fault(message)
    return exit_code


def _without_output(code: int) -> int:
    """Standard output is gone, as when `head` has read enough: what is left of it goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
