"""An explanation on the screen, for whoever is on call: the answer first, then why, then what the stores say.

Only the layout is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from pipelines.cli.screen import SEVERITY_STYLE, plain_table
from trueup.audit.explain import Explanation, InvoiceExplanation
from trueup.audit.rule_explanations import Rule, short

ROWS_SHOWN: Final = 5

ANSWER: Final = (
    "state",
    "quality",
    "reasons",
    "driver_invoice_id",
    "clock_started_on",
    "age_days",
    "attempt_count",
    "attempts_allowed",
    "is_retryable",
    "next_retry_at",
    "next_change_on",
    "bad_debt",
    "has_access",
    "outstanding_minor",
    "internal_state",
)
HISTORY: Final = {
    "spells": ("code", "object_id", "first_seen_at", "last_seen_at", "seen_count", "healed_at"),
    "entries": ("at", "actor", "action", "table", "column", "before", "after"),
    "events": ("occurred_at", "type", "published_at"),
}


def show_explanation(out: Console, told: Explanation) -> None:
    """The whole explanation."""
    _show_answer(out, told)
    _show_rules(out, "From invoices to the account", told.account_rules)
    for invoice in told.invoices:
        if invoice.is_owed:
            _show_invoice(out, invoice)
    _show_findings(out, told)
    _show_changes(out, told)
    _show_settled(out, [invoice for invoice in told.invoices if not invoice.is_owed])
    _show_stores(out, told)
    _show_history(out, told)
    for note in told.notes:
        out.print(note, style="dim", markup=False)


def _show_answer(out: Console, told: Explanation) -> None:
    state = told.answer.get("state", "unknown to cf_prod")
    out.print(f"\n[bold]{escape(told.account_id)} should be {state}[/] as of {short(told.as_of)} ({told.source})")
    table = plain_table("The answer", ("", ""), ())
    for name in ANSWER:
        table.add_row(name, _show_value(told.answer.get(name)))
    table.add_row("policy", told.policy_version)
    out.print(table)


def _show_invoice(out: Console, invoice: InvoiceExplanation) -> None:
    part = "decides" if invoice.is_deciding else "is compared only"
    _show_rules(out, f"Invoice {invoice.invoice_id}, {invoice.view} view, which {part}", invoice.rules)


def _show_settled(out: Console, invoices: Sequence[InvoiceExplanation]) -> None:
    """Invoices that are not owed, a line each."""
    if not invoices:
        return
    table = plain_table("\nInvoices that are not owed", ("invoice", "view", "status", "why"), ())
    for invoice in invoices[:ROWS_SHOWN]:
        answers = {rule.number: rule.answer for rule in invoice.rules}
        table.add_row(invoice.invoice_id, invoice.view, answers[1], escape(answers[3]))
    out.print(table)
    _show_how_many_more(out, "invoices", len(invoices))


def _show_rules(out: Console, title: str, rules: Sequence[Rule]) -> None:
    table = plain_table(f"\n{title}", ("", "rule", "answer", "looked at"), ())
    for rule in rules:
        table.add_row(
            str(rule.number), rule.question, f"[bold]{escape(rule.answer)}[/]", f"[dim]{escape(rule.looked_at)}[/]"
        )
    out.print(table)


def _show_findings(out: Console, told: Explanation) -> None:
    if not told.findings:
        out.print("\n[bold green]Nothing disagrees.[/]")
        return
    table = plain_table(
        "\nFindings", ("code", "severity", "object", "owner", "root or cause", "observed", "desired"), ()
    )
    for row in told.findings:
        style = SEVERITY_STYLE.get(row["severity"], "dim")
        notes = [word for word in ("settling", "suppressed") if row[f"is_{word}"]]
        root = "root" if row["is_root"] else f"caused by {row['caused_by']}"
        severity = f"[{style}]{row['severity']}[/] {' '.join(notes)}"
        texts = (row["owner"], root, row["observed"], row["desired"])
        table.add_row(row["code"], severity, row["object_id"] or "", *(escape(text or "") for text in texts))
    out.print(table)


def _show_changes(out: Console, told: Explanation) -> None:
    if not told.changes:
        out.print("No change of ours is planned.")
        return
    table = plain_table("\nWhat a plan would change", ("column", "before", "after", "codes"), ())
    for row in told.changes:
        table.add_row(
            f"{row['table']}.{row['column']}", escape(row["before"]), escape(row["after"]), ", ".join(row["codes"])
        )
    out.print(table)


def _show_stores(out: Console, told: Explanation) -> None:
    for store, tables in told.stores.items():
        out.print(f"\n[bold]What {store} says[/] (read {short(told.observed_at[store])})")
        for name, rows in tables.items():
            for row in rows[:ROWS_SHOWN]:
                values = ", ".join(f"{key} {_show_value(value)}" for key, value in row.items() if value is not None)
                out.print(f"  {name}: {values}", markup=False)
            _show_how_many_more(out, name, len(rows))


def _show_how_many_more(out: Console, what: str, rows: int) -> None:
    """Old history would bury the answer; nothing of it is lost."""
    if rows > ROWS_SHOWN:
        out.print(f"  … and {rows - ROWS_SHOWN} more {what}; --json has them all.", style="dim", markup=False)


def _show_history(out: Console, told: Explanation) -> None:
    for name, columns in HISTORY.items():
        rows = told.history.get(name, ())
        if not rows:
            continue
        table = plain_table(f"\nHistory: {name}", columns, ())
        for row in rows:
            table.add_row(*(escape(_show_value(row.get(column))) for column in columns))
        out.print(table)


def _show_value(value: Any) -> str:  # noqa: ANN401 -- any value of a frame
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(_show_value(one) for one in value) or "-"
    if isinstance(value, Mapping):
        return " ".join(_show_value(one) for one in value.values())
    return short(value)
