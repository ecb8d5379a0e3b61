"""A live writer: the billing system going about its business while somebody audits it.

It is well behaved: every update adds 1 to the row's version and stamps it, and each payment that it makes reaches
Stripe first, then the ledger, then the recompute, a moment apart. In between the stores disagree, as real ones do for
seconds at a time; when the writer has stopped, every payment that it began is complete and the stores agree again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
import polars as pl
import psycopg

from trueup.sandbox.fleet import ids
from trueup.sandbox.fleet.fleet import Fleet
from trueup.stores.settings import DATABASES, libpq_url

_PAYABLE: Final = (
    "grace",
    "retrying",
    "final_notice",
)  # archetypes of the plainest kind: one open invoice, a card or debit
_STAMP: Final = "updated_at = now(), version = version + 1"


class Puttable(Protocol):
    """A Stripe sandbox whose objects may change while it serves."""

    def put(self, kind: str, *records: Mapping[str, Any]) -> None:
        """Takes objects as flat records, put or replaced."""


class LiveWriter:
    """Pays open invoices and touches rows, one account after another, while the context is open.

    Args:
        fleet: the fleet that was loaded; only undisturbed accounts of it are written.
        urls: database name → address.
        sandbox: the Stripe that was loaded with it.
        pause: seconds between two steps.
        seed: decides whose turn it is.
    """

    def __init__(
        self, fleet: Fleet, urls: Mapping[str, str], sandbox: Puttable, *, pause: float = 0.02, seed: int = 0
    ) -> None:
        self.paid: list[str] = []
        self.touched: list[str] = []
        self._fleet = fleet
        self._urls = urls
        self._sandbox = sandbox
        self._pause = pause
        self._rng = np.random.default_rng(seed)
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="live-writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if self._failure and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                connect: dict[str, psycopg.Connection] = {
                    name: stack.enter_context(psycopg.connect(libpq_url(self._urls[name]), autocommit=True))
                    for name in DATABASES
                }
                for account_id in self._turns():
                    self._pay(account_id, connect)
                    self._touch(connect["cf_prod"])
        except BaseException as failure:  # noqa: BLE001 - told to whoever closes the context
            self._failure = failure

    def _turns(self) -> Iterator[str]:
        """Payable accounts, until someone says stop or none is left. A parent's payment would be its children's too."""
        parents = self._fleet.frames["accounts"]["parent_account_id"].drop_nulls().unique()
        is_parent = pl.col("account_id").is_in(parents.implode())
        calm = ~pl.col("is_planted") & pl.col("archetype").is_in(_PAYABLE) & ~is_parent
        candidates = self._fleet.known.filter(calm)["account_id"].to_list()
        for place in self._rng.permutation(len(candidates)):
            if self._stopping.is_set():
                return
            yield candidates[place]

    def _pay(self, account_id: str, connect: Mapping[str, psycopg.Connection]) -> None:
        """The customer pays: in Stripe, then in the ledger, then in the recompute. Once begun it is finished."""
        payment = _Payment(self._fleet, account_id, self._rng)
        payment.in_stripe(self._sandbox)
        time.sleep(self._pause)
        payment.in_ledger(connect["billing_prod"])
        time.sleep(self._pause)
        payment.in_recompute(connect["subs_api"])
        self.paid.append(account_id)

    def _touch(self, connection: psycopg.Connection) -> None:
        """A write that changes nothing that anyone reads: somebody saved a form."""
        account_id = self._fleet.known["account_id"][int(self._rng.integers(len(self._fleet.known)))]
        connection.execute(f"UPDATE accounts SET {_STAMP} WHERE account_id = %s", [account_id])
        self.touched.append(account_id)


class _Payment:
    """One payment of an account's open invoice, as each store is told of it."""

    def __init__(self, fleet: Fleet, account_id: str, rng: np.random.Generator) -> None:
        frames = fleet.frames
        self.account_id = account_id
        self.at = datetime.now(UTC).replace(microsecond=0)
        self.ours = _row(frames["invoices"], account_id=account_id, status="open")
        invoice_id = self.ours["stripe_invoice_id"]
        self.invoice = _row(frames["stripe_invoices"], invoice_id=invoice_id)
        self.link = _row(frames["stripe_invoice_payments"], invoice_id=invoice_id)
        self.intent = _row(frames["stripe_payment_intents"], payment_intent_id=self.link["payment_intent_id"])
        self.subscription = _row(frames["stripe_subscriptions"], subscription_id=self.invoice["subscription_id"])
        last = _row(frames["stripe_charges"], charge_id=self.intent["latest_charge_id"])
        self.charge_id = ids.dated("ch", pl.Series([self.at]), rng)[0]
        self.charge = {
            **last,
            "charge_id": self.charge_id,
            "status": "succeeded",
            "amount": self.invoice["amount_due"],
            "created_at": self.at,
            **dict.fromkeys(("failure_code", "decline_code", "advice_code", "network_advice_code")),
        }

    def in_stripe(self, sandbox: Puttable) -> None:
        amount = self.invoice["amount_due"]
        paid = {"status": "paid", "amount_paid": amount, "paid_at": self.at}
        sandbox.put("charges", _plain(self.charge))
        sandbox.put(
            "payment_intents", _plain({**self.intent, "status": "succeeded", "latest_charge_id": self.charge_id})
        )
        sandbox.put("invoice_payments", _plain({**self.link, **paid}))
        closed = {"amount_remaining": 0, "auto_advance": False, "next_payment_attempt_at": None}
        sandbox.put("invoices", _plain({**self.invoice, **paid, **closed}))
        sandbox.put("subscriptions", _plain({**self.subscription, "status": "active"}))

    def in_ledger(self, connection: psycopg.Connection) -> None:
        with connection.transaction():
            connection.execute(
                "INSERT INTO charges (charge_id, account_id, invoice_id, stripe_charge_id, amount, amount_refunded,"
                " currency, status, trigger, attempted_at, effective_at, updated_at)"
                " VALUES (%s, %s, %s, %s, %s, 0, %s, 'succeeded', 'manual', %s, %s, now())",
                [
                    f"chg_live_{self.account_id}",
                    self.account_id,
                    self.ours["invoice_id"],
                    self.charge_id,
                    self.charge["amount"],
                    self.charge["currency"],
                    self.at,
                    self.at,
                ],
            )
            connection.execute(
                f"UPDATE invoices SET status = 'paid', amount_paid = amount_due, paid_at = %s, {_STAMP}"
                " WHERE invoice_id = %s",
                [self.at, self.ours["invoice_id"]],
            )
            connection.execute(
                f"UPDATE schedules SET status = 'canceled', {_STAMP} WHERE invoice_id = %s AND status = 'scheduled'",
                [self.ours["invoice_id"]],
            )
            connection.execute(
                f"UPDATE dunning_states SET state = 'good_standing', {_STAMP} WHERE account_id = %s", [self.account_id]
            )

    def in_recompute(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "UPDATE subs_dunning SET state = 'good_standing', attempt_count = 0, clock_started_on = NULL,"
            f" next_retry_at = NULL, driver_invoice_id = NULL, reason = NULL, computed_at = now(), {_STAMP}"
            " WHERE account_id = %s",
            [self.account_id],
        )


def _row(frame: pl.DataFrame, **where: object) -> dict[str, Any]:
    """The one row that has these values."""
    return frame.row(by_predicate=pl.all_horizontal(pl.col(name) == value for name, value in where.items()), named=True)


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A flat record with instants as Stripe writes them: whole seconds."""
    return {name: int(value.timestamp()) if isinstance(value, datetime) else value for name, value in record.items()}
