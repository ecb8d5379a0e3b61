"""The demo: the whole path on a fleet made for it, through the very same jobs.

Six stores on loopback, a fleet in which some accounts disagree, and then what an operator would do: audit, plan,
approve, apply, publish, audit again. Nothing that the audit finds is told to it: the planted accounts are counted only
to be compared at the end. The stores live in `<home>/demo`; the runs are in the project's own Dagster instance, where
`trueup ui` shows them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl
from pydantic import SecretStr
from rich.console import Console

from pipelines.cli.launch import launch
from pipelines.cli.report_to_dagster import mirror_approval
from pipelines.cli.screen import codes_table, headline, matrix_table, plain_table, show_applied, show_plan
from pipelines.cli.terminal import shown_progress, wide_console
from pipelines.cli.ui import ended_by_signals
from pipelines.instance import instance_database, make_instance
from trueup.audit.progress import working_on
from trueup.audit.results import Result, open_result
from trueup.audit.run_folder import read_json, run_folder
from trueup.drift import is_counted
from trueup.sandbox.fleet import Fleet, make_fleet
from trueup.sandbox.local import LocalStores, local_stores
from trueup.sandbox.webhook import WebhookReceiver
from trueup.stores.auditor.keys import read_key
from trueup.stores.auditor.pins import new_approver
from trueup.stores.auditor.plans import approve_plan, load_plan
from trueup.stores.auditor.provision import create_auditor_tables
from trueup.stores.settings import Settings

PLAN_CHANGES_SHOWN: Final = 8


def run_demo(settings: Settings, accounts: int, drift: int, seed: int, *, is_quiet: bool = False) -> dict[str, Any]:
    """The demo, told on the terminal; what came of it."""
    demo = Demo(settings, wide_console(is_quiet=is_quiet))
    with (
        ended_by_signals(),
        shown_progress(),
        instance_database(settings),
        local_stores(settings, demo_folder(settings), is_new=True) as stores,
    ):
        make_instance(settings)
        return demo.run(stores, accounts, drift, seed)


def demo_folder(settings: Settings) -> Path:
    """Where the stores of the demo live."""
    return settings.home / "demo"


class Demo:
    """One demo: the project's own settings, and where it is told."""

    def __init__(self, project: Settings, out: Console) -> None:
        self.project = project
        self.out = out
        self.began = time.monotonic()

    def run(self, stores: LocalStores, accounts: int, drift: int, seed: int) -> dict[str, Any]:
        fleet = self.plant(stores, accounts, drift, seed)
        before = self.audit_and_plan(stores.settings)
        self.approve(stores.settings, before)
        applied = self.apply(stores.settings, before)
        events = self.publish(stores.settings)
        after = self.audit_again(stores.settings)
        self.sum_up(before, after)
        return {
            "planted": fleet.disagreeing,
            "found": before.disagreeing,
            "left": after.disagreeing,
            "before": before.summary(),
            "applied": {name: value for name, value in applied.items() if name != "outcomes"},
            "events": events,
            "after": after.summary(),
            "seconds": round(time.monotonic() - self.began, 1),
        }

    def plant(self, stores: LocalStores, accounts: int, drift: int, seed: int) -> Fleet:
        with self.step(f"Six stores on loopback, and a fleet of {accounts:,} accounts of which {drift:,} disagree"):
            create_auditor_tables(stores.settings)
            fleet = make_fleet(accounts, drift, seed)
            with working_on("load the fleet", 1) as on_rows:
                stores.load(fleet, lambda done, total: on_rows(1) if done == total else None)
        return fleet

    def audit_and_plan(self, settings: Settings) -> Result:
        with self.step("Audit: read the six stores, compute, compare, look again; and plan what is ours to correct"):
            outcome = launch(settings, "plan", instance_of=self.project)
        result = open_result(settings, outcome.run_id)
        self.tell(result)
        kept = load_plan(settings, str(result.plan_id))
        show_plan(self.out, kept.plan, kept.status, limit=PLAN_CHANGES_SHOWN)
        return result

    def approve(self, settings: Settings, audited: Result) -> None:
        with self.step("Approve the plan with a demo key: an Ed25519 signature under its id"):
            key_file = settings.home / "keys" / "demo-approver.pem"
            new_approver(settings, "demo", key_file, identities=("demo-approver",))
            info = approve_plan(settings, str(audited.plan_id), read_key(key_file))
            mirror_approval(self.project, info)

    def apply(self, settings: Settings, audited: Result) -> dict[str, Any]:
        with self.step("Apply: look at its accounts once more, then write what is still desired, version by version"):
            ops = {"applied_corrections": {"plan_id": audited.plan_id}}
            outcome = launch(settings, "apply_plan", ops=ops, instance_of=self.project)
        applied: dict[str, Any] = read_json(run_folder(settings, outcome.run_id) / "applied.json")
        show_applied(self.out, applied)
        return applied

    def publish(self, settings: Settings) -> dict[str, int]:
        with WebhookReceiver() as receiver:
            hooked = {"webhook_url": receiver.url, "webhook_secret": SecretStr(receiver.secret)}
            with self.step("Publish the events to a webhook that checks every signature"):
                launch(settings.model_copy(update=hooked), "relay_outbox", instance_of=self.project)
            table = plain_table("Events that arrived", ("type",), ("events",))
            for kind, events in sorted(receiver.by_type.items()):
                table.add_row(kind, f"{events:,}")
            self.out.print(table)
            return dict(receiver.by_type)

    def audit_again(self, settings: Settings) -> Result:
        with self.step("Audit again"):
            outcome = launch(settings, "audit", instance_of=self.project)
        result = open_result(settings, outcome.run_id)
        self.tell(result)
        return result

    def sum_up(self, before: Result, after: Result) -> None:
        roots = after.findings.filter(is_counted() & pl.col("is_root"))
        owners = roots["owner"].unique().sort().to_list()
        numbers = f"{before.disagreeing:,} accounts disagreed; {after.disagreeing:,} are left"
        self.out.print(f"\n[bold]{numbers}[/], for others to mend: {', '.join(owners) or 'nobody'}.")
        self.out.print(f"{time.monotonic() - self.began:.0f} s in all.")
        self.out.print(
            "\nTo look at these runs in Dagster:           trueup ui      (.venv/bin/trueup ui, or make ui)\n"
            "To try commands on the stores of the demo:  trueup sandbox --last"
        )

    def tell(self, result: Result) -> None:
        self.out.print(headline(result))
        if not result.by_code.is_empty():
            self.out.print(codes_table(result.by_code))
            self.out.print(matrix_table(result.matrix))

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say what is being done, and how long it took."""
        self.out.print(f"\n[bold cyan]▸ {what}[/]")
        started = time.monotonic()
        yield
        self.out.print(f"[dim]  {time.monotonic() - started:.1f} s[/]")


def run_sandbox(settings: Settings, fleet: tuple[int, int, int] | None, port: int) -> None:
    """Start stores, print the settings that lead to them, and wait; with no fleet, the demo's as it left them."""
    folder = demo_folder(settings) if fleet is None else settings.home / "sandbox"
    with ended_by_signals(), local_stores(settings, folder, is_new=fleet is not None, port=port) as stores:
        if fleet is not None:
            create_auditor_tables(stores.settings)
            stores.load(make_fleet(*fleet))
        for name, value in addresses(stores.settings).items():
            print(f"export {name}='{value}'")  # noqa: T201 -- for a shell to read
        print("# The stores run until Ctrl-C.", flush=True)  # noqa: T201
        while True:
            time.sleep(60)


def addresses(settings: Settings) -> dict[str, str]:
    """The settings that lead to local stores, as a shell exports them."""
    return {
        "TRUEUP_CF_PROD_URL": settings.cf_prod_url,
        "TRUEUP_BILLING_PROD_URL": settings.billing_prod_url,
        "TRUEUP_SUBS_API_URL": settings.subs_api_url,
        "TRUEUP_STRIPE_API_KEY": settings.stripe_api_key.get_secret_value(),
        "TRUEUP_STRIPE_API_BASE": str(settings.stripe_api_base),
        "TRUEUP_HOME": str(settings.home),
    }
