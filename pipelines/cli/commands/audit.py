"""Commands that look and write nothing to a store: audit, explain, report.

`audit` runs the Dagster job of that name and shows what it left in its run folder. `explain` and `report` render; how
they do it is in `pipelines/cli/explain_screen.py` and `pipelines/cli/report_screen.py`.
"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.terminal import (
    json_option,
    out,
    ready_file,
    ready_folder,
    ready_settings,
    say_fault,
    say_json,
    scope_options,
    shown_progress,
    terms_of,
)
from trueup.stores.errors import EXIT_DISAGREEMENTS, EXIT_NOT_WHOLE
from trueup.stores.settings import load_settings


@click.command()
@scope_options
@click.option("--out", "folder", type=click.Path(file_okay=False, path_type=Path), help="Write the four files here.")
@json_option
@click.pass_context
def audit(
    context: click.Context,
    accounts: str,
    accounts_file: str,
    buckets: tuple[int, ...],
    as_of: str,
    folder: Path | None,
    *,
    as_json: bool,
) -> None:
    """Read the six stores, compute every account's dunning state, and find what disagrees.

    DIR gets desired.parquet, findings.parquet, changes.parquet and manifest.json. Exit 0: everything agrees; 1: some
    account disagrees; 4: a store could not be read whole, and what could be told is still written.
    """
    from pipelines.cli.launch import launch
    from pipelines.cli.screen import show_audit
    from trueup.audit.results import deliver, open_result

    terms = terms_of(accounts, accounts_file, buckets, as_of)
    settings = ready_settings()
    if folder is not None:
        ready_folder(folder)
    with shown_progress():
        outcome = launch(settings, "audit", terms)
    result = open_result(settings, outcome.run_id)
    if folder is not None:
        deliver(result, folder)
    if as_json:
        say_json(result.summary())
    else:
        show_audit(out, result, folder)
    if result.broken:
        for fault in result.faults:
            say_fault(fault)
        context.exit(EXIT_NOT_WHOLE)
    context.exit(EXIT_DISAGREEMENTS if result.disagreeing else 0)


@click.command()
@click.argument("account")
@click.option(
    "--as-of", default="", metavar="T", help="A past instant (ISO 8601), from the lake; default: now, read anew."
)
@json_option
def explain(account: str, as_of: str, *, as_json: bool) -> None:
    """Tell why ACCOUNT is in the state it should be in.

    What each store says, the facts, each rule in order with its values and its answer, the driver, the findings, the
    planned change, and what the auditor has seen and done before.
    """
    from pipelines.cli.explain_screen import show_explanation
    from trueup.audit.explain import explain_account

    settings = load_settings() if not as_of else load_settings(())
    with shown_progress():
        explanation = explain_account(settings, account, as_of)
    if as_json:
        say_json(explanation.as_json())
    else:
        show_explanation(out, explanation)


@click.command()
@json_option
def codes(*, as_json: bool) -> None:
    """List every finding code: what it means, how severe it is, who owns it, and whether a plan corrects it."""
    from pipelines.cli.screen import show_rows
    from trueup.drift.describe import described_codes

    rows = described_codes()
    if as_json:
        say_json(rows)
    else:
        show_rows(out, "Finding codes", rows, ("code", "severity", "owner", "is_corrected", "meaning"))


@click.command()
@click.option(
    "--html", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write a self-contained page here."
)
@json_option
def report(path: Path | None, *, as_json: bool) -> None:
    """Show disagreements over time, per code, with ages and owners, and the store x store matrix."""
    from pipelines.cli.report_page import write_html
    from pipelines.cli.report_screen import show_report
    from trueup.audit.report import gather_report

    settings = load_settings(("subs_api",))
    if path is not None:
        ready_file(path)
    gathered = gather_report(settings)
    if path is not None:
        write_html(gathered, path)
    if as_json:
        say_json(gathered.as_json())
    else:
        show_report(out, gathered, path)
