"""Commands for whoever runs the auditor: init-db, doctor, ui, demo, sandbox.

Each is a few words around something that lives elsewhere: grants in `trueup/stores/auditor/provision.py`, checks in
`trueup/stores/doctor.py`, the demo in `pipelines/cli/demo.py`, the embedded stores in `sandbox/`.
"""

from __future__ import annotations

import click

from pipelines.cli.terminal import json_option, out, say_json
from trueup.stores.errors import EXIT_WRONG_USE
from trueup.stores.settings import DATABASES, load_settings


@click.command("init-db")
@click.option("--role-reader", metavar="R", help="The role that reads the stores: gets SELECT, and nothing else.")
@click.option("--role-writer", metavar="W", help="The role that applies: gets the columns that are ours to write.")
@json_option
def init_db(role_reader: str | None, role_writer: str | None, *, as_json: bool) -> None:
    """Make schema trueup and the two roles, and print and apply their grants.

    Run it with addresses whose logins own the tables. What is there already stays as it is.
    """
    from trueup.stores.auditor.pins import pin_first
    from trueup.stores.auditor.provision import init_db as provision

    settings = load_settings(DATABASES)
    statements = provision(settings, role_reader, role_writer)
    pin_first(settings)
    if as_json:
        say_json({"statements": statements})
    else:
        for statement in statements:
            click.echo(f"{statement.rstrip(';')};")


@click.command()
@json_option
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Try every connection, privilege and version, and tell the mend for what is wrong."""
    from pipelines.cli.screen import show_diagnoses
    from trueup.stores.doctor import diagnose

    diagnoses = diagnose(load_settings((), is_home_needed=False))
    if as_json:
        say_json([diagnosis.as_dict() for diagnosis in diagnoses])
    else:
        show_diagnoses(out, diagnoses)
    context.exit(0 if all(diagnosis.is_fine for diagnosis in diagnoses) else EXIT_WRONG_USE)


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port on loopback.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on. The page has no login.")
def ui(port: int, host: str) -> None:
    """Serve Dagster's web pages and its daemon on this project, until Ctrl-C.

    Runs, findings, checks and plans are shown; nothing can be approved there. The pages have no login of their own:
    leave them on loopback, or put them behind something that has one.
    """
    from pipelines.cli.ui import serve

    serve(load_settings(()), host, port)


@click.command()
@click.option("--accounts", type=click.IntRange(100), default=50_000, show_default=True, help="Accounts in the fleet.")
@click.option("--drift", type=click.IntRange(0), default=691, show_default=True, help="How many of them disagree.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same fleet.")
@json_option
def demo(accounts: int, drift: int, seed: int, *, as_json: bool) -> None:
    """Show the whole path on a fleet made for it.

    Starts an embedded PostgreSQL and a Stripe sandbox on loopback, plants a fleet in which DRIFT accounts disagree,
    and then audits, plans, approves with a demo key, applies, publishes the events and audits again.
    """
    from pipelines.cli.demo import run_demo

    if drift > accounts // 2:
        raise click.BadParameter(f"{drift} is more than half of {accounts} accounts", param_hint="--drift")
    told = run_demo(load_settings(()), accounts, drift, seed, is_quiet=as_json)
    if as_json:
        say_json(told)


@click.command()
@click.option("--accounts", type=click.IntRange(100), default=1_000, show_default=True, help="Accounts in the fleet.")
@click.option("--drift", type=click.IntRange(0), default=30, show_default=True, help="How many of them disagree.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same fleet.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the Stripe sandbox; default a free one."
)
@click.option("--last", is_flag=True, help="Start the stores of the last demo as it left them.")
def sandbox(accounts: int, drift: int, seed: int, port: int, *, last: bool) -> None:
    """Start six stores to try things on, and print the settings that lead to them; Ctrl-C ends it."""
    from pipelines.cli.demo import run_sandbox

    run_sandbox(load_settings(()), None if last else (accounts, drift, seed), port)
