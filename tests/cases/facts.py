"""Facts: the rows that a story leaves in six stores.

A story tells only what matters to it. What it leaves unsaid is filled in here so that nothing else disagrees: an
account exists, has its flags and what its plan grants; where Stripe collects, it maps to a customer with a card, and
both views of the money hold the same invoices and attempts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from tests.cases.stories import COLUMNS, Row, Story, refuse_unknown
from trueup.contract.schemas import TABLES, Snapshot

_LONG_AGO: Final = timedelta(days=400)


class Facts:
    """The rows that a story leaves in the stores."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.in_stripe = story.told.get("collected_by", "us") == "stripe"
        self.rows: dict[str, list[Row]] = {name: [] for name in TABLES}
        self.invoices = {row["id"]: row for row in story.rows("invoices")}
        self.subscribed = {row["account"] for row in story.rows("subscriptions")}
        self.first = min(self._instants(), default=datetime(2024, 1, 1, tzinfo=UTC))
        self._tell()

    @property
    def tags(self) -> pl.LazyFrame:
        """account_id, tag: what a Kill Bill operator would have tagged; none of the six stores has such a table."""
        pairs = [(row["account"], tag) for row in self.story.rows("accounts") for tag in row["tags"]]
        return pl.LazyFrame(pairs, schema={"account_id": pl.String, "tag": pl.String}, orient="row")

    @property
    def snapshot(self) -> Snapshot:
        return {
            name: pl.DataFrame(rows, schema=TABLES[name].schema, orient="row").lazy()
            for name, rows in self.rows.items()
        }

    def _tell(self) -> None:
        for table in ("accounts", "subscriptions", "cards", "mandates", "invoices"):
            for row in self._accounts() if table == "accounts" else self.story.rows(table):
                getattr(self, f"_{table}_row")(row)
        for table in ("attempts", "payments", "credit_notes", "disputes", "schedules"):
            for number, row in enumerate(self.story.rows(table)):
                getattr(self, f"_{table}_row")(row, f"{table}_{number:02}", self.invoices[row["invoice"]])
        if self.rows["accounts"]:
            self._put("products", plan_code="basic", amount=1000, currency="usd", interval="month", features=["pages"])

    def _instants(self) -> Iterator[datetime]:
        for invoice in self.invoices.values():
            yield from (invoice[at] for at in ("on", "due", "paid_at") if invoice[at])
        yield from (row["at"] for row in self.story.rows("attempts"))
        yield from (day.as_of for day in self.story.days)

    def _accounts(self) -> list[Row]:
        """Those that have a row, and those that are only named."""
        told = {row["account"]: row for row in self.story.rows("accounts")}
        named = [row["account"] for table in ("invoices", "subscriptions") for row in self.story.rows(table)]
        named += [day.account for day in self.story.days]
        return [told.get(name, {**COLUMNS["accounts"], "account": name}) for name in dict.fromkeys([*told, *named])]

    def _put(self, table: str, **values: Any) -> None:
        defaults = {
            "updated_at": self.first - _LONG_AGO,
            "version": 1,
            "livemode": True,
            "created_at": self.first - _LONG_AGO,
        }
        known = TABLES[table].columns
        row = {**{name: value for name, value in defaults.items() if name in known}, **values}
        refuse_unknown(row, known, table)
        self.rows[table].append({name: row.get(name) for name in known})

    def _accounts_row(self, row: Row) -> None:
        account = row["account"]
        self._put(
            "accounts",
            account_id=account,
            country="US",
            currency="usd",
            timezone=row["timezone"],
            status=row["status"],
            plan_code="basic",
            parent_account_id=row["parent"],
        )
        self._put("subs_account", account_id=account, bad_debt=False, dunning_exempt=row["is_exempt"], updated_by="A1")
        self._put("entitlements", account_id=account, feature="pages", active=row["is_entitled"])
        if row["stored_state"]:
            self._put("subs_dunning", account_id=account, state=row["stored_state"], attempt_count=0)
        if self.in_stripe:
            self._customer(account, has_card=row["has_card"])

    def _customer(self, account: str, *, has_card: bool) -> None:
        number = len(self.rows["subs_customer"])
        self._put("subs_customer", id=number, account_id=account, stripe_customer_id=f"cus_{account}", created_by="A1")
        self._put(
            "stripe_customers",
            customer_id=f"cus_{account}",
            is_deleted=False,
            metadata_account_id=account,
            default_payment_method_id=f"card_{account}" if has_card else None,
        )
        if has_card:
            self._method(account, f"card_{account}", "card", self.first - _LONG_AGO)

    def _method(self, account: str, method_id: str, kind: str, came: datetime) -> None:
        self._put(
            "stripe_payment_methods",
            payment_method_id=method_id,
            customer_id=f"cus_{account}",
            type=kind,
            created_at=came,
        )
        for customer in self.rows["stripe_customers"]:
            if customer["customer_id"] == f"cus_{account}":
                customer["default_payment_method_id"] = method_id

    def _cards_row(self, row: Row) -> None:
        self._method(row["account"], row["id"], "card", row["came"])

    def _mandates_row(self, row: Row) -> None:
        method_id = f"debit_{row['account']}"
        self._method(row["account"], method_id, row["type"], self.first - _LONG_AGO)
        self._put(
            "subs_mandate",
            mandate_id=f"m_{row['account']}",
            account_id=row["account"],
            stripe_mandate_id=f"mandate_{row['account']}",
            stripe_payment_method_id=method_id,
            type=row["type"],
            status=row["our_status"],
            network_status=row["our_network_status"],
        )
        self._put(
            "stripe_mandates",
            mandate_id=f"mandate_{row['account']}",
            payment_method_id=method_id,
            payment_method_type=row["type"],
            status=row["status"],
            network_status=row["network_status"],
            accepted_at=self.first - _LONG_AGO,
        )

    def _subscriptions_row(self, row: Row) -> None:
        self._put(
            "stripe_subscriptions",
            subscription_id=f"sub_{row['account']}",
            customer_id=f"cus_{row['account']}",
            status=row["status"],
            ended_at=row["ended_at"],
            canceled_at=row["ended_at"],
            price_ids=["price_basic"],
        )

    def _invoices_row(self, row: Row) -> None:
        account = row["account"]
        shared = {
            "status": _status(row),
            "billing_reason": row["billing_reason"],
            "collection_method": "send_invoice" if row["due"] else "charge_automatically",
            "uncollectible_reason": row["written_off_for"],
            "currency": row["currency"],
            "amount_due": row["amount"],
            "amount_paid": row["amount"] if row["paid_at"] else 0,
            "attempt_count": 0,
            "due_at": row["due"],
            "finalized_at": row["on"],
            "paid_at": row["paid_at"],
            "voided_at": row["voided_at"],
            "uncollectible_at": row["written_off_at"],
            "effective_at": row["on"],
        }
        subscription_id = f"sub_{account}" if account in self.subscribed else None
        self._put(
            "invoices",
            invoice_id=row["id"] if not self.in_stripe else f"book_{row['id']}",
            account_id=account,
            stripe_invoice_id=row["id"] if self.in_stripe else None,
            stripe_subscription_id=subscription_id,
            **shared,
        )
        if self.in_stripe:
            self._put(
                "stripe_invoices",
                invoice_id=row["id"],
                customer_id=f"cus_{account}",
                subscription_id=subscription_id,
                amount_remaining=0 if row["paid_at"] else row["amount"],
                attempted=any(attempt["invoice"] == row["id"] for attempt in self.story.rows("attempts")),
                auto_advance=True,
                next_payment_attempt_at=row["next_attempt_at"],
                metadata_invoice_id=f"book_{row['id']}",
                created_at=row["on"],
                **shared,
            )

    def _attempts_row(self, row: Row, name: str, invoice: Row) -> None:
        for turn in range(row["times"]):
            at = row["at"] + timedelta(days=turn * row["every_days"])
            self._attempt(row, f"{name}_{turn:02}", invoice, at)

    def _attempt(self, row: Row, charge_id: str, invoice: Row, at: datetime) -> None:
        has_failed = row["code"] is not None or row["network_advice"] is not None
        shared = {
            "amount": row["amount"] or invoice["amount"],
            "amount_refunded": row["refunded"],
            "currency": invoice["currency"],
            "status": "failed" if has_failed else "succeeded",
            "decline_code": row["code"],
        }
        self._put(
            "charges",
            charge_id=f"book_{charge_id}" if self.in_stripe else charge_id,
            account_id=invoice["account"],
            invoice_id=f"book_{row['invoice']}" if self.in_stripe else row["invoice"],
            stripe_charge_id=charge_id if self.in_stripe else None,
            trigger=row["trigger"],
            attempted_at=at,
            effective_at=at,
            updated_at=row["refunded_at"] or at,
            **shared,
        )
        if self.in_stripe:
            method = row["method"] or f"card_{invoice['account']}"
            self._payment(
                charge_id, row["invoice"], at, charge_id=charge_id, paid=0 if has_failed else shared["amount"]
            )
            self._put(
                "stripe_charges",
                charge_id=charge_id,
                customer_id=f"cus_{invoice['account']}",
                payment_method_id=method,
                payment_method_type="card",
                network_advice_code=row["network_advice"],
                created_at=at,
                **shared,
            )

    def _payment(self, name: str, invoice_id: str, at: datetime, *, paid: int, **through: Any) -> None:
        self._put(
            "stripe_invoice_payments",
            invoice_payment_id=f"inpay_{name}",
            invoice_id=invoice_id,
            status="paid" if paid else "open",
            amount_paid=paid,
            created_at=at,
            paid_at=at if paid else None,
            payment_type=next(iter(through)).removesuffix("_id"),
            **through,
        )

    def _payments_row(self, row: Row, name: str, invoice: Row) -> None:
        self._payment(name, invoice["id"], row["at"], paid=row["amount"], payment_intent_id=row["intent"])
        self.rows["stripe_invoice_payments"][-1]["paid_at"] = row["paid_at"]

    def _credit_notes_row(self, row: Row, name: str, invoice: Row) -> None:
        """Against an open invoice: Stripe takes it off what is due, and gives it back when it is voided."""
        self._put(
            "stripe_credit_notes",
            credit_note_id=name,
            invoice_id=invoice["id"],
            customer_id=f"cus_{invoice['account']}",
            status="void" if row["voided_at"] else "issued",
            amount=row["amount"],
            pre_payment_amount=row["amount"],
            post_payment_amount=0,
            currency=invoice["currency"],
            created_at=row["at"],
            voided_at=row["voided_at"],
        )
        if not row["voided_at"]:
            for table in ("invoices", "stripe_invoices"):
                for copy in self.rows[table]:
                    if invoice["id"] in (copy["invoice_id"], copy.get("stripe_invoice_id")):
                        copy["amount_due"] -= row["amount"]
                        if "amount_remaining" in copy:
                            copy["amount_remaining"] -= row["amount"]

    def _disputes_row(self, row: Row, name: str, invoice: Row) -> None:
        """About the invoice's latest payment."""
        charge = next(charge for charge in reversed(self.rows["charges"]) if invoice["id"] in charge["invoice_id"])
        self._put(
            "stripe_disputes",
            dispute_id=name,
            charge_id=charge["stripe_charge_id"],
            status=row["status"],
            amount=invoice["amount"],
            currency=invoice["currency"],
            created_at=row["at"],
            balance_transaction_ats=[row["at"]],
        )
        if row["closed_at"]:
            self._put(
                "stripe_events",
                event_id=f"evt_{name}",
                type="charge.dispute.closed",
                object_id=name,
                customer_id=f"cus_{invoice['account']}",
                created_at=row["closed_at"],
            )

    def _schedules_row(self, row: Row, name: str, invoice: Row) -> None:
        self._put(
            "schedules",
            schedule_id=name,
            account_id=invoice["account"],
            invoice_id=f"book_{invoice['id']}" if self.in_stripe else invoice["id"],
            attempt_number=1,
            retry_at=row["retry_at"],
            owner="internal",
            status="scheduled",
        )


def _status(invoice: Row) -> str:
    """As it is now; what it was on a day, the engine tells from the transitions."""
    if invoice["on"] is None:
        return "draft"
    transitions = {"void": "voided_at", "paid": "paid_at", "uncollectible": "written_off_at"}
    return next((status for status, at in transitions.items() if invoice[at]), "open")
