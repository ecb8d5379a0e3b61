"""A random world with the rest of the stores: what was stored of its accounts, some of it as it should be.

`tests.strategies` makes the rows that decide a state. Here come those that only findings look at: stored states and
their copy in the ledger, entitlements and products, schedules, events, customers that nobody maps to, charges on no
invoice, rows about accounts that nobody knows. About half of them agree with the engine, so that a rule that finds too
much is seen as well as one that finds too little.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import polars as pl

from tests.strategies import World
from trueup.contract import sweep
from trueup.contract.schemas import STATES, TABLES
from trueup.engine.engine import compute

Row = dict[str, Any]

FEATURES = ("api", "exports", "sso")
NOBODY = ("acct_of_nobody", "acct_of_nobody_else")


def populate(world: World) -> World:
    """The world with every table filled."""
    swept = sweep(world.snapshot, as_of=world.as_of, livemode=world.policy.livemode)
    desired = compute(swept.frames, world.policy, world.as_of, violations=swept.violations).desired.to_dicts()
    tables = {name: frame.collect().to_dicts() for name, frame in world.snapshot.items()}
    Populator(world, tables, desired).populate()
    frames = {name: pl.DataFrame(rows, schema=TABLES[name].schema).lazy() for name, rows in tables.items()}
    return replace(world, snapshot=frames)


class Populator:
    """Fills the tables of one world."""

    def __init__(self, world: World, tables: dict[str, list[Row]], desired: list[Row]) -> None:
        self.rng = Random(f"populated {world.seed}")  # noqa: S311 - a seeded world, not a secret
        self.world = world
        self.as_of = world.as_of
        self.tables = tables
        self.desired = {row["account_id"]: row for row in desired}
        self.serial = 0

    def populate(self) -> None:
        self._products()
        for account in list(self.tables["accounts"]):
            self._account(account)
        self._strangers()
        for invoice in list(self.tables["invoices"]):
            self._schedules(invoice)
        for customer in list(self.tables["stripe_customers"]):
            self._customer(customer)
        self._mandates()
        self._subscriptions()
        self._refunds()
        self._credit_notes()
        self._billed_periods()
        self._orphan_charges()

    def put(self, table: str, **values: Any) -> None:
        row = {column: values.get(column) for column in TABLES[table].columns}
        if "version" in row:
            row |= {"version": 1, "updated_at": row["updated_at"] or self.as_of - timedelta(days=1)}
        self.tables[table].append(row)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def new_id(self, prefix: str) -> str:
        self.serial += 1
        return f"{prefix}_{self.rng.randrange(1000):03}f{self.world.seed}_{self.serial}"

    def around(self, span: timedelta) -> Any:
        """Just before, on or just after the instant that lies so far back from T."""
        step = self.rng.choice(
            (timedelta(0), timedelta(microseconds=1), timedelta(hours=9), -timedelta(microseconds=1))
        )
        return self.as_of - span - step

    # What is kept of an account.

    def _products(self) -> None:
        for plan, features in (("basic", ["api"]), ("pro", ["api", "sso"]), ("bare", [])):
            self.put("products", plan_code=plan, amount=100, currency="usd", interval="month", features=features)

    def _account(self, account: Row) -> None:
        account_id = account["account_id"]
        account["plan_code"] = self.rng.choice(("basic", "basic", "pro", "bare", "plan_of_tomorrow", None))
        account["status"] = self.rng.choice(("active", "active", "active", "suspended", "closed"))
        desired = self.desired.get(account_id, {"state": "good_standing"})
        self._stored(account_id, desired)
        if self.chance(0.7):
            state = desired["state"] if self.chance(0.8) else self.rng.choice(STATES)
            self.put("dunning_states", account_id=account_id, state=state)
        for feature in FEATURES:
            if self.chance(0.4):
                self._entitlement(account_id, feature)
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            self._event(account_id)

    def _stored(self, account_id: str, desired: Row) -> None:
        rows = [row for row in self.tables["subs_dunning"] if row["account_id"] == account_id]
        if not rows:
            if self.chance(0.4):
                return
            self.put("subs_dunning", account_id=account_id)
            rows = self.tables["subs_dunning"][-1:]
        row = rows[0]
        row["state"] = desired["state"] if self.chance(0.7) else self.rng.choice(STATES)
        row["attempt_count"] = desired.get("attempt_count", 0)
        for column in ("clock_started_on", "next_retry_at", "driver_invoice_id"):
            row[column] = desired.get(column)
        if self.chance(0.1):
            row["attempt_count"] += 1
        if self.chance(0.1):
            row[self.rng.choice(("clock_started_on", "next_retry_at", "driver_invoice_id"))] = None
        if row["next_retry_at"] is not None and self.chance(0.1):
            row["next_retry_at"] += timedelta(microseconds=1)

    def _entitlement(self, account_id: str, feature: str) -> None:
        granted_at = self.as_of + timedelta(hours=1) if self.chance(0.05) else self.as_of - timedelta(days=90)
        active = self.chance(0.6)
        self.put(
            "entitlements",
            account_id=account_id,
            feature=feature,
            active=active,
            granted_at=granted_at,
            revoked_at=None if active else self.as_of - timedelta(days=1),
        )

    def _event(self, account_id: str | None) -> None:
        received_at = self.as_of + timedelta(hours=1) if self.chance(0.05) else self.around(timedelta(hours=1))
        status = self.rng.choice(("pending", "stuck", "stuck", "resolved", "dead"))
        self.put(
            "subs_stuck_events",
            event_id=self.new_id("evt"),
            account_id=account_id,
            type="invoice.paid",
            is_well_formed=self.chance(0.85),
            status=status,
            attempts=1,
            received_at=received_at,
            resolved_at=received_at if status == "resolved" else None,
        )

    def _strangers(self) -> None:
        """Rows about accounts that cf_prod does not know, and events about nobody."""
        for account_id in NOBODY:
            stored = {"state": self.rng.choice(STATES), "attempt_count": 0}
            self.put("subs_dunning", account_id=account_id, **stored)
            self.put(
                "entitlements", account_id=account_id, feature="api", active=True, granted_at=self.around(timedelta(1))
            )
            self.put("dunning_states", account_id=account_id, state=self.rng.choice(STATES))
            self._event(account_id)
            self._event(None)
            for customer in self.rng.sample(
                self.tables["stripe_customers"], min(4, len(self.tables["stripe_customers"]))
            ):
                self.put(
                    "subs_customer",
                    id=9_000_000_000 + self.world.seed * 1000 + self.serial + len(self.tables["subs_customer"]),
                    account_id=account_id,
                    stripe_customer_id=customer["customer_id"],
                    livemode=self.world.policy.livemode,
                    created_by="A1",
                    created_at=self.as_of - timedelta(days=20),
                )
        for invoice in self.tables["invoices"]:
            if self.chance(0.01):
                invoice["account_id"] = self.rng.choice(
                    (*NOBODY, self.rng.choice(self.tables["accounts"])["account_id"])
                )

    # What is kept of invoices, customers, mandates and subscriptions.

    def _schedules(self, invoice: Row) -> None:
        for _ in range(self.rng.choice((0, 0, 0, 1, 2))):
            self.put(
                "schedules",
                schedule_id=self.new_id("sch"),
                account_id=invoice["account_id"],
                invoice_id="inv_of_nobody" if self.chance(0.03) else invoice["invoice_id"],
                attempt_number=1,
                retry_at=self.as_of + timedelta(days=self.rng.choice((-2, 1, 3))),
                owner=self.rng.choice(("internal", "internal", "stripe")),
                status=self.rng.choice(("scheduled", "scheduled", "done", "canceled")),
            )

    def _customer(self, customer: Row) -> None:
        customer_id = customer["customer_id"]
        owners = [row["account_id"] for row in self.tables["subs_customer"] if row["stripe_customer_id"] == customer_id]
        some = [None, None, *owners, *owners, *owners, "acct_of_nobody"]
        customer["metadata_account_id"] = self.rng.choice(some)
        if self.chance(0.04):
            customer["livemode"] = not self.world.policy.livemode
        for _ in range(self.rng.choice((0, 0, 0, 1))):
            self._loose_charge(customer_id)

    def _loose_charge(self, customer_id: str) -> None:
        charge_id, amount = self.new_id("ch"), self.rng.choice((0, 100))
        self.put(
            "stripe_charges",
            charge_id=charge_id,
            customer_id=customer_id,
            status=self.rng.choice(("succeeded", "succeeded", "succeeded", "failed", "pending")),
            amount=amount,
            amount_refunded=0,
            currency="usd",
            created_at=self.as_of + timedelta(hours=1) if self.chance(0.05) else self.around(timedelta(days=1)),
            livemode=self.world.policy.livemode,
        )

    def _mandates(self) -> None:
        theirs = {row["mandate_id"]: row for row in self.tables["stripe_mandates"]}
        for row in self.tables["subs_mandate"]:
            mandate = theirs.get(row["stripe_mandate_id"])
            if mandate is not None and self.chance(0.6):
                row["status"], row["network_status"] = mandate["status"], mandate["network_status"]
                if self.chance(0.1):
                    row["network_status"] = self.rng.choice((None, "accepted", "revoked"))

    def _subscriptions(self) -> None:
        prices = (None, [], ["price_1"], ["price_1", "price_1"], ["price_1", "price_2"], ["price_3"], ["price_2"])
        for row in self.tables["stripe_subscriptions"]:
            row["price_ids"] = self.rng.choice(prices)

    def _refunds(self) -> None:
        for row in self.tables["charges"]:
            if row["status"] == "succeeded" and self.chance(0.1):
                row["amount_refunded"] = self.rng.choice((0, row["amount"]))

    def _billed_periods(self) -> None:
        """What invoices bill: often the same item from the same instant, seldom nothing, and sometimes no lines."""
        periods = (None, [], ["si_1@100"], ["si_1@100", "si_2@100"], ["si_2@100", "si_2@100"], ["si_1@200"])
        for row in self.tables["stripe_invoices"]:
            row["billed_periods"] = self.rng.choice(periods)
            if self.chance(0.5):
                row["billing_reason"] = "subscription_cycle"

    def _orphan_charges(self) -> None:
        for row in self.tables["charges"]:
            if self.chance(0.02):
                row["invoice_id"] = "inv_of_nobody"

    def _credit_notes(self) -> None:
        """Credit notes as large as a lost dispute, or just not, beside refunds that want one too."""
        intents = {row["charge_id"]: row["payment_intent_id"] for row in self.tables["stripe_charges"]}
        for dispute in self.tables["stripe_disputes"]:
            if dispute["status"] != "lost" or self.chance(0.5):
                continue
            charge_id = dispute["charge_id"]
            for payment in self.tables["stripe_invoice_payments"]:
                ways = (payment["charge_id"], payment["payment_intent_id"])
                if charge_id not in ways and (intents.get(charge_id) or "none") not in ways:
                    continue
                amount = max(0, dispute["amount"] + self.rng.choice((-1, 0, 0, 1)))
                self.put(
                    "stripe_credit_notes",
                    credit_note_id=self.new_id("cn"),
                    invoice_id=payment["invoice_id"],
                    status="issued",
                    amount=amount,
                    post_payment_amount=amount,
                    pre_payment_amount=0,
                    currency=dispute["currency"],
                    created_at=self.as_of - timedelta(hours=1),
                    livemode=self.world.policy.livemode,
                )
