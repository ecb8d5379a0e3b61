"""A tiny consistent fleet: three accounts on which all stores agree, so that a test can spoil one thing.

`paid` pays its invoices, `late` has an open one with two failed attempts (so it is retrying), `parent_child`… are
added by the tests that need them. Rows are plain dictionaries: a test changes one and asks what is found. `settle`
writes what the engine says into the stored dunning rows, as the recompute would, so that only what is spoilt
afterwards differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl

from trueup.contract import sweep
from trueup.contract.schemas import STORES, TABLES, Snapshot
from trueup.drift import find
from trueup.engine.engine import Judged, compute
from trueup.engine.policy import Policy, parse_policy

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=200)
READ_AT = dict.fromkeys(STORES, NOW + timedelta(seconds=30))
FEATURES = ["api", "seats"]

Row = dict[str, Any]


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@dataclass
class World:
    """Rows of all tables, by name."""

    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in TABLES})
    policy: Policy = field(default_factory=lambda: parse_policy({}))

    def add(self, table: str, **values: Any) -> Row:
        columns = TABLES[table].columns
        row = (
            dict.fromkeys(columns)
            | ({"updated_at": days_ago(30), "version": 1} if "version" in columns else {})
            | values
        )
        self.tables[table].append(row)
        return row

    def row(self, table: str, key: str) -> Row:
        return next(
            row for row in self.tables[table] if row[TABLES[table].key[-1]] == key or row.get("account_id") == key
        )

    def drop(self, table: str, **values: Any) -> None:
        self.tables[table] = [r for r in self.tables[table] if any(r[name] != value for name, value in values.items())]

    # What accounts are made of ----------------------------------------------------------------------------------

    def account(self, account: str, **values: Any) -> Row:
        """An active account with its flags and its entitlements, nothing in billing."""
        self.add("subs_account", account_id=account, bad_debt=False, dunning_exempt=False, updated_by="A1")
        for feature in FEATURES:
            self.add("entitlements", account_id=account, feature=feature, active=True, granted_at=LONG_AGO)
        facts = {"currency": "usd", "status": "active", "plan_code": "pro", "created_at": LONG_AGO}
        return self.add("accounts", account_id=account, **(facts | values))

    def customer(self, account: str, customer: str | None = None) -> str:
        """A Stripe customer that maps to the account, with a card and a live subscription."""
        name = customer or f"cus_{account}"
        self.add(
            "subs_customer",
            id=len(self.tables["subs_customer"]) + 1,
            account_id=account,
            stripe_customer_id=name,
            livemode=True,
            created_by="A1",
            created_at=LONG_AGO,
        )
        self.add(
            "stripe_customers",
            customer_id=name,
            created_at=LONG_AGO,
            livemode=True,
            is_deleted=False,
            metadata_account_id=account,
            default_payment_method_id=f"pm_{name}",
        )
        self.add(
            "stripe_payment_methods",
            payment_method_id=f"pm_{name}",
            customer_id=name,
            type="card",
            created_at=LONG_AGO,
            exp_month=12,
            exp_year=2030,
        )
        return name

    def subscription(self, customer: str, name: str | None = None, price: str = "price_pro", **values: Any) -> Row:
        facts = {
            "status": "active",
            "created_at": LONG_AGO,
            "livemode": True,
            "collection_method": "charge_automatically",
        }
        return self.add(
            "stripe_subscriptions",
            subscription_id=name or f"sub_{customer}",
            customer_id=customer,
            price_ids=[price],
            **(facts | values),
        )

    def invoice(self, account: str, name: str, *, amount: int = 1000, at: datetime, customer: str | None = None) -> Row:
        """An open invoice in Stripe and in the ledger; Stripe's row comes back."""
        customer = customer or f"cus_{account}"
        self.add(
            "invoices",
            invoice_id=f"inv_{name}",
            account_id=account,
            stripe_invoice_id=f"in_{name}",
            stripe_subscription_id=f"sub_{customer}",
            billing_reason="subscription_cycle",
            status="open",
            collection_method="charge_automatically",
            currency="usd",
            amount_due=amount,
            amount_paid=0,
            attempt_count=0,
            finalized_at=at,
            effective_at=at,
        )
        return self.add(
            "stripe_invoices",
            invoice_id=f"in_{name}",
            customer_id=customer,
            subscription_id=f"sub_{customer}",
            status="open",
            billing_reason="subscription_cycle",
            collection_method="charge_automatically",
            currency="usd",
            amount_due=amount,
            amount_paid=0,
            amount_remaining=amount,
            attempt_count=0,
            attempted=False,
            auto_advance=True,
            created_at=at,
            finalized_at=at,
            livemode=True,
            metadata_invoice_id=f"inv_{name}",
        )

    def outside_invoice(self, account: str, name: str, *, amount: int = 1000, at: datetime, **values: Any) -> Row:
        """An open invoice that is collected outside Stripe."""
        facts = {"status": "open", "collection_method": "send_invoice", "due_at": at + timedelta(days=14)}
        return self.add(
            "invoices",
            invoice_id=f"inv_{name}",
            account_id=account,
            billing_reason="manual",
            currency="usd",
            amount_due=amount,
            amount_paid=0,
            attempt_count=0,
            finalized_at=at,
            effective_at=at,
            **(facts | values),
        )

    def attempt(
        self, name: str, charge: str, *, at: datetime, status: str = "failed", code: str | None = "insufficient_funds"
    ) -> Row:
        """A charge for an invoice, in Stripe and in the ledger; Stripe's row comes back."""
        invoice = next(row for row in self.tables["stripe_invoices"] if row["invoice_id"] == f"in_{name}")
        failed = status == "failed"
        self.add(
            "charges",
            charge_id=f"chg_{charge}",
            account_id=next(r["account_id"] for r in self.tables["invoices"] if r["invoice_id"] == f"inv_{name}"),
            invoice_id=f"inv_{name}",
            stripe_charge_id=f"ch_{charge}",
            amount=invoice["amount_due"],
            amount_refunded=0,
            currency="usd",
            status=status,
            trigger="scheduled",
            decline_code=code if failed else None,
            attempted_at=at,
            effective_at=at,
        )
        intent = f"pi_{charge}"
        self.add(
            "stripe_payment_intents",
            payment_intent_id=intent,
            customer_id=invoice["customer_id"],
            status="succeeded" if status == "succeeded" else "requires_payment_method",
            amount=invoice["amount_due"],
            currency="usd",
            created_at=at,
            latest_charge_id=f"ch_{charge}",
            livemode=True,
        )
        self.add(
            "stripe_invoice_payments",
            invoice_payment_id=f"inpay_{charge}",
            invoice_id=f"in_{name}",
            status="paid" if status == "succeeded" else "open",
            amount_paid=invoice["amount_due"] if status == "succeeded" else None,
            amount_requested=invoice["amount_due"],
            currency="usd",
            created_at=at,
            paid_at=at if status == "succeeded" else None,
            payment_type="payment_intent",
            payment_intent_id=intent,
            livemode=True,
        )
        invoice["attempted"] = True
        return self.add(
            "stripe_charges",
            charge_id=f"ch_{charge}",
            customer_id=invoice["customer_id"],
            payment_intent_id=intent,
            status=status,
            amount=invoice["amount_due"],
            amount_refunded=0,
            currency="usd",
            created_at=at,
            payment_method_id=f"pm_{invoice['customer_id']}",
            payment_method_type="card",
            decline_code=code if failed else None,
            livemode=True,
        )

    def pay(self, name: str, charge: str, *, at: datetime) -> None:
        """The invoice is paid by a charge, on both sides."""
        self.attempt(name, charge, at=at, status="succeeded")
        self.row("stripe_invoices", f"in_{name}").update(status="paid", paid_at=at, amount_remaining=0)
        stripe = self.row("stripe_invoices", f"in_{name}")
        stripe["amount_paid"] = stripe["amount_due"]
        self.row("invoices", f"inv_{name}").update(status="paid", paid_at=at, amount_paid=stripe["amount_due"])

    def refund(self, charge: str, amount: int, *, at: datetime, credited: bool = True) -> None:
        """Money goes back, on both sides, with a credit note on both unless told otherwise."""
        self.add(
            "stripe_refunds",
            refund_id=f"re_{charge}",
            charge_id=f"ch_{charge}",
            payment_intent_id=f"pi_{charge}",
            status="succeeded",
            amount=amount,
            currency="usd",
            created_at=at,
        )
        self.row("charges", f"chg_{charge}")["amount_refunded"] += amount
        self.row("stripe_charges", f"ch_{charge}")["amount_refunded"] += amount
        if credited:
            self.credit(self.row("charges", f"chg_{charge}")["invoice_id"].removeprefix("inv_"), amount, at=at)

    def credit(self, name: str, amount: int, *, at: datetime) -> None:
        """A credit note after payment, on both sides."""
        self.add("credit_notes", credit_note_id=f"cn_{name}", invoice_id=f"inv_{name}", amount=amount, created_at=at)
        self.add(
            "stripe_credit_notes",
            credit_note_id=f"cn_{name}",
            invoice_id=f"in_{name}",
            customer_id=self.row("stripe_invoices", f"in_{name}")["customer_id"],
            status="issued",
            amount=amount,
            post_payment_amount=amount,
            pre_payment_amount=0,
            currency="usd",
            created_at=at,
            livemode=True,
        )

    def dispute(self, charge: str, status: str, *, at: datetime, closed_at: datetime | None = None) -> None:
        amount = self.row("stripe_charges", f"ch_{charge}")["amount"]
        self.add(
            "stripe_disputes",
            dispute_id=f"dp_{charge}",
            charge_id=f"ch_{charge}",
            status=status,
            amount=amount,
            currency="usd",
            created_at=at,
            balance_transaction_ats=[at] if closed_at is None else [at, closed_at],
            livemode=True,
        )

    def mandate(self, account: str, method: str, *, ours: str, stripes: str, type_: str = "sepa_debit") -> None:
        self.add(
            "subs_mandate",
            mandate_id=f"md_{account}",
            account_id=account,
            stripe_mandate_id=f"mandate_{account}",
            stripe_payment_method_id=method,
            type=type_,
            status=ours,
        )
        self.add(
            "stripe_mandates",
            mandate_id=f"mandate_{account}",
            payment_method_id=method,
            payment_method_type=type_,
            status=stripes,
            accepted_at=LONG_AGO,
            livemode=True,
        )

    def stuck_event(self, event: str, account: str | None, **values: Any) -> Row:
        facts = {
            "status": "stuck",
            "attempts": 3,
            "received_at": days_ago(1),
            "is_well_formed": True,
            "type": "invoice.paid",
        }
        return self.add("subs_stuck_events", event_id=event, account_id=account, **(facts | values))

    # What is done with them -------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        return {name: pl.DataFrame(rows, schema=TABLES[name].schema).lazy() for name, rows in self.tables.items()}

    def judged(self, as_of: datetime = NOW) -> tuple[Judged, pl.DataFrame]:
        swept = sweep(self.snapshot(), as_of=as_of)
        return compute(swept.frames, self.policy, as_of, violations=swept.violations), swept.violations

    def settle(self) -> World:
        """Store what the engine says, everywhere it is stored; give or take access to match."""
        judged, _ = self.judged()
        for table in ("subs_dunning", "dunning_states"):
            self.tables[table].clear()
        for answer in judged.desired.to_dicts():
            account, state = answer["account_id"], answer["state"]
            if state != "good_standing":
                self.add(
                    "subs_dunning",
                    account_id=account,
                    state=state,
                    computed_at=days_ago(0.1),
                    **{
                        name: answer[name]
                        for name in ("attempt_count", "clock_started_on", "next_retry_at", "driver_invoice_id")
                    },
                )
                self.add("dunning_states", account_id=account, state=state)
            for row in self.tables["subs_account"]:
                if row["account_id"] == account:
                    row["bad_debt"] = bool(answer["bad_debt"])
            for row in self.tables["entitlements"]:
                if row["account_id"] == account:
                    row["active"] = answer["has_access"] is not False
        return self

    def findings(self, as_of: datetime = NOW, **options: Any) -> pl.DataFrame:
        judged, violations = self.judged(as_of)
        read_at: Mapping[str, datetime] = options.pop("observed_at", READ_AT)
        return find(judged, self.policy, as_of, violations=violations, observed_at=read_at, **options)

    def found(self, as_of: datetime = NOW) -> list[tuple[str | None, str, str | None]]:
        """(account, code, object) of every finding."""
        return self.findings(as_of).select("account_id", "code", "object_id").rows()


def make_world(**policy: Any) -> World:
    """`paid` paid all its invoices, `late` is retrying, and both have all that an account should have."""
    return deepcopy(_usual()) if not policy else _made(policy)


@cache
def _usual() -> World:
    return _made({})


def _made(policy: dict[str, Any]) -> World:
    world = World(policy=parse_policy(policy))
    world.add("products", plan_code="pro", amount=1000, currency="usd", interval="month", features=FEATURES)
    for account in ("paid", "late"):
        world.account(account)
        world.customer(account)
        world.subscription(f"cus_{account}")
        world.invoice(account, f"{account}_1", at=days_ago(40))
        world.pay(f"{account}_1", f"{account}_1", at=days_ago(40))
    late = world.invoice("late", "late_2", at=days_ago(4))
    world.attempt("late_2", "late_2a", at=days_ago(4))
    world.attempt("late_2", "late_2b", at=days_ago(1))
    late["attempt_count"] = 2
    return world.settle()
