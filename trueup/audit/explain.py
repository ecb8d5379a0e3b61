"""Explain: why one account is in the state it should be in.

The account is read anew, or taken from the lake as it was by a past instant; judged by the very code that audits use;
and described from the engine's own frames. The words of the rules are in `trueup/audit/rule_explanations.py`, how they
are shown in `explain_screen.py`.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from trueup.audit.gather import gather_scope
from trueup.audit.judge import Basis, Judgement, ReadingStatus, judge, sweep_snapshot
from trueup.audit.rule_explanations import Rule, rules_of_account, rules_of_invoice
from trueup.audit.story import story_of
from trueup.audit.terms import parse_instant
from trueup.contract.schemas import TABLES, Snapshot
from trueup.correction.changes import changes
from trueup.engine.policy import Policy
from trueup.stores.auditor.history import history_of
from trueup.stores.errors import AccountUnknown, TrueupError
from trueup.stores.lake.tables import Lake, LakeRun
from trueup.stores.scope import Scope, bucket_of
from trueup.stores.settings import Settings

Rows = Sequence[Mapping[str, Any]]

# Stripe's objects are found by what the account maps to; in this order each is found by those before it.
BY_CUSTOMER: Final = ("stripe_customers", "stripe_subscriptions", "stripe_invoices", "stripe_payment_intents")
PLUMBING: Final = ("updated_at", "version", "unreadable", "account_id")


@dataclass(frozen=True)
class InvoiceExplanation:
    """One invoice in one view of the money, rule by rule."""

    invoice_id: str
    view: str
    is_deciding: bool
    is_owed: bool
    rules: Sequence[Rule]


@dataclass(frozen=True)
class Explanation:
    """Everything that there is to say about one account at one instant."""

    account_id: str
    story: str
    as_of: datetime
    source: str
    policy_version: str
    observed_at: Mapping[str, datetime]
    answer: Mapping[str, Any]
    stores: Mapping[str, Mapping[str, Rows]]
    invoices: Sequence[InvoiceExplanation]
    account_rules: Sequence[Rule]
    findings: Rows
    changes: Rows
    history: Mapping[str, Rows]
    notes: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class ArchivedReading:
    """What the lake archives of one run: all stores were whole, or it would not be there."""

    run: LakeRun

    def observed_at(self) -> Mapping[str, datetime]:
        return self.run.observed_at

    def broken(self, _age_hours_max: float) -> Mapping[str, str]:
        return {}


def explain_account(settings: Settings, account_id: str, as_of: str = "") -> Explanation:
    """Explain an account, now or at an instant.

    For a past instant the last run that the lake has by then is taken; with none, the stores are read now and reasoned
    about at that instant.

    Raises:
        AccountUnknown: no store has it.
        StoreError: a store could not be read.
    """
    instant = parse_instant(as_of) if as_of else datetime.now(UTC)
    lake = Lake.of(settings)
    run = lake.latest(instant, [bucket_of(account_id, settings.bucket_count)]) if as_of else None
    if run is not None:
        snapshot = lake.open(run.run_id, [bucket_of(account_id, run.bucket_count)])
        source = f"from the lake: run {run.run_id}, read {min(run.observed_at.values()):%Y-%m-%d %H:%M}Z"
        return explain_snapshot(settings, account_id, instant, snapshot, ArchivedReading(run), source)
    with tempfile.TemporaryDirectory(prefix="trueup-") as folder:
        reading = gather_scope(settings, Scope.of_accounts([account_id]), Path(folder))
        if reading.faults():
            raise TrueupError("\n".join(reading.faults()), "`trueup doctor` checks every store.")
        return explain_snapshot(settings, account_id, instant, reading.snapshot(), reading, "read now")


def explain_snapshot(
    settings: Settings, account_id: str, as_of: datetime, snapshot: Snapshot, status: ReadingStatus, source: str
) -> Explanation:
    """Judge a snapshot that holds the account, and explain what came of it."""
    basis = Basis.of(settings, as_of)
    policy = basis.policy
    judgement = judge(sweep_snapshot(snapshot, basis), status, basis)
    judged = judgement.judged
    mine = pl.col("account_id") == account_id
    answers = judged.desired.filter(mine).to_dicts()
    findings = judgement.findings.filter(mine)
    if not answers and findings.is_empty():
        raise AccountUnknown([account_id])
    history, notes = account_history(settings, account_id)
    return Explanation(
        account_id=account_id,
        story=story_of(str(answers[0]["state"]) if answers else None, findings.to_dicts()),
        as_of=as_of,
        source=source,
        policy_version=policy.version,
        observed_at=dict(status.observed_at()),
        answer=answers[0] if answers else {},
        stores=rows_by_store(judgement, account_id),
        invoices=invoice_explanations(judgement, payer_of(judgement, account_id), policy),
        account_rules=_account_rules(judgement, account_id, policy),
        findings=findings.to_dicts(),
        changes=changes(findings, judged.desired.lazy(), judged.facts, policy, as_of).to_dicts(),
        history=history,
        notes=notes,
    )


def payer_of(judgement: Judgement, account_id: str) -> str:
    """The account whose invoices count: a child takes its parent's result."""
    parents = judgement.judged.accounts.filter(account_id=account_id)["parent_account_id"].drop_nulls()
    return str(parents[0]) if len(parents) else account_id


