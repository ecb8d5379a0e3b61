"""The terminal: options that several commands share, and how they speak.

Answers go to standard output, as a table for people or as one JSON value for programs; progress and trouble go to
standard error, so that an answer can be piped. What is said is the business of the commands.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from trueup.audit.progress import watched_by
from trueup.stores.errors import SettingsError
from trueup.stores.settings import Settings, load_settings

if TYPE_CHECKING:
    from trueup.audit.terms import Terms

Command = TypeVar("Command", bound=Callable[..., Any])

WIDE = 10_000  # columns where there is no window: a pipe, a file, a log. Nothing is folded, so an id stays one word


def wide_console(*, is_quiet: bool = False) -> Console:
    """Standard output; a table is not folded because it goes into a file."""
    return Console(highlight=False, quiet=is_quiet, width=None if sys.stdout.isatty() else WIDE)


out = wide_console()
err = Console(stderr=True, highlight=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON value on standard output.")


def scope_options(command: Command) -> Command:
    """The options that say whose accounts, and at which instant."""
    for option in reversed(
        (
            click.option("--accounts", metavar="A,B", default="", help="These accounts only."),
            click.option(
                "--accounts-file",
                type=click.Path(dir_okay=False),
                default="",
                help="The accounts in this file only, one id per line.",
            ),
            click.option(
                "--bucket", "buckets", type=click.IntRange(min=0), multiple=True, help="This bucket only; repeatable."
            ),
            click.option(
                "--as-of", default="", metavar="T", help="The instant to reason about (ISO 8601); default now."
            ),
        )
    ):
        command = option(command)
    return command


def terms_of(accounts: str, accounts_file: str, buckets: tuple[int, ...], as_of: str) -> Terms:
    """What the scope options ask, checked before anything starts."""
    from trueup.audit.terms import Terms

    named = [account.strip() for account in accounts.split(",") if account.strip()]
    if accounts and not named:
        raise click.BadParameter("it names no account", param_hint="--accounts")
    terms = Terms(tuple(named), accounts_file, buckets, as_of)
    terms.check()
    return terms


def ready_folder(path: Path) -> Path:
    """A folder that can be written to, made if it is missing: found out before the work, not after it.

    Raises:
        SettingsError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as fault:
        raise SettingsError([f"{path} cannot be written to: {fault.strerror}"], "Give another --out.") from None
    return path


def ready_file(path: Path) -> Path:
    """A path at which a file can be written: found out before the work, not after it. Raises SettingsError."""
    if path.is_dir():
        raise SettingsError([f"{path} is a folder"], "Give the path of a file.")
    ready_folder(path.absolute().parent)
    return path


def ready_settings() -> Settings:
    """The settings and the policy, both whole, or an error that names every fault, before anything starts."""
    from trueup.engine.policy import load_policy

    settings = load_settings()
    load_policy(settings.policy)
    return settings


def say_json(value: Any) -> None:  # noqa: ANN401 -- whatever JSON can hold
    """Answer a program."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode())


def say_fault(message: str, *, as_json: bool = False, kind: str = "") -> None:
    """Tell what went wrong; to a program also as JSON."""
    if as_json:
        say_json({"error": kind, "message": message})
    err.print(message, style="bold red", markup=False)


@contextmanager
def shown_progress() -> Iterator[None]:
    """Draw bars on standard error for the work of the block; nothing is drawn when nobody is looking."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars, watched_by(Bars(bars)):
        yield


class Bars:
    """A watcher that draws one bar per piece of work."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def started(self, work: str, total: int | None) -> None:
        self.tasks[work] = self.bars.add_task(work, total=total)

    def moved(self, work: str, units: int) -> None:
        self.bars.advance(self.tasks[work], units)

    def ended(self, work: str) -> None:
        task = self.tasks.pop(work)
        self.bars.remove_task(task)
