"""The engine: everything the six stores say, a policy and an instant go in; one row per account comes out.

Read `compute` from top to bottom: it is the whole story, and each step is a module of its own. Invoices of both views
are put side by side, given their attempts, their instrument, their clock and the days that do not count; judged on
the day it is where the account lives; and added up to a state per account. No stored dunning state is read: that is
what is judged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

import polars as pl

from trueup.contract.schemas import Snapshot
from trueup.contract.sweep import VIOLATIONS
from trueup.engine import holds, identity, next_change
from trueup.engine.accounts import desired, named_state, states
from trueup.engine.clock import with_clock
from trueup.engine.cycles import judged_on, with_eligibility
from trueup.engine.facts import Facts, materialize
from trueup.engine.fingerprint import input_hashes
from trueup.engine.invoices import invoices
from trueup.engine.ladder import ladder_facts, tags_of, with_ladder_rungs
from trueup.engine.payment_method import with_instrument
from trueup.engine.payments import internal_attempts, stripe_attempts
from trueup.engine.policy import Policy
from trueup.engine.reasons import driver_reasons


@dataclass(frozen=True)
class Judged:
    """What the engine decided, and the facts that it decided from. All frames are collected.

    desired: one row per account, `schemas.DESIRED`. invoices: one row per account, view and invoice. attempts: one row
    per invoice and attempt, in both views. mapping: account_id, customer_id. accounts: one row per account of cf_prod,
    with what holds for all its invoices. view_states: account_id, and the state that each view of the money implies on
    its own (stripe_state, internal_state). hold_intervals: the days that invoices are held. facts: what it knew.
    """

    desired: pl.DataFrame
    invoices: pl.DataFrame
    attempts: pl.DataFrame
    mapping: pl.DataFrame
    accounts: pl.DataFrame
    view_states: pl.DataFrame
    hold_intervals: pl.DataFrame
    facts: Facts


def compute(
    snapshot: Snapshot,
    policy: Policy,
    as_of: datetime,
    *,
    violations: pl.DataFrame | pl.LazyFrame | None = None,
    broken_stores: Collection[str] = (),
) -> Judged:
    """Judge every account of a swept snapshot at an instant.

    Args:
        snapshot: table name → rows that `contract.sweep` left, with the columns of `schemas.TABLES`.
        policy: the rules; its spans are days, its amounts minor units.
        as_of: the instant that the run reasons about (UTC).
        violations: what `contract.sweep` found (`contract.VIOLATIONS`); who needs such a row is indeterminate.
        broken_stores: stores not read whole, or too long ago; with any, every account is indeterminate but the exempt.

    Returns:
        Judged, its `desired` sorted by account_id, one row for each account of cf_prod.
    """
    facts = Facts(snapshot, policy, as_of)
    broken_rows = pl.LazyFrame(schema=VIOLATIONS) if violations is None else violations.lazy()
    accounts = materialize(identity.accounts(facts))
    every_invoice = materialize(_with_account(invoices(facts), accounts, facts).with_row_index("ref"))
    attempts = materialize(_attempts(every_invoice, facts))
    open_or_owed = materialize(_open_or_owed(every_invoice))
    hold_intervals = materialize(holds.hold_intervals(facts, every_invoice, open_or_owed, accounts))
    held = materialize(holds.merged(hold_intervals))

    with_instruments = with_clock(with_instrument(open_or_owed, attempts, facts), attempts, policy)
    with_ages = materialize(_with_instrument_age(with_eligibility(with_instruments), held))
    tags = tags_of(accounts, snapshot.get("tags"))
    declines = attempts.filter("is_deciding")

    today = materialize(_judge(with_ages.with_columns(on="today"), held, policy))
    views = {
        name: materialize(_with_rungs(today.filter(is_of_view), declines, tags, policy))
        for name, is_of_view in _VIEWS.items()
    }
    state_of = {name: materialize(states(rows, policy)) for name, rows in views.items()}
    judged = materialize(_with_reasons(_with_own_rungs(today, views), hold_intervals, policy))

    return Judged(
        desired=desired(
            accounts,
            state_of["deciding"],
            state_of["internal"],
            _drivers(judged),
            _outstanding(judged),
            _indeterminate_reasons(accounts, judged, facts, broken_rows, broken_stores),
            _next_changes(with_ages, held, state_of["deciding"], declines, tags, policy),
            input_hashes(accounts, judged, hold_intervals, ladder_facts(declines, tags, policy), policy),
            policy,
        ).collect(engine="streaming"),
        invoices=_with_the_rest(judged, every_invoice, hold_intervals).collect(),
        attempts=attempts.collect(),
        mapping=facts.mapping.sort("account_id", "customer_id").collect(),
        accounts=accounts.collect(),
        view_states=_view_states(state_of).collect(),
        hold_intervals=hold_intervals.collect(),
        facts=facts,
    )


# Which invoices each reading of the money takes.
_VIEWS = {
    "deciding": pl.col("is_deciding"),
    "internal": pl.col("view") == "internal",
    "stripe": pl.col("view") == "stripe",
}


def _with_account(rows: pl.LazyFrame, accounts: pl.LazyFrame, facts: Facts) -> pl.LazyFrame:
    """Add what each invoice takes from its account: timezone, today, notice_sent_on.

    Invoices of accounts that cf_prod does not know are judged too, in the policy's timezone: findings speak of them.
    """
    timezone = facts.policy.timezone
    of_account = accounts.select("account_id", "timezone", "today", "notice_sent_on")
    default_today = pl.lit(facts.as_of).dt.convert_time_zone(timezone).dt.date()
    return rows.join(of_account, on="account_id", how="left", validate="m:1").with_columns(
        pl.col("timezone").fill_null(timezone), pl.col("today").fill_null(default_today)
    )


def _attempts(every_invoice: pl.LazyFrame, facts: Facts) -> pl.LazyFrame:
    """Attempts of both views, each with the invoice it was made for."""
    made = pl.concat(
        [
            stripe_attempts(facts).with_columns(view=pl.lit("stripe")),
            internal_attempts(facts).with_columns(view=pl.lit("internal")),
        ]
    )
    whose = every_invoice.select("ref", "account_id", "view", "invoice_id", "object_id", "is_deciding")
    return whose.join(made, on=["view", "invoice_id"], how="inner")


def _open_or_owed(every_invoice: pl.LazyFrame) -> pl.LazyFrame:
    """The invoices that later rules judge: open or owed in either view, with their counterparts in the other."""
    keys = every_invoice.filter(pl.col("is_open") | pl.col("is_owed")).select("account_id", "object_id").unique()
    return every_invoice.join(keys, on=["account_id", "object_id"], how="semi")


def _with_the_rest(judged: pl.LazyFrame, every_invoice: pl.LazyFrame, hold_intervals: pl.LazyFrame) -> pl.LazyFrame:
    """Every invoice: the judged ones, and those of which nothing is owed, which stand on no rung."""
    others = every_invoice.join(judged.select("ref"), on="ref", how="anti")
    rest = _with_flags(others, hold_intervals).with_columns(
        rung=pl.lit(0, pl.Int8()), **{name: pl.lit(value=False) for name in ("is_late", "is_exhausted", "is_retryable")}
    )
    return pl.concat([judged, rest], how="diagonal")


def _with_instrument_age(rows: pl.LazyFrame, held: pl.LazyFrame) -> pl.LazyFrame:
    """Add how old the debt was on the day its instrument came."""
    came = rows.filter(pl.col("instrument_on") > pl.col("clock_on")).select("ref", "clock_on", on="instrument_on")
    ages = holds.with_age(came, held).select("ref", instrument_age_days="age_days")
    return rows.join(ages, on="ref", how="left", validate="1:1")


def _judge(rows: pl.LazyFrame, held: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    return judged_on(holds.with_age(rows, held), policy)


def _with_rungs(rows: pl.LazyFrame, attempts: pl.LazyFrame, tags: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """The rungs of one reading of the money: the built-in ones, or the policy's ladder."""
    if policy.ladder is None:
        return rows
    return with_ladder_rungs(rows, attempts, tags, policy)


