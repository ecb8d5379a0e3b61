"""The command line: `trueup`, one program over the same code as the Dagster jobs.

This file assembles the commands and turns every foreseen error into its message and exit code: 0 fine, 1 disagreements
found, 2 wrong use or configuration, 3 refused by the gate, 4 a store could not be read whole. What a command does is in
the module of its family; what is computed is in none of them. Anything unforeseen is a bug of ours: it ends the
program with its trace and exit code 70, so that no script takes it for an answer.
"""

from __future__ import annotations

import sys
import traceback

import click

from pipelines.cli.commands.audit import audit, explain, report
from pipelines.cli.commands.correct import (
    apply,
    approve,
    keys,
    plan,
    plans,
    reject,
    relay,
    resume,
    show,
    stop,
    verify_log,
)
from pipelines.cli.commands.operate import demo, doctor, init_db, sandbox, ui
from pipelines.cli.terminal import say_fault
from trueup.correction.refusals import Refusal
from trueup.engine.policy import PolicyError
from trueup.stores.errors import EXIT_WRONG_USE, TrueupError

EXIT_BUG = 70
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="trueup")
def trueup() -> None:
    """Audit the dunning state of accounts over six stores, and correct what is ours to correct.

    Settings come from the environment (TRUEUP_CF_PROD_URL, TRUEUP_BILLING_PROD_URL, TRUEUP_SUBS_API_URL,
    TRUEUP_STRIPE_API_KEY, …) or from trueup.toml in the working directory; `trueup doctor` tells what is missing.

    Exit codes: 0 fine · 1 disagreements found · 2 wrong use or configuration · 3 refused by the gate ·
    4 a store could not be read whole.
    """


for command in (audit, plan, plans, show, approve, reject, apply, relay, explain, report):
    trueup.add_command(command)
for command in (stop, resume, verify_log, keys, init_db, doctor, ui, demo, sandbox):
    trueup.add_command(command)


def main() -> None:
    """The program's entry point."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    try:
        return int(trueup.main(arguments, prog_name="trueup", standalone_mode=False) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as misuse:
        misuse.show()
        return misuse.exit_code
    except (click.Abort, KeyboardInterrupt):
        say_fault("Interrupted.")
        return EXIT_INTERRUPTED
    except (TrueupError, Refusal, PolicyError) as fault:
        kind = getattr(fault, "kind", type(fault).__name__)
        say_fault(str(fault), as_json="--json" in arguments, kind=kind)
        return int(getattr(fault, "exit_code", EXIT_WRONG_USE))
    except Exception:  # noqa: BLE001 -- the last line of the program: a bug must not look like an exit code of ours
        traceback.print_exc()
        return EXIT_BUG
