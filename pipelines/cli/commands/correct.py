"""Commands on the way to a correction: plans, keys and approvals, apply, the kill switch, relay and the audit log.

None of them decides anything: `trueup/correction/gate.py` says whether a plan may be written, and `stores/` writes. A
refusal of the gate ends a command with exit code 3; `pipelines/cli/__init__.py` sees to that.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import click

from pipelines.cli.terminal import (
    json_option,
    out,
    ready_file,
    ready_settings,
    say_fault,
    say_json,
    scope_options,
    shown_progress,
    terms_of,
)
from trueup.stores.errors import EXIT_DISAGREEMENTS, EXIT_NOT_WHOLE
from trueup.stores.settings import Settings, load_settings

RELAY_EVERY_SECONDS = 5


@click.command()
@scope_options
@json_option
@click.pass_context
def plan(
    context: click.Context, accounts: str, accounts_file: str, buckets: tuple[int, ...], as_of: str, *, as_json: bool
) -> None:
    """Audit, and make a plan of what is ours to correct.

    Nothing is written to a store: the plan waits until somebody approves it with their key, and holds for 24 hours.
    """
    from pipelines.cli.launch import launch
    from pipelines.cli.screen import headline, show_plan
    from trueup.audit.results import open_result
    from trueup.stores.auditor.plans import load_plan

    terms = terms_of(accounts, accounts_file, buckets, as_of)
    settings = ready_settings()
    with shown_progress():
        outcome = launch(settings, "plan", terms)
    result = open_result(settings, outcome.run_id)
    if result.broken or result.plan_id is None:
        for fault in result.faults or [f"{store}: {code}" for store, code in result.broken.items()]:
            say_fault(fault)
        say_fault("No plan is made from a snapshot that is not whole. `trueup doctor` checks the stores.")
        context.exit(EXIT_NOT_WHOLE)
    kept = load_plan(settings, result.plan_id)
    if as_json:
        say_json({"plan_id": kept.plan.plan_id, "status": kept.status, **kept.plan.as_dict()})
        return
    out.print(headline(result))
    show_plan(out, kept.plan, kept.status)
    if not kept.plan.is_empty:
        out.print(f"\nTo approve it: trueup approve {kept.plan.plan_id[:12]} --key FILE")


@click.command()
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, newest first.")
@json_option
def plans(limit: int, *, as_json: bool) -> None:
    """List plans, newest first."""
    from pipelines.cli.screen import show_rows
    from trueup.stores.auditor.plans import list_plans

    settings = load_settings(("subs_api",))
    rows = [dataclasses.asdict(info) for info in list_plans(settings, limit=limit)]
    if as_json:
        say_json(rows)
    else:
        _show_what_stops(settings)
        show_rows(out, "Plans", rows, ("plan_id", "status", "scope", "accounts", "changes", "created_at", "expires_at"))


def _show_what_stops(settings: Settings) -> None:
    """The kill switch if it is on, and accounts that wait to be audited again."""
    from trueup.stores.auditor.connection import writing
    from trueup.stores.auditor.gate_facts import read_kill_switch
    from trueup.stores.auditor.history import queue_age

    with writing(settings) as connection:
        is_on, reason = read_kill_switch(connection)
    if is_on is not False:
        say_fault(f"The kill switch is on ({reason}): nothing is applied until `trueup resume --reason R`.")
    accounts, oldest = queue_age(settings)
    if oldest is not None:
        out.print(
            f"{accounts} accounts with a conflict wait for the next audit, the first since {oldest:%Y-%m-%d %H:%M} UTC."
        )


@click.command()
@click.argument("plan_id", metavar="PLAN")
@click.option("--all", "is_whole", is_flag=True, help="Every change, however many.")
@json_option
def show(plan_id: str, *, is_whole: bool, as_json: bool) -> None:
    """Show a plan. PLAN is its id, or the beginning of it."""
    from pipelines.cli.screen import CHANGES_SHOWN, show_plan
    from trueup.stores.auditor.plans import load_plan

    kept = load_plan(load_settings(("subs_api",)), plan_id)
    if as_json:
        say_json({"plan_id": kept.plan.plan_id, "status": kept.status, **kept.plan.as_dict()})
    else:
        show_plan(out, kept.plan, kept.status, limit=None if is_whole else CHANGES_SHOWN)


@click.group()
def keys() -> None:
    """Keys that approve plans."""


@keys.command("new")
@click.option("--name", required=True, help="Who will approve with it; the audit log names them.")
@click.option("--out", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The key's file.")
@click.option("--role", type=click.Choice(["person", "policy"]), default="person", show_default=True)
@click.option(
    "--identity",
    "identities",
    metavar="I",
    multiple=True,
    help="A login or service that the key belongs to, which may not approve its own plans. Default: yours.",
)
@json_option
def new_keys(name: str, path: Path, role: str, identities: tuple[str, ...], *, as_json: bool) -> None:
    """Make a key pair, and enrol its public half where the caller may write the approvers' file.

    The private key goes to the file, readable by its owner only. Where the approvers' file is not the caller's to
    write, the lines that its keeper has to add are printed.
    """
    from trueup.stores.auditor.approvers import Role, approver_toml
    from trueup.stores.auditor.pins import new_approver

    settings = load_settings(())
    ready_file(path)
    holder: Role = "policy" if role == "policy" else "person"
    approver, is_enrolled = new_approver(settings, name, path, holder, identities or None)
    if as_json:
        say_json({**approver.model_dump(mode="json"), "is_enrolled": is_enrolled, "key_file": str(path)})
    elif is_enrolled:
        out.print(f"{path} holds the key of {name}; {settings.approvers_file} lists them as an approver.")
    else:
        out.print(f"{path} holds the key of {name}. The keeper of {settings.approvers_file} has to add:\n")
        click.echo(approver_toml(approver))


@keys.command("trust")
@click.option("--key", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Your private key.")
@json_option
def trust_approvers(path: Path, *, as_json: bool) -> None:
    """Believe the approvers' file and the limits as they are set now, on the word of a person of the file before.

    Which file is believed is pinned in the audit log, so that no environment can name another one.
    """
    from trueup.stores.auditor.keys import read_key
    from trueup.stores.auditor.pins import trust

    settings = load_settings(("subs_api",))
    name = trust(settings, read_key(path))
    if as_json:
        say_json({"approvers": str(settings.approvers_file), "trusted_by": name})
    else:
        out.print(f"{settings.approvers_file} is the approvers' file now, on the word of {name}.")


@click.command()
@click.option("--reason", required=True, help="Why; it goes into the audit log.")
@json_option
def stop(reason: str, *, as_json: bool) -> None:
    """Turn the kill switch on: nothing is applied until `trueup resume`.

    A running apply ends before its next batch.
    """
    _turn(reason, is_on=True, as_json=as_json)


@click.command()
@click.option("--reason", required=True, help="Why; it goes into the audit log.")
@json_option
def resume(reason: str, *, as_json: bool) -> None:
    """Turn the kill switch off: approved plans can be applied again."""
    _turn(reason, is_on=False, as_json=as_json)


def _turn(reason: str, *, is_on: bool, as_json: bool) -> None:
    from trueup.stores.auditor.gate_facts import set_kill_switch

    set_kill_switch(load_settings(("subs_api",)), is_on=is_on, reason=reason)
    if as_json:
        say_json({"kill_switch": "on" if is_on else "off", "reason": reason})
    else:
        out.print(f"The kill switch is {'on: nothing is applied until `trueup resume`' if is_on else 'off'}.")


@click.command()
@click.argument("plan_id", metavar="PLAN")
@click.option("--key", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Your private key.")
@json_option
def approve(plan_id: str, path: Path, *, as_json: bool) -> None:
    """Approve a plan: sign its id with your key. Look at it first, with `trueup show PLAN`."""
    from pipelines.cli.report_to_dagster import mirror_approval
    from trueup.stores.auditor.keys import read_key
    from trueup.stores.auditor.plans import approve_plan

    settings = load_settings(("subs_api",))
    info = approve_plan(settings, plan_id, read_key(path))
    mirror_approval(settings, info)
    if as_json:
        say_json(dataclasses.asdict(info))
    else:
        todo = (
            f"To apply it: trueup apply {info.plan_id[:12]}" if info.status != "proposed" else "It needs another key."
        )
        out.print(f"Plan {info.plan_id} is {info.status}. {todo}")


@click.command()
@click.argument("plan_id", metavar="PLAN")
@click.option("--reason", default="", help="Why; it goes into the audit log.")
@json_option
def reject(plan_id: str, reason: str, *, as_json: bool) -> None:
    """Turn a plan down for good."""
    from trueup.stores.auditor.plans import reject_plan

    info = reject_plan(load_settings(("subs_api",)), plan_id, reason=reason)
    if as_json:
        say_json(dataclasses.asdict(info))
    else:
        out.print(f"Plan {info.plan_id} is {info.status}.")


@click.command()
@click.argument("plan_id", metavar="PLAN")
@click.option("--dry-run", is_flag=True, help="Do everything, and roll it back.")
@json_option
@click.pass_context
def apply(context: click.Context, plan_id: str, *, dry_run: bool, as_json: bool) -> None:
    """Apply an approved plan.

    Without a valid approval nothing is written and the exit code is 3. Exit 1: an account was superseded, blocked, or
    somebody had moved a row of it first; none of those was touched.
    """
    from pipelines.cli.launch import launch
    from pipelines.cli.screen import show_applied
    from pipelines.tags import PLAN_TAG
    from trueup.audit.run_folder import read_json, run_folder
    from trueup.stores.auditor.plans import load_plan

    settings = ready_settings()
    kept = load_plan(settings, plan_id)
    ops = {"applied_corrections": {"plan_id": kept.plan_id, "dry_run": dry_run}}
    with shown_progress():
        outcome = launch(settings, "apply_plan", ops=ops, tags={PLAN_TAG: kept.plan_id})
    applied = read_json(run_folder(settings, outcome.run_id) / "applied.json")
    if as_json:
        say_json(applied)
    else:
        show_applied(out, applied)
    context.exit(applied["exit_code"])


@click.command()
@click.option("--once", is_flag=True, help="Publish what there is and end; else go on until Ctrl-C.")
@click.option("--dead", "lists_dead", is_flag=True, help="List the events that a sink refused for good.")
@click.option("--replay", "replayed", metavar="EVENT", help="Let a dead event be tried again; `all` for all of them.")
@click.option(
    "--skip", "skipped", metavar="EVENT", help="Give a dead event up, so that its account's later ones go out."
)
@json_option
@click.pass_context
def relay(
    context: click.Context,
    replayed: str | None,
    skipped: str | None,
    *,
    once: bool,
    lists_dead: bool,
    as_json: bool,
) -> None:
    """Publish the outbox to the sinks that are configured (TRUEUP_WEBHOOK_URL, TRUEUP_REDIS_URL)."""
    from pipelines.cli.dead_letters import answer_dead
    from pipelines.cli.launch import launch
    from trueup.audit.run_folder import read_json, run_folder

    settings = load_settings(("subs_api",))
    if lists_dead or replayed or skipped:
        said = answer_dead(settings, replayed, skipped)
        say_json(said) if as_json else out.print_json(data=said, default=str)
        return
    while True:
        with shown_progress():
            outcome = launch(settings, "relay_outbox")
        told = read_json(run_folder(settings, outcome.run_id) / "published.json")
        if as_json:
            say_json(told)
        elif once or told["published"] or told["refused"]:
            out.print(
                f"{told['published']:,} events published, {told['waiting']:,} wait. {told['unavailable']}".strip()
            )
        if once:
            context.exit(told["exit_code"])
        time.sleep(RELAY_EVERY_SECONDS)


@click.command("verify-log")
@json_option
@click.pass_context
def verify_log(context: click.Context, *, as_json: bool) -> None:
    """Walk the audit log's chain of hashes and signatures; name the first entry that does not hold."""
    from trueup.stores.auditor.audit_log import auditor_key, noted_heads
    from trueup.stores.auditor.audit_log import verify_log as verify
    from trueup.stores.auditor.connection import writing

    settings = load_settings(("subs_api",))
    with writing(settings) as connection:
        verdict = verify(connection, auditor_key(settings).trusted, noted_heads(settings))
    if as_json:
        say_json({"holds": verdict.holds, **dataclasses.asdict(verdict)})
    elif verdict.broken is None:
        out.print(f"{verdict.entries:,} entries under {verdict.heads:,} signed heads hold.")
    else:
        out.print(
            f"[bold red]Entry {verdict.broken.number} {verdict.broken.what}[/]; the {verdict.entries:,} before it hold."
        )
    context.exit(0 if verdict.holds else EXIT_DISAGREEMENTS)