def invoice_explanations(judgement: Judgement, account_id: str, policy: Policy) -> list[InvoiceExplanation]:
    """The account's invoices in both views, those that decide first."""
    judged = judgement.judged
    mine = judged.invoices.filter(account_id=account_id).sort("is_deciding", "rung", "finalized_at", descending=True)
    attempts = judged.attempts.filter(account_id=account_id)
    return [
        InvoiceExplanation(
            invoice["object_id"],
            invoice["view"],
            invoice["is_deciding"],
            bool(invoice["is_owed"]),
            rules_of_invoice(
                invoice,
                attempts.filter(ref=invoice["ref"]).to_dicts(),
                judged.hold_intervals.filter(ref=invoice["ref"]).to_dicts(),
                policy,
            ),
        )
        for invoice in mine.iter_rows(named=True)
    ]


def _account_rules(judgement: Judgement, account_id: str, policy: Policy) -> list[Rule]:
    judged = judgement.judged
    accounts = judged.accounts.filter(account_id=account_id).to_dicts()
    answers = judged.desired.filter(account_id=account_id).to_dicts()
    if not accounts or not answers:
        return []
    payer = payer_of(judgement, account_id)
    late = judged.invoices.filter(pl.col("account_id") == payer, pl.col("is_deciding"), pl.col("rung") > 0)
    return rules_of_account(answers[0], accounts[0], late.to_dicts(), policy)


def rows_by_store(judgement: Judgement, account_id: str) -> dict[str, dict[str, Rows]]:
    """The account's rows in every store: store → table → rows, empty tables left out."""
    facts = judgement.judged.facts
    ids = {
        "customer_id": judgement.judged.mapping.filter(account_id=account_id)["customer_id"].to_list(),
        "invoice_id": judgement.judged.invoices.filter(account_id=account_id)["invoice_id"].to_list(),
        "charge_id": judgement.judged.attempts.filter(account_id=account_id)["charge_id"].drop_nulls().to_list(),
    }
    rows_of: dict[str, dict[str, Rows]] = {}
    for name, table in TABLES.items():
        rows = _rows_of(facts[name], name, account_id, ids)
        if rows:
            rows_of.setdefault(table.store, {})[name] = rows
    return rows_of


def _rows_of(frame: pl.LazyFrame, name: str, account_id: str, ids: Mapping[str, list[str]]) -> Rows:
    columns = TABLES[name].columns
    if "account_id" in columns:
        mine = pl.col("account_id") == account_id
    elif name in BY_CUSTOMER:
        mine = pl.col("customer_id").is_in(ids["customer_id"])
    else:
        keys = [key for key in ("invoice_id", "charge_id") if key in columns]
        mine = pl.any_horizontal(pl.lit(False), *(pl.col(key).is_in(ids[key]) for key in keys))
    shown = [column for column in columns if column not in PLUMBING]
    return frame.filter(mine).select(shown).collect().to_dicts()


def account_history(settings: Settings, account_id: str) -> tuple[dict[str, Rows], list[str]]:
    """What the auditor has seen and done about the account before, where its schema can be read."""
    if not settings.subs_api_url:
        return {}, ["History is not shown: TRUEUP_SUBS_API_URL is not set."]
    try:
        return {name: rows.to_dicts() for name, rows in history_of(settings, account_id).items()}, []
    except TrueupError as fault:
        return {}, [f"History is not shown: {fault.message}"]
