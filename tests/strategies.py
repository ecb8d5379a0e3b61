"""Random fleets in which every branch of DUNNING.md is reached: small accounts, dates dense around the thresholds.

A seed makes a policy (`random_policy`), an instant T (`random_as_of`) and a fleet (`random_world`) that belong
together; hypothesis draws the seed (`worlds`), so a failure names it. Rows are sound by contract, save for invoices
without a due date: what a broken row does is the sweep's business. Ages, attempts and holds fall on, just before and
just after each span of the policy, and times of day on, just before and just after local midnight, because that is
where two readings of a rule part.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import strategies as st

from dunning.policy import Conditions, InFlightMaxDays, Policy, Step
from dunning.schemas import STATES, TABLES, Snapshot

Row = dict[str, Any]

TIMEZONES = (
    None, None, "UTC", "America/New_York", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata",
    "Europe/Paris", "America/Santiago", "Australia/Lord_Howe",
)  # fmt: skip
NOONS = (
    datetime(2026, 3, 8, 12, tzinfo=UTC),  # clocks go forward in New York
    datetime(2026, 11, 1, 12, tzinfo=UTC),  # and back
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Paris
    datetime(2026, 4, 5, 3, tzinfo=UTC),  # Santiago, at midnight
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC),
    datetime(2026, 5, 31, 10, tzinfo=UTC),  # midnight on Kiritimati, at a month's end
    datetime(2026, 7, 1, 4, tzinfo=UTC),  # midnight in New York
)
CURRENCIES = ("usd", "usd", "usd", "eur", "jpy", "kwd")
AMOUNTS = (0, 1, 40, 50, 60, 99, 100, 101, 150, 250, 250, 400, 1000, 1000)
MANDATE_TYPES = ("sepa_debit", "bacs_debit", "au_becs_debit", "acss_debit", "us_bank_account", "nz_bank_account")
METHOD_TYPES = ("card", "card", "card", "card", "link", *MANDATE_TYPES, "bacs_debit")
TRIGGERS = ("initial", "scheduled", "scheduled", "manual", "payment_method_update")
SUBSCRIPTION_STATUSES = (
    "active", "active", "active", "past_due", "unpaid", "trialing", "paused", "canceled", "incomplete",
    "incomplete_expired",
)  # fmt: skip
DISPUTE_STATUSES = (
    "needs_response", "under_review", "appeal_needs_response", "appeal_under_review", "won", "lost", "lost", "lost",
    "warning_needs_response", "warning_under_review", "warning_closed", "prevented",
)  # fmt: skip
UNCOLLECTIBLE_REASONS = (
    None, "max_payment_attempts", "payment_not_received", "subscription_canceled", "subscription_paused", "user_forgiven",
)  # fmt: skip
DECLINES = (
    None, "insufficient_funds", "insufficient_funds", "card_declined", "generic_decline", "stolen_card", "expired_card",
    "expired_card", "invalid_expiry_year", "authentication_required", "rate_limit", "lock_timeout", "code_of_tomorrow",
)  # fmt: skip
ADVICE = (None, None, None, None, "try_again_later", "confirm_card_data", "do_not_try_again", "advice_of_tomorrow")
NETWORK_ADVICE = (None, None, None, None, None, "01", "02", "03", "21", "24", "99")


@dataclass(frozen=True)
class World:
    """A fleet with the policy and the instant it was made for."""

    seed: int
    policy: Policy
    as_of: datetime
    snapshot: Snapshot


@st.composite
def worlds(draw: st.DrawFn, accounts: int = 60) -> World:
    """A world drawn by its seed: hypothesis chooses, the seed reproduces."""
    return make_world(draw(st.integers(0, 2**32 - 1)), accounts)


def make_world(seed: int, accounts: int, **overrides: Any) -> World:
    """The world of a seed; `overrides` are policy fields that the caller fixes."""
    policy = random_policy(seed, **overrides)
    as_of = random_as_of(seed)
    return World(seed, policy, as_of, random_world(seed, accounts, policy, as_of))


def random_policy(seed: int, **overrides: Any) -> Policy:
    """Every alternative of the policy in turn, with spans short enough that a month crosses all of them."""
    rng = Random(f"policy {seed}")  # noqa: S311 - a seeded world, not a secret
    offsets = rng.choice(([3, 5, 7], [1, 2], [2, 1, 3], [1], [1, 1, 1, 1], []))
    suspend = rng.choice((0, 0, 2, sum(offsets) + 2))
    fields: dict[str, Any] = {
        "livemode": rng.random() < 0.9,
        "grace_days": rng.choice((0, 1, 3)),
        "retry_offsets_days": offsets,
        "final_attempts_left": rng.choice((0, 1, 1, 2)),
        "final_notice_days": rng.choice((4, 9, 21)),
        "suspend_min_days": suspend,
        "bad_debt_days": suspend + rng.choice((0, 4, 20, 60)),
        "no_attempt_days": rng.choice((0, 1, 3)),
        "threshold_minor": rng.choice(({"usd": 100, "eur": 100, "jpy": 100}, {"usd": 1, "kwd": 150}, {})),
        "tolerance_minor": rng.choice(({}, {"usd": 50, "jpy": 1}, {"usd": 99, "eur": 40})),
        "hard_decline": rng.choice(("virtual_cycles", "virtual_cycles", "immediate_suspend")),
        "retry_owner": rng.choice(("internal", "internal", "stripe")),
        "reopen_on_refund": rng.choice(("never", "uncovered", "always")),
        "reopen_on_lost_dispute": rng.random() < 0.5,
        "ended_subscription": rng.choice(("owed", "exclude")),
        "in_flight_max_days": InFlightMaxDays(card=rng.choice((0, 1, 2)), debit=rng.choice((2, 5, 14))),
        "dispute_max_days": rng.choice((3, 10, 90)),
        "require_final_notice": rng.random() < 0.35,
        "min_notice_days": rng.choice((0, 1, 3)),
        "timezone": rng.choice(("UTC", "America/New_York", "Pacific/Kiritimati")),
    }
    return Policy(**{**fields, **overrides})


def random_ladder(seed: int) -> list[Step]:
    """A ladder of a few steps, each with one or two conditions."""
    rng = Random(f"ladder {seed}")  # noqa: S311 - as above
    states = rng.sample(STATES[1:], rng.randint(1, 4))
    return [Step(state=state, when=_random_conditions(rng)) for state in states]


def _random_conditions(rng: Random) -> Conditions:
    fields: dict[str, Any] = {
        "unpaid_count_gte": rng.choice((0, 1, 1, 2)),
        "balance_gte_minor": rng.choice(({"usd": 100}, {"usd": 150, "eur": 100}, {"jpy": 0}, {"kwd": 400})),
        "age_days_gte": rng.choice((0, 1, 3, 9)),
        "tag_all": rng.choice(([], ["vip"])),
        "tag_none": rng.choice(([], ["vip"])),
        "last_decline_in": ["insufficient_funds", "expired_card", "card_declined", "stolen_card"],
    }
    return Conditions(**{name: fields[name] for name in rng.sample(sorted(fields), rng.randint(1, 2))})


def random_as_of(seed: int) -> datetime:
    rng = Random(f"as_of {seed}")  # noqa: S311 - as above
    if rng.random() < 0.6:
        return rng.choice(NOONS)
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(365 * 24 * 60))


def random_world(seed: int, accounts: int, policy: Policy, as_of: datetime) -> Snapshot:
    """A fleet of that many accounts: the same for the same arguments."""
    rng = Random(f"world {seed}")  # noqa: S311 - as above
    fleet = Fleet(policy, as_of)
    ids = [f"acct_{seed % 997}_{number:05}" for number in range(accounts)]
    for account_id in ids:
        Maker(rng, fleet, account_id, ids).make()
    return fleet.snapshot()


class Fleet:
    """Rows by table, kept by column, and the spans around which ages are drawn."""

    def __init__(self, policy: Policy, as_of: datetime) -> None:
        self.policy = policy
        self.as_of = as_of
        self.columns: dict[str, dict[str, list[Any]]] = {
            name: {column: [] for column in table.columns} for name, table in TABLES.items()
        }
        self.serial = 0
        self.customers: list[str] = []  # mapped, in the order they came
        self.made: set[str] = set()  # those that Stripe knows
        self.edges = self._edges()

    def put(self, table: str, **values: Any) -> None:
        """One row; what is not given is null."""
        for name, column in self.columns[table].items():
            column.append(values.get(name))

    def next_serial(self) -> int:
        self.serial += 1
        return self.serial

    def snapshot(self) -> Snapshot:
        return {
            name: pl.DataFrame(columns, schema=TABLES[name].schema).lazy() for name, columns in self.columns.items()
        }

    def _edges(self) -> list[int]:
        """Ages at which something changes under this policy."""
        policy = self.policy
        spans = {
            0, 1, policy.grace_days, policy.no_attempt_days, policy.no_attempt_days + policy.grace_days,
            policy.final_notice_days, policy.suspend_min_days, policy.bad_debt_days, *policy.cumulative_offsets_days,
        }  # fmt: skip
        return sorted(spans)


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
            (timedelta(microseconds=1), timedelta(hours=2), timedelta(days=1), timedelta(days=self.rng.randrange(2, 20)))
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
        """The customers that the account maps to, by rows that race: none, one, two, one shared, one twice, test ones."""
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
        if kind in MANDATE_TYPES or self.chance(0.03):
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


class Story:
    """The life of one invoice: when it was finalized, and what became of it."""

    def __init__(self, maker: Maker) -> None:
        rng = maker.rng
        self.status = rng.choice(("open",) * 9 + ("paid",) * 5 + ("uncollectible",) * 3 + ("void", "draft"))
        self.is_sent = maker.chance(0.2)
        self.currency = rng.choice(CURRENCIES)
        self.amount_due = rng.choice(AMOUNTS)
        self.billing_reason = rng.choice(
            ("subscription_create", "subscription_cycle", "subscription_cycle", "subscription_update", "manual")
        )
        self.finalized_at = maker.later() if maker.chance(0.02) else maker.past(maker.days_ago())
        self.created_at = self.finalized_at - rng.choice((timedelta(0), timedelta(hours=1), timedelta(days=1)))
        self.settled_at = maker.since(self.finalized_at, late=0.12)
        self.due_at = self._due_at(maker) if self.is_sent else None
        self.uncollectible_reason = rng.choice(UNCOLLECTIBLE_REASONS) if self.status == "uncollectible" else None
        self.is_undated = maker.chance(0.03)
        self.was_uncollectible_at = self.finalized_at if self.status == "paid" and maker.chance(0.05) else None
        self.was_paid_at = self.finalized_at if self.status == "void" and maker.chance(0.2) else None

    def _due_at(self, maker: Maker) -> datetime | None:
        if maker.chance(0.03):
            return None
        return maker.at(maker.rng.choice((maker.days_ago(), maker.days_ago(), 0, 0, -1, -2, -12)))

    def transitions(self) -> Row:
        """The instants that decide the status as of T; now and then a store has kept none of them."""
        if self.is_undated:
            return {}
        return {
            "finalized_at": None if self.status == "draft" else self.finalized_at,
            "paid_at": self.settled_at if self.status == "paid" else self.was_paid_at,
            "voided_at": self.settled_at if self.status == "void" else None,
            "uncollectible_at": self.settled_at if self.status == "uncollectible" else self.was_uncollectible_at,
        }

    @property
    def collection_method(self) -> str:
        return "send_invoice" if self.is_sent else "charge_automatically"


class Invoice:
    """A Stripe invoice with its payments, charges, refunds, disputes, credit notes, and billing_prod's copy of them."""

    def __init__(self, maker: Maker, customer_id: str) -> None:
        self.maker = maker
        self.rng = maker.rng
        self.fleet = maker.fleet
        self.customer_id = customer_id
        self.story = Story(maker)
        self.invoice_id = maker.new_id("in")
        self.internal_id = maker.new_id("inv")
        self.subscription_id = maker.subscription()
        self.charge_rows: list[Row] = []
        self.paid = 0

    def make(self) -> None:
        maker = self.maker
        if not self.story.is_sent or maker.chance(0.3):
            for _ in range(self.rng.choice((0, 1, 1, 1, 2))):
                self._payment()
        if maker.chance(0.1):
            self._shared_payment()
        if self.story.status == "paid" or maker.chance(0.1):
            self._success()
        self._invoice()
        for _ in range(self.rng.choice((0, 0, 0, 1, 2)) if self.story.status == "paid" else 0):
            self._credit_note()
        if not maker.chance(0.08):
            Ledger(self.maker, self).make()

    def _invoice(self) -> None:
        maker, story = self.maker, self.story
        remaining = max(0, story.amount_due - self.paid)
        self.fleet.put(
            "stripe_invoices",
            invoice_id=self.invoice_id,
            customer_id=self.customer_id,
            subscription_id=self.subscription_id,
            status=story.status,
            billing_reason=story.billing_reason,
            collection_method=story.collection_method,
            currency=story.currency,
            amount_due=story.amount_due,
            amount_paid=self.paid if maker.chance(0.95) else story.amount_due,
            amount_remaining=remaining if maker.chance(0.95) else story.amount_due,
            attempt_count=self.rng.randrange(4),
            attempted=maker.chance(0.8),
            auto_advance=self.rng.choice((True, True, True, True, None, False)),
            created_at=story.created_at,
            due_at=story.due_at,
            effective_at=None if story.status == "draft" else self.rng.choice((None, story.created_at, *[story.finalized_at] * 6)),
            **story.transitions(),
            uncollectible_reason=story.uncollectible_reason,
            next_payment_attempt_at=maker.later() if maker.chance(0.5) else None,
            default_payment_method_id=maker._slot(0.15),  # noqa: SLF001 - one maker in two parts
            default_source_id=maker._slot(0.05),  # noqa: SLF001 - as above
            livemode=maker.policy.livemode != maker.chance(0.04),
        )

    # Payments.

    def _payment(self) -> None:
        """Failed, pending or flying attempts under one payment intent, or charges on their own."""
        if self.maker.chance(0.15):
            for at in self._attempt_times():
                charge = self._charge(at, self._failed_or_pending(), None)
                self._invoice_payment(None, charge["charge_id"], "open", 0, at, None)
            return
        begun = self.maker.since(self.story.finalized_at, late=0.03)
        intent_id = self.maker.new_id("pi")
        times = [at for at in self._attempt_times() if at >= begun]
        charges = [self._charge(at, self._failed_or_pending(), intent_id) for at in times]
        self._intent(intent_id, begun, charges)
        if self.maker.chance(0.03) and charges:
            self._invoice_payment(None, charges[0]["charge_id"], "open", 0, begun, None)  # reached by two ways
        created_at = self.maker.later() if self.maker.chance(0.02) else begun
        self._invoice_payment(intent_id, None, self.rng.choice(("open", "open", "canceled")), 0, created_at, None)

    def _attempt_times(self) -> list[datetime]:
        tries = self.rng.randrange(self.maker.policy.attempts_allowed + 2)
        start = self.story.finalized_at
        times = sorted(self._attempt_time(start) for _ in range(min(tries, 4)))
        return [at + timedelta(microseconds=number) for number, at in enumerate(times)]  # one at a time

    def _attempt_time(self, start: datetime) -> datetime:
        if self.maker.chance(0.5):
            return self.maker.since(start, late=0.05)
        return start + timedelta(days=self.rng.choice((0, 0, *self.fleet.edges[:4])))

    def _failed_or_pending(self) -> str:
        return "pending" if self.maker.chance(0.06) else "failed"

    def _intent(self, intent_id: str, begun: datetime, charges: list[Row]) -> None:
        maker = self.maker
        method_id = maker.method()
        self.fleet.put(
            "stripe_payment_intents",
            payment_intent_id=intent_id,
            customer_id=self.customer_id,
            status=self.rng.choice(("requires_payment_method", "requires_action", "canceled", "processing")),
            amount=self.story.amount_due,
            currency=self.story.currency,
            created_at=begun,
            latest_charge_id=charges[-1]["charge_id"] if charges else None,
            payment_method_id=charges[-1]["payment_method_id"] if charges else method_id,
            payment_method_type=self._type_of(charges[-1]["payment_method_id"] if charges else method_id),
            livemode=maker.policy.livemode,
        )
        maker.intents.append((intent_id, "", begun))

    def _success(self) -> None:
        """The payment that settles the invoice, or a part of it; sometimes more than was due."""
        maker, story = self.maker, self.story
        is_settling = story.status == "paid"
        at = story.settled_at if is_settling else maker.since(story.finalized_at, late=0.15)
        amount = story.amount_due if is_settling and maker.chance(0.7) else self.rng.choice(AMOUNTS)
        parts = [amount // 2, amount - amount // 2] if maker.chance(0.15) else [amount]
        for part in parts:
            intent_id = None if maker.chance(0.2) else maker.new_id("pi")
            charge = self._charge(at, "succeeded", intent_id, part)
            if intent_id is not None:
                self.fleet.put(
                    "stripe_payment_intents",
                    payment_intent_id=intent_id,
                    customer_id=self.customer_id,
                    status="succeeded",
                    amount=part,
                    currency=story.currency,
                    created_at=at,
                    latest_charge_id=charge["charge_id"],
                    payment_method_id=charge["payment_method_id"],
                    payment_method_type=charge["payment_method_type"],
                    livemode=maker.policy.livemode,
                )
                maker.intents.append((intent_id, charge["charge_id"], at))
            created_at = min(at, maker.since(story.finalized_at, late=0.0))
            self._invoice_payment(intent_id, None if intent_id else charge["charge_id"], "paid", part, created_at, at)
            self._refunds(charge)
            self._disputes(charge)

    def _shared_payment(self) -> None:
        """A payment of an earlier invoice of the account that served this one as well."""
        if not self.maker.intents:
            return
        intent_id, charge_id, at = self.rng.choice(self.maker.intents)
        amount = self.rng.choice(AMOUNTS) if charge_id else 0
        self._invoice_payment(intent_id, None, "paid" if charge_id else "open", amount, at, at if charge_id else None)

    def _invoice_payment(  # noqa: PLR0913 - the columns that matter
        self,
        intent_id: str | None,
        charge_id: str | None,
        status: str,
        amount: int,
        created_at: datetime,
        paid_at: datetime | None,
    ) -> None:
        self.paid += amount
        self.fleet.put(
            "stripe_invoice_payments",
            invoice_payment_id=self.maker.new_id("inpay"),
            invoice_id=self.invoice_id,
            status=status,
            amount_paid=amount if paid_at else None,
            amount_requested=self.story.amount_due,
            currency=self.story.currency,
            created_at=created_at,
            paid_at=paid_at,
            canceled_at=created_at if status == "canceled" else None,
            payment_type="payment_intent" if intent_id else "charge",
            payment_intent_id=intent_id,
            charge_id=charge_id,
            livemode=self.maker.policy.livemode,
        )

    def _charge(self, at: datetime, status: str, intent_id: str | None, amount: int | None = None) -> Row:
        maker = self.maker
        method_id = maker.method()
        decline, advice = maker.codes() if status == "failed" else (None, None)
        network = self.rng.choice(NETWORK_ADVICE) if status == "failed" else None
        row = {
            "charge_id": maker.new_id("ch"),
            "customer_id": self.customer_id,
            "payment_intent_id": intent_id,
            "status": status,
            "amount": self.story.amount_due if amount is None else amount,
            "amount_refunded": 0,
            "currency": self.story.currency,
            "created_at": at,
            "payment_method_id": method_id if maker.chance(0.97) else None,
            "payment_method_type": self._type_of(method_id),
            "failure_code": self.rng.choice((decline, decline, "card_declined", None)) if status == "failed" else None,
            "decline_code": decline,
            "advice_code": advice,
            "network_advice_code": network,
            "livemode": maker.policy.livemode,
        }
        self.fleet.put("stripe_charges", **row)
        self.charge_rows.append(row)
        return row

    def _type_of(self, method_id: str | None) -> str | None:
        """What the payment says of its instrument: nothing, now and then."""
        return None if self.maker.chance(0.05) else self.maker.methods.get(method_id)

    # What happens after a payment.

    def _refunds(self, charge: Row) -> None:
        for _ in range(self.rng.choice((0, 0, 1, 1, 2))):
            amount = min(charge["amount"] - charge["amount_refunded"], self.rng.choice((charge["amount"], *AMOUNTS)))
            status = self.rng.choice(("succeeded",) * 5 + ("failed", "pending", "canceled", "requires_action"))
            created_at = self.maker.since(charge["created_at"], late=0.15)
            if status == "succeeded":
                charge["amount_refunded"] += amount
                charge["refunded_at"] = max(charge.get("refunded_at", created_at), created_at)
            is_by_intent = charge["payment_intent_id"] is not None and self.maker.chance(0.1)
            self.fleet.put(
                "stripe_refunds",
                refund_id=self.maker.new_id("re"),
                charge_id=None if is_by_intent else charge["charge_id"],
                payment_intent_id=charge["payment_intent_id"],
                status=status,
                amount=amount,
                currency=charge["currency"],
                created_at=created_at,
            )

    def _disputes(self, charge: Row) -> None:
        if not self.maker.chance(0.3):
            return
        maker, rng = self.maker, self.rng
        dispute_id = maker.new_id("dp")
        status = rng.choice(DISPUTE_STATUSES)
        created_at = maker.since(charge["created_at"], late=0.08)
        movements = [created_at, maker.since(created_at), maker.since(created_at)]
        self.fleet.put(
            "stripe_disputes",
            dispute_id=dispute_id,
            charge_id=charge["charge_id"],
            payment_intent_id=charge["payment_intent_id"],
            status=status,
            amount=rng.choice((charge["amount"], charge["amount"], *AMOUNTS)),
            currency=charge["currency"],
            created_at=created_at,
            balance_transaction_ats=rng.choice((None, [], movements[:1], movements[:2], sorted(movements))),
            livemode=maker.policy.livemode,
        )
        if status in ("won", "lost", "warning_closed") and maker.chance(0.6):
            self._event("charge.dispute.closed", maker.since(created_at), dispute_id)
        if maker.chance(0.3):
            self._event("charge.dispute.updated", maker.since(created_at), dispute_id)

    def _event(self, kind: str, at: datetime, object_id: str) -> None:
        self.fleet.put(
            "stripe_events",
            event_id=self.maker.new_id("evt"),
            type=kind,
            created_at=at,
            object_id=object_id,
            customer_id=self.customer_id,
            livemode=self.maker.policy.livemode,
        )

    def _credit_note(self) -> None:
        maker = self.maker
        is_post_payment = maker.chance(0.8)
        amount = self.rng.choice(AMOUNTS)
        created_at = maker.since(self.story.settled_at, late=0.1)
        is_void = maker.chance(0.2)
        self.fleet.put(
            "stripe_credit_notes",
            credit_note_id=maker.new_id("cn"),
            invoice_id=self.invoice_id,
            customer_id=self.customer_id,
            status="void" if is_void else "issued",
            amount=amount,
            post_payment_amount=amount if is_post_payment else 0,
            pre_payment_amount=0 if is_post_payment else amount,
            currency=self.story.currency,
            created_at=created_at,
            effective_at=maker.since(created_at, late=0.05) if maker.chance(0.3) else None,
            voided_at=maker.since(created_at, late=0.3) if is_void and maker.chance(0.9) else None,
            livemode=maker.policy.livemode,
        )


class Ledger:
    """billing_prod's invoice and charges: a copy of a Stripe invoice, true or drifted, or one that Stripe does not have."""

    def __init__(self, maker: Maker, stripe: Invoice | None = None) -> None:
        self.maker = maker
        self.rng = maker.rng
        self.fleet = maker.fleet
        self.stripe = stripe
        self.story = stripe.story if stripe and maker.chance(0.8) else Story(maker)
        self.invoice_id = stripe.internal_id if stripe else maker.new_id("inv")

    def make(self) -> None:
        if self.stripe is not None:
            for charge in self.stripe.charge_rows:
                if self.maker.chance(0.85):
                    self._copy_of(charge)
            paid = self.stripe.paid
        else:
            paid = self._own_charges()
        self._invoice(paid)
        for _ in range(self.rng.choice((0, 0, 1)) if self.story.status == "paid" else 0):
            self._credit_note()

    def _invoice(self, paid: int) -> None:
        maker, story = self.maker, self.story
        self.fleet.put(
            "invoices",
            invoice_id=self.invoice_id,
            account_id=maker.account_id,
            stripe_invoice_id=self._stripe_id(),
            stripe_subscription_id=self.stripe.subscription_id if self.stripe else maker.subscription(),
            billing_reason=story.billing_reason,
            status=story.status,
            uncollectible_reason=story.uncollectible_reason,
            collection_method=story.collection_method,
            currency=story.currency,
            amount_due=story.amount_due,
            amount_paid=paid if maker.chance(0.95) else self.rng.choice(AMOUNTS),
            attempt_count=0,
            due_at=story.due_at,
            **story.transitions(),
            effective_at=maker.later() if maker.chance(0.02) else self.rng.choice((story.created_at, story.finalized_at)),
            **maker._row(),  # noqa: SLF001 - one maker in two parts
        )

    def _stripe_id(self) -> str | None:
        if self.stripe is not None:
            return self.stripe.invoice_id
        return self.maker.new_id("in") if self.maker.chance(0.08) else None

    def _copy_of(self, charge: Row) -> None:
        twice = self.maker.chance(0.06)
        for _ in range(2 if twice else 1):
            self._charge(
                charge["created_at"],
                charge["status"],
                charge["amount"],
                charge.get("refunded_at"),
                stripe_charge_id=charge["charge_id"],
                amount_refunded=charge["amount_refunded"],
                decline_code=charge["decline_code"],
                advice_code=charge["advice_code"],
            )

    def _own_charges(self) -> int:
        story, maker = self.story, self.maker
        for _ in range(0 if story.is_sent else self.rng.choice((0, 1, 1, 2, 3, 4))):
            decline, advice = maker.codes()
            status = "pending" if maker.chance(0.05) else "failed"
            at = maker.since(story.finalized_at, late=0.05)
            self._charge(at, status, story.amount_due, decline_code=decline, advice_code=advice)
        if story.status != "paid" and maker.chance(0.85):
            return 0
        amount = self.rng.choice((story.amount_due, *AMOUNTS))
        refunded = min(amount, self.rng.choice((0, 0, amount, *AMOUNTS)))
        self._charge(story.settled_at, "succeeded", amount, amount_refunded=refunded)
        return amount

    def _charge(
        self, at: datetime, status: str, amount: int, refunded_at: datetime | None = None, **more: Any
    ) -> None:
        maker = self.maker
        updated_at = maker.since(max(at, refunded_at or at), late=0.1)
        values = {"amount_refunded": 0, **more}
        self.fleet.put(
            "charges",
            charge_id=maker.new_id("c"),
            account_id=maker.account_id,
            invoice_id=self.invoice_id,
            amount=amount,
            currency=self.story.currency,
            status=status,
            trigger=self.rng.choice(TRIGGERS),
            attempted_at=at,
            effective_at=maker.later() if maker.chance(0.02) else at,
            updated_at=updated_at,
            version=1,
            **values,
        )

    def _credit_note(self) -> None:
        self.fleet.put(
            "credit_notes",
            credit_note_id=self.maker.new_id("icn"),
            invoice_id=self.invoice_id,
            amount=self.rng.choice(AMOUNTS),
            created_at=self.maker.since(self.story.settled_at, late=0.1),
            **self.maker._row(),  # noqa: SLF001 - one maker in two parts
        )
