"""The screen: results as tables for people.

What is shown is decided where it is made; here it is only laid out, with the most telling thing first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from rich.console import Console
from rich.table import Table

from trueup.contract.schemas import STORES

if TYPE_CHECKING:  # every command that shows a table imports this module
    from pathlib import Path

    from trueup.audit.results import Result
    from trueup.correction.plan import Plan
    from trueup.stores.doctor import Diagnosis

SEVERITY_STYLE: Final = {"S1": "bold red", "S2": "yellow", "S3": "cyan", "S4": "dim", "none": "magenta"}
CHANGES_SHOWN: Final = 20


def show_audit(out: Console, result: Result, folder: Path | None = None) -> None:
    """An audit: how many accounts disagree, about what, and whose it is."""
    from trueup.audit.results import DELIVERED

    out.print(headline(result))
    for store, code in result.broken.items():
        out.print(f"[bold magenta]{store}: {code}[/] What depends on it is not counted, and no plan can be made.")
    if not result.by_code.is_empty():
        out.print(codes_table(result.by_code))
        out.print(matrix_table(result.matrix))
    out.print(f"{result.changes.height} columns of ours would be corrected; see `trueup plan`.")
    if folder is not None:
        out.print(f"Wrote {', '.join(DELIVERED)} to {folder}")


def headline(result: Result) -> str:
    """The number that counts, in one line."""
    disagreeing, accounts = result.disagreeing, result.accounts
    colour = "bold red" if disagreeing else "bold green"
    unsure = result.indeterminate
    told = f"[{colour}]{disagreeing:,} of {accounts:,} accounts disagree[/] as of {result.manifest['as_of'][:19]}Z"
    return told + (f"; of {unsure:,} we cannot tell." if unsure else ".")


def codes_table(by_code: pl.DataFrame) -> Table:
    """Findings by code, severity and owner; the gravest first."""
    table = plain_table("Disagreements by code", ("code", "severity", "owner"), ("accounts", "findings"))
    for row in by_code.iter_rows(named=True):
        style = SEVERITY_STYLE.get(row["severity"], "")
        severity = f"[{style}]{row['severity']}[/]" if style else row["severity"]
        table.add_row(row["code"], severity, row["owner"], f"{row['accounts']:,}", f"{row['findings']:,}")
    return table


def matrix_table(matrix: pl.DataFrame) -> Table:
    """Of how many accounts two stores say different things; of a store with itself, it and its own copy."""
    counts = {(a, b): accounts for a, b, accounts in matrix.iter_rows()}
    table = plain_table("Accounts of which two stores say different things", ("",), STORES)
    for store in STORES:
        table.add_row(store, *(_cell(counts[store, other]) for other in STORES))
    return table


def _cell(count: int) -> str:
    return f"[bold]{count:,}[/]" if count else "[dim]0[/]"


def show_plan(out: Console, plan: Plan, status: str, *, limit: int | None = CHANGES_SHOWN) -> None:
    """A plan: what counts about it, what turns into what, and its changes."""
    from trueup.correction.plan import HEADERS

    if plan.is_empty:
        out.print(f"Plan {plan.plan_id} is empty: everything that is ours to write is already right.")
        return
    facts = plain_table(f"Plan ({status})", ("", ""), ())
    for label, value in plan.summary():
        facts.add_row(label, value)
    out.print(facts)
    turns = plain_table("What turns into what", ("table", "column", "from", "to"), ("rows",))
    for row in plan.transitions.iter_rows():
        turns.add_row(*(str(value) for value in row))
    out.print(turns)
    changes = plain_table("Changes", HEADERS, ())
    for row in plan.rows(limit):
        changes.add_row(*row)
    out.print(changes)
    if limit is not None and plan.changes.height > limit:
        out.print(
            f"… and {plan.changes.height - limit:,} more; `trueup show {plan.plan_id[:12]} --all` shows them all."
        )


def plain_table(title: str, words: Iterable[str], numbers: Sequence[str]) -> Table:
    """A table with columns of words, then columns of numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in words:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def show_rows(out: Console, title: str, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Rows of any kind, with these columns."""
    table = plain_table(title, columns, ())
    for row in rows:
        table.add_row(*("" if row.get(name) is None else str(row[name]) for name in columns))
    out.print(table)


def show_applied(out: Console, applied: Mapping[str, Any]) -> None:
    """What became of the accounts of a plan."""
    if applied["was_finished"]:
        out.print(f"Plan {applied['plan_id']} was applied before; nothing was changed.")
    table = plain_table("Dry run: rolled back" if applied["dry_run"] else "Applied", ("outcome",), ("accounts",))
    for outcome, accounts in applied["accounts"].items():
        table.add_row(outcome, f"{accounts:,}")
    out.print(table)
    out.print(f"{applied['rows_written']:,} rows written, {applied['events_emitted']:,} events in the outbox.")
    passed_over = [row for row in applied["outcomes"] if row["outcome"] not in {"applied", "already applied"}]
    if passed_over:
        show_rows(out, "Not applied", passed_over[:CHANGES_SHOWN], ("target", "outcome", "why"))


def show_diagnoses(out: Console, diagnoses: Sequence[Diagnosis]) -> None:
    """What the doctor looked at, and the mend for what is wrong."""
    for diagnosis in diagnoses:
        mark = "[green]ok[/]   " if diagnosis.is_fine else "[bold red]wrong[/]"
        out.print(f"{mark} {diagnosis.name}: {diagnosis.detail}")
        if diagnosis.mend:
            out.print(f"      {diagnosis.mend}", style="yellow", markup=False)
