"""Random fleets that reach every branch of docs/contract/DUNNING.md: small accounts, dates around the thresholds.

A seed makes a policy (`random_policy`), an instant T (`random_as_of`) and a fleet (`random_world`) that belong
together; hypothesis draws the seed (`worlds`), so a failure names it. Rows are sound by contract, save for invoices
without a due date: what a broken row does is the sweep's business. Ages, attempts and holds fall on, just before and
just after each span of the policy, and times of day on, just before and just after local midnight, because that is
where two readings of a rule part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
from hypothesis import strategies as st

from tests.random_fleet.account import Maker
from tests.random_fleet.fleet import Fleet
from trueup.contract.schemas import INSTANT, STATES, TABLES, Snapshot
from trueup.engine.policy import Conditions, InFlightMaxDays, Policy, Step

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


def quiet(world: World) -> World:
    """The same world in which all that happens has happened by T: nothing new comes when T moves on.

    What was known beforehand stays: due dates, ends of holds, attempts that Stripe has planned.
    """
    planned = ("due_at", "hold_until", "next_payment_attempt_at")
    happened = {
        name: [column for column, kind in table.columns.items() if kind == INSTANT and column not in planned]
        for name, table in TABLES.items()
    }
    capped = {
        name: frame.with_columns(
            pl.when(pl.col(column) > world.as_of).then(world.as_of).otherwise(pl.col(column)).alias(column)
            for column in happened[name]
        )
        for name, frame in world.snapshot.items()
    }
    movements = pl.col("balance_transaction_ats")
    capped["stripe_disputes"] = capped["stripe_disputes"].with_columns(
        movements.list.eval(pl.element().clip(upper_bound=world.as_of))
    )
    return replace(world, snapshot=capped)


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
    fleet = Fleet(policy, as_of, tag=seed % 997)
    ids = [f"acct_{seed % 997}_{number:05}" for number in range(accounts)]
    for account_id in ids:
        Maker(rng, fleet, account_id, ids).make()
    return fleet.snapshot()
