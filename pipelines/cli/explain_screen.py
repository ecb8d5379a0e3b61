"""An explanation on the screen, for whoever is on call: the story, the values side by side, then the rules.

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
from trueup.audit.story import side_by_side

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


def show_explanation(out: Console, explanation: Explanation) -> None:
    """The whole explanation: its story first, then what the stores say of each finding, then why."""
    out.print(f"\n[bold]{escape(explanation.story)}[/]", soft_wrap=True)
    _show_sides(out, explanation)
    _show_answer(out, explanation)
    _show_rules(out, "From invoices to the account", explanation.account_rules)
    for invoice in explanation.invoices:
        if invoice.is_owed:
            _show_invoice(out, invoice)
    _show_findings(out, explanation)
    _show_changes(out, explanation)
    _show_not_owed(out, [invoice for invoice in explanation.invoices if not invoice.is_owed])
    _show_stores(out, explanation)
    _show_history(out, explanation)
    for note in explanation.notes:
        out.print(note, style="dim", markup=False)


def _show_sides(out: Console, explanation: Explanation) -> None:
    """Each finding as a table: a row per field, a column per store."""
    for finding in explanation.findings[:ROWS_SHOWN]:
        rows = side_by_side(finding)
        if not rows:
            continue
        about = f" of {finding['object_id']}" if finding["object_id"] else ""
        out.print(f"\n[bold]{escape(finding['code'] + about)}[/]", soft_wrap=True)
        table = plain_table("", rows[0], ())
        for row in rows:
            table.add_row(*(escape(value) for value in row.values()))
        out.print(table)
    _show_how_many_more(out, "findings", len(explanation.findings))


def _show_answer(out: Console, explanation: Explanation) -> None:
    state = explanation.answer.get("state", "unknown to cf_prod")
    basis = f"as of {short(explanation.as_of)} ({explanation.source})"
    out.print(f"\n[bold]{escape(explanation.account_id)} should be {state}[/] {basis}")
    table = plain_table("The answer", ("", ""), ())
    for name in ANSWER:
        table.add_row(name, _show_value(explanation.answer.get(name)))
    table.add_row("policy", explanation.policy_version)
    out.print(table)


def _show_invoice(out: Console, invoice: InvoiceExplanation) -> None:
    part = "decides" if invoice.is_deciding else "is compared only"
    _show_rules(out, f"Invoice {invoice.invoice_id}, {invoice.view} view, which {part}", invoice.rules)


def _show_not_owed(out: Console, invoices: Sequence[InvoiceExplanation]) -> None:
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


def _show_findings(out: Console, explanation: Explanation) -> None:
    if not explanation.findings:
        out.print("\n[bold green]Nothing disagrees.[/]")
        return
    table = plain_table("\nFindings", ("code", "severity", "object", "owner", "root or cause", "at stake"), ())
    for row in explanation.findings:
        style = SEVERITY_STYLE.get(row["severity"], "dim")
        notes = [word for word in ("settling", "suppressed") if row[f"is_{word}"]]
        root = "root" if row["is_root"] else f"caused by {row['caused_by']}"
        severity = f"[{style}]{row['severity']}[/] {' '.join(notes)}"
        texts = (row["owner"], root, _at_stake(row))
        table.add_row(row["code"], severity, row["object_id"] or "", *(escape(text or "") for text in texts))
    out.print(table)


def _at_stake(finding: Mapping[str, Any]) -> str:
    if finding["at_stake_minor"] is None:
        return "-"
    return f"{finding['at_stake_minor']:,} {finding['at_stake_currency']} (minor units)"


def _show_changes(out: Console, explanation: Explanation) -> None:
    if not explanation.changes:
        out.print("No change of ours is planned.")
        return
    table = plain_table("\nWhat a plan would change", ("column", "before", "after", "codes"), ())
    for row in explanation.changes:
        table.add_row(
            f"{row['table']}.{row['column']}", escape(row["before"]), escape(row["after"]), ", ".join(row["codes"])
        )
    out.print(table)


def _show_stores(out: Console, explanation: Explanation) -> None:
    for store, tables in explanation.stores.items():
        out.print(f"\n[bold]What {store} says[/] (read {short(explanation.observed_at[store])})")
        for name, rows in tables.items():
            for row in rows[:ROWS_SHOWN]:
                values = ", ".join(f"{key} {_show_value(value)}" for key, value in row.items() if value is not None)
                out.print(f"  {name}: {values}", markup=False)
            _show_how_many_more(out, name, len(rows))


def _show_how_many_more(out: Console, what: str, rows: int) -> None:
    """Old history would bury the answer; nothing of it is lost."""
    if rows > ROWS_SHOWN:
        out.print(f"  … and {rows - ROWS_SHOWN} more {what}; --json has them all.", style="dim", markup=False)


def _show_history(out: Console, explanation: Explanation) -> None:
    for name, columns in HISTORY.items():
        rows = explanation.history.get(name, ())
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