def _with_own_rungs(today: pl.LazyFrame, views: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Every invoice with the rung of the reading it decides in, or else of its own view."""
    others = pl.concat(views[view].filter(~pl.col("is_deciding")) for view in ("internal", "stripe"))
    rungs = pl.concat([views["deciding"], others]).select("ref", "rung")
    return today.drop("rung").join(rungs, on="ref", how="left", validate="1:1")


def _with_reasons(judged: pl.LazyFrame, hold_intervals: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add what holds today, next_retry_at and the invoice's reasons."""
    return _with_flags(judged, hold_intervals).with_columns(
        next_retry_at=_next_retry_at(policy), reasons=driver_reasons()
    )


def _with_flags(rows: pl.LazyFrame, hold_intervals: pl.LazyFrame) -> pl.LazyFrame:
    flags = ["is_held", "is_disputed", "is_in_flight"]
    holding_now = holds.reasons_on(hold_intervals, rows)
    return rows.join(holding_now, on="ref", how="left", validate="1:1").with_columns(
        pl.col(flags).fill_null(value=False)
    )


def _next_retry_at(policy: Policy) -> pl.Expr:
    """When the machine should try again: null where it should not, or has not begun."""
    offset = pl.col("failed_count").replace_strict(
        dict(enumerate(policy.retry_offsets_days, start=1)), default=None, return_dtype=pl.Int64()
    )
    waits = pl.any_horizontal("is_held", "is_disputed", "is_in_flight")
    may_retry = pl.col("is_open") & pl.col("is_retryable") & ~pl.col("is_exhausted") & ~waits
    due_at = pl.col("last_failure_at") + pl.duration(hours=24 * offset)
    return pl.when(may_retry & (pl.col("failed_count") >= 1)).then(pl.max_horizontal(due_at, "instrument_at"))


def _drivers(judged: pl.LazyFrame) -> pl.LazyFrame:
    return judged.select(
        "ref",
        "age_days",
        "is_retryable",
        "next_retry_at",
        driver_invoice_id="object_id",
        clock_started_on="clock_on",
        attempt_count="failed_count",
        driver_reasons="reasons",
    )


def _outstanding(judged: pl.LazyFrame) -> pl.LazyFrame:
    """account_id, outstanding_minor: what is past due in each currency, before thresholds."""
    return (
        judged.filter(pl.col("is_deciding"), pl.col("rung") > 0)
        .group_by("account_id", "currency")
        .agg(amount=pl.col("outstanding").sum())
        .sort("account_id", "currency")
        .group_by("account_id", maintain_order=True)
        .agg(outstanding_minor=pl.struct("currency", "amount"))
    )


def _indeterminate_reasons(
    accounts: pl.LazyFrame,
    judged: pl.LazyFrame,
    facts: Facts,
    violations: pl.LazyFrame,
    broken_stores: Collection[str],
) -> pl.LazyFrame:
    """account_id, indeterminate_reasons, child_indeterminate_reasons: a child needs only its own rows."""
    late = judged.filter(pl.col("is_owed"), pl.col("is_late"), pl.col("stripe_invoice_id").is_not_null())
    needed = violations.filter("is_needed")
    marks = {
        "has_debt": late,
        "has_debt_unknown_to_stripe": _unknown_to_stripe(late, facts, violations),
        "has_violation": needed,
        "has_own_violation": needed.filter(pl.col("table").is_in(["accounts", "subs_account"])),
    }
    marked = _marked(accounts, marks)
    is_broken = pl.lit(bool(broken_stores))
    of_any = {
        "no_mapping": pl.col("has_no_mapping") & pl.col("has_debt"),
        "several_customers": pl.col("has_several_customers") & pl.col("has_debt"),
        "shared_customer": pl.col("has_shared_customer") & pl.col("has_debt"),
        "unknown_to_stripe": pl.col("has_debt_unknown_to_stripe"),
        "contract_violation": pl.col("has_violation"),
        "source_not_whole": is_broken,
    }
    of_child = {"contract_violation": pl.col("has_own_violation"), "source_not_whole": is_broken}
    return marked.select(
        "account_id",
        indeterminate_reasons=_reasons_that_hold(of_any),
        child_indeterminate_reasons=_reasons_that_hold(of_child),
    )


def _marked(accounts: pl.LazyFrame, marks: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Accounts with a flag for each frame of `marks` that has a row of theirs."""
    flags = [rows.select("account_id", pl.lit(value=True).alias(name)).unique() for name, rows in marks.items()]
    joined = reduce(lambda frame, flag: frame.join(flag, on="account_id", how="left", validate="1:1"), flags, accounts)
    return joined.with_columns(pl.col(list(marks)).fill_null(value=False))


def _unknown_to_stripe(late: pl.LazyFrame, facts: Facts, violations: pl.LazyFrame) -> pl.LazyFrame:
    """Late and owed invoices of billing_prod whose Stripe id Stripe does not know; it does know a broken row."""
    broken = violations.filter(pl.col("table") == "stripe_invoices").select(stripe_invoice_id="object_id")
    known_to_stripe = facts["stripe_invoices"].select(stripe_invoice_id="invoice_id")
    return late.filter(pl.col("view") == "internal").join(
        pl.concat([known_to_stripe, broken.drop_nulls()]), on="stripe_invoice_id", how="anti"
    )


def _reasons_that_hold(said: dict[str, pl.Expr]) -> pl.Expr:
    return pl.concat_list([pl.when(holds).then(pl.lit(word)) for word, holds in said.items()]).list.drop_nulls()


def _next_changes(
    rows: pl.LazyFrame,
    held: pl.LazyFrame,
    now: pl.LazyFrame,
    declines: pl.LazyFrame,
    tags: pl.LazyFrame,
    policy: Policy,
) -> pl.LazyFrame:
    owed = materialize(rows.filter(pl.col("is_deciding"), pl.col("is_owed")))
    days = materialize(next_change.candidate_days(owed, held, policy))
    later = owed.join(days, on="account_id", how="inner")
    judged = _with_rungs(_judge(later, held, policy), declines, tags, policy)
    return next_change.first_change(now, states(judged, policy), days)


def _view_states(state_of: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
    named = [
        state_of[view].select("account_id", named_state("state").alias(f"{view}_state"))
        for view in ("stripe", "internal")
    ]
    return named[0].join(named[1], on="account_id", how="full", coalesce=True, validate="1:1")
