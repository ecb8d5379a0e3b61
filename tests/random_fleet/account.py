"""A random account: its row, flags, customers, instruments, mandates, subscriptions, and when things happen to it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from tests.random_fleet.chances import ADVICE, DEBIT_TYPES, DECLINES, METHOD_TYPES, SUBSCRIPTION_STATUSES, TIMEZONES
from tests.random_fleet.fleet import Fleet
from tests.random_fleet.invoice import Invoice
from tests.random_fleet.ledger import Ledger

Row = dict[str, Any]


class Maker:
    """Makes one account with all that belongs to it."""

    def __init__(self, rng: Random, fleet: Fleet, account_id: str, ids: list[str]) -> None:
        self.rng = rng
        self.fleet = fleet
        self.policy = fleet.policy
        self.as_of = fleet.as_of
        self.account_id = account_id
        self.ids = ids
        self.timezone = rng.choice(TIMEZONES)
        self.zone = ZoneInfo(self.timezone or self.policy.timezone)
        self.today = self.as_of.astimezone(self.zone).date()
        self.methods: dict[str | None, str] = {}
        self.subscriptions: list[str] = []
        self.intents: list[tuple[str, str, datetime]] = []

    def make(self) -> None:
        self._account()
        self._flags()
        self._stored_dunning()
        customers = self._customers()
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            self._payment_method()
        for customer_id in customers:
            self._customer(customer_id)
            for _ in range(self.rng.choice((0, 1, 1, 2))):
                self._subscription(customer_id)
        for _ in range(self.rng.choice((0, 1, 1, 1, 2, 3))):
            if customers:
                Invoice(self, self.rng.choice(customers)).make()
        for _ in range(self.rng.choice((0, 0, 0, 1, 1, 2)) if customers else self.rng.choice((0, 1, 2))):
            Ledger(self).make()

    # Chance and time.

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def new_id(self, prefix: str) -> str:
        """Unique, in an order that has nothing to do with when it was made."""
        return f"{prefix}_{self.rng.randrange(1000):03}{self.fleet.next_serial()}"

    def days_ago(self) -> int:
        """An age on, just before or just after one of the policy's spans."""
        return max(0, self.rng.choice(self.fleet.edges) + self.rng.choice((-1, 0, 0, 1, 2)))

    def at(self, days_ago: int) -> datetime:
        """An instant of the local day so many days ago: often its very first or last."""
        day = self.today - timedelta(days=days_ago)
        midnight = datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)
        return midnight + self.rng.choice(
            (
                timedelta(0),
                timedelta(microseconds=-1),
                timedelta(seconds=1),
                timedelta(hours=12),
                timedelta(hours=23, minutes=30),
                timedelta(minutes=self.rng.randrange(1440)),
            )
        )

    def past(self, days_ago: int) -> datetime:
        """As `at`, and no later than T."""
        return min(self.at(days_ago), self.as_of)

    def later(self) -> datetime:
        """After T, if only by a microsecond."""
        return self.as_of + self.rng.choice(
            (
                timedelta(microseconds=1),
                timedelta(hours=2),
                timedelta(days=1),
                timedelta(days=self.rng.randrange(2, 20)),
            )
        )

    def since(self, start: datetime, *, late: float = 0.1) -> datetime:
        """Between an instant and T, often T itself; after T with that chance."""
        if self.chance(late):
            return max(self.later(), start)
        room = max(timedelta(0), self.as_of - start)
        return start + room * self.rng.choice((0.0, 0.1, 0.5, 0.9, 1.0, self.rng.random()))

    # What every account has.

    def _account(self) -> None:
        self.fleet.put(
            "accounts",
            account_id=self.account_id,
            country="DE",
            currency="usd",
            timezone=self.timezone,
            status=self.rng.choice(("active", "suspended", "closed")),
            plan_code="basic",
            parent_account_id=self._parent(),
            created_at=self.later() if self.chance(0.01) else self.as_of - timedelta(days=400),
            **self._row(),
        )

    def _parent(self) -> str | None:
        if not self.chance(0.08):
            return None
        if self.chance(0.2):
            return self.rng.choice((self.account_id, "acct_of_nobody"))
        return self.rng.choice(self.ids)

    def _flags(self) -> None:
        if self.chance(0.05):
            return
        hold_from, hold_until = self._hold()
        self.fleet.put(
            "subs_account",
            account_id=self.account_id,
            bad_debt=self.chance(0.2),
            dunning_exempt=self.chance(0.03),
            hold_from=hold_from,
            hold_until=hold_until,
            updated_by="A1",
            **self._row(),
        )

    def _hold(self) -> tuple[datetime | None, datetime | None]:
        if not self.chance(0.2):
            return (None, self.at(2)) if self.chance(0.02) else (None, None)
        begins = self.later() if self.chance(0.1) else self.at(self.days_ago())
        if self.chance(0.3):
            return begins, None
        return begins, begins + timedelta(days=self.rng.choice((-1, 0, 1, 2, 5, 20)), hours=self.rng.choice((0, 12)))

    def _stored_dunning(self) -> None:
        if self.chance(0.4):
            return
        sent_at = self.later() if self.chance(0.1) else self.at(self.days_ago())
        self.fleet.put(
            "subs_dunning",
            account_id=self.account_id,
            state="good_standing",
            attempt_count=0,
            final_notice_sent_at=sent_at if self.chance(0.8) else None,
            **self._row(),
        )

    def _customers(self) -> list[str]:
        """Whom the account maps to, by rows that race: none, one, two, a shared one, one twice, a test one."""
        fleet, rng = self.fleet, self.rng
        customers = [self.new_id("cus") for _ in range(rng.choice((0, *(1,) * 14, 2)))]
        if fleet.customers and self.chance(0.05):
            customers.append(rng.choice(fleet.customers[-3:]))
        for customer_id in customers:
            for _ in range(2 if self.chance(0.05) else 1):
                self._mapping(customer_id, self.policy.livemode)
        if self.chance(0.05):
            self._mapping(self.new_id("cus"), not self.policy.livemode)
        fleet.customers += customers
        return [*customers, self.new_id("cus")] if self.chance(0.03) else customers  # the last one maps to nobody

    def _mapping(self, customer_id: str, livemode: bool) -> None:  # noqa: FBT001 - a column
        created_at = self.later() if self.chance(0.03) else self.as_of - timedelta(days=300)
        self.fleet.put(
            "subs_customer",
            id=self.fleet.next_serial(),
            account_id=self.account_id,
            stripe_customer_id=customer_id,
            livemode=livemode,
            created_by="A2",
            created_at=created_at,
            **self._row(),
        )

    def _customer(self, customer_id: str) -> None:
        if customer_id in self.fleet.made or self.chance(0.03):
            return
        self.fleet.made.add(customer_id)
        self.fleet.put(
            "stripe_customers",
            customer_id=customer_id,
            created_at=self.later() if self.chance(0.01) else self.as_of - timedelta(days=300),
            livemode=self.policy.livemode,
            is_deleted=self.chance(0.02),
            default_payment_method_id=self._slot(0.7),
            default_source_id=self._slot(0.3),
        )

    def _slot(self, share: float) -> str | None:
        """A default instrument: mostly one of the account's, now and then one that Stripe tells nothing about."""
        if not self.chance(share):
            return None
        return f"src_{self.account_id}" if self.chance(0.03) else self.method()

    def method(self) -> str | None:
        return self.rng.choice(list(self.methods))

    def _payment_method(self) -> None:
        kind = self.rng.choice(METHOD_TYPES)
        method_id = self.new_id("pm")
        self.methods[method_id] = kind
        expires = self._expiry() if kind == "card" else None
        self.fleet.put(
            "stripe_payment_methods",
            payment_method_id=method_id,
            type=kind,
            created_at=self._came(),
            exp_month=expires.month if expires else None,
            exp_year=expires.year if expires else None,
        )
        if kind in DEBIT_TYPES or self.chance(0.03):
            for _ in range(self.rng.choice((0, 1, 1, 1, 2, 3))):
                self._mandate(method_id, kind)

    def _came(self) -> datetime:
        if self.chance(0.5):
            return self.as_of - timedelta(days=300)
        return self.later() if self.chance(0.1) else self.at(self.days_ago())

    def _expiry(self) -> date | None:
        if self.chance(0.15):
            return None
        return self.today + timedelta(days=self.rng.choice((-40, -20, 0, 0, 1, 20, 45, 700)))

    def _mandate(self, method_id: str, kind: str) -> None:
        mandate_id = self.new_id("mandate")
        self.fleet.put(
            "subs_mandate",
            mandate_id=self.new_id("m"),
            account_id=self.account_id,
            stripe_mandate_id=mandate_id,
            stripe_payment_method_id=method_id,
            type=kind,
            status=self.rng.choice(("active", "inactive", "pending")),
            network_status=None,
            **self._row(),
        )
        if self.chance(0.9):
            self.fleet.put(
                "stripe_mandates",
                mandate_id=mandate_id,
                payment_method_id=method_id,
                payment_method_type=kind,
                status=self.rng.choice(("active", "active", "active", "inactive", "pending")),
                network_status=self._network_status() if kind == "bacs_debit" else None,
                accepted_at=None if self.chance(0.1) else self._came(),
                livemode=self.policy.livemode,
            )

    def _network_status(self) -> str | None:
        return self.rng.choice(("accepted", "accepted", "pending", "refused", "revoked", None))

    def _subscription(self, customer_id: str) -> None:
        subscription_id = self.new_id("sub")
        self.subscriptions.append(subscription_id)
        status = self.rng.choice(SUBSCRIPTION_STATUSES)
        ended_at = self.since(self.at(5)) if status in ("canceled", "incomplete_expired") else None
        self.fleet.put(
            "stripe_subscriptions",
            subscription_id=subscription_id,
            customer_id=customer_id,
            status=status,
            created_at=self.later() if self.chance(0.01) else self.as_of - timedelta(days=200),
            ended_at=ended_at,
            canceled_at=ended_at,
            livemode=self.policy.livemode,
            collection_method="charge_automatically",
            pause_collection="keep_as_draft" if self.chance(0.1) else None,
            default_payment_method_id=self._slot(0.25),
            default_source_id=self._slot(0.15),
            price_ids=["price_1"],
        )

    def _row(self) -> Row:
        return {"updated_at": self.past(1), "version": 1, "unreadable": None}

    def subscription(self) -> str | None:
        if not self.subscriptions or self.chance(0.3):
            return None
        return "sub_of_nobody" if self.chance(0.02) else self.rng.choice(self.subscriptions)

    def codes(self) -> tuple[str | None, str | None]:
        """A decline code, and an advice code."""
        return self.rng.choice(DECLINES), self.rng.choice(ADVICE)
