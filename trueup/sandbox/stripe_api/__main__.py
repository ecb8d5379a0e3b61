"""`python -m trueup.sandbox.stripe_api`: the Stripe sandbox as a program."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click
import uvicorn

from trueup.sandbox.stripe_api.faults import Faults
from trueup.sandbox.stripe_api.object_store import ObjectStore
from trueup.sandbox.stripe_api.objects import KINDS
from trueup.sandbox.stripe_api.running import DEFAULT_KEY, KEY_VARIABLE, READY, address, loopback, quiet_server
from trueup.sandbox.stripe_api.server import application


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--port", default=12111, show_default=True, help="Port on 127.0.0.1; 0 takes a free one.")
@click.option(
    "--key", default=DEFAULT_KEY, envvar=KEY_VARIABLE, show_default=True, show_envvar=True, help="The API key."
)
@click.option(
    "--data",
    "files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="KIND.parquet or KIND.ndjson of flat records or full objects, or a folder of such files; repeatable.",
)
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def main(port: int, key: str, files: tuple[Path, ...], *, until_stdin_closes: bool) -> None:
    """Serve a Stripe sandbox on loopback.

    It implements Stripe's lists and retrieves of customers, payment methods, subscriptions, invoices, invoice payments,
    payment intents, charges, refunds, disputes, credit notes, mandates and events. Point TRUEUP_STRIPE_API_BASE at it.
    Objects can be put and dropped, and faults switched on, under /_sandbox/ while it runs.
    """
    objects = ObjectStore()
    for path in _expanded(files):
        try:
            objects.load_file(path)
        except ValueError as unusable:
            raise click.BadParameter(str(unusable), param_hint="--data") from unusable
    listening = loopback(port)
    server = quiet_server(application(objects, Faults(), key))
    if until_stdin_closes:
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    click.echo(f"{READY}{address(listening)}")
    sys.stdout.flush()
    server.run([listening])


def _expanded(files: tuple[Path, ...]) -> list[Path]:
    """Folders replaced by the files in them that are named for a kind."""
    found: list[Path] = []
    for path in files:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        found += [f for f in inside if not path.is_dir() or f.name.split(".")[0].split("-")[0] in KINDS]
    return found


def _end_with_parent(server: uvicorn.Server) -> None:
    """Waits for the starter to close our standard input, as it does by dying, then ends the server."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    server.should_exit = True


if __name__ == "__main__":
    main()
