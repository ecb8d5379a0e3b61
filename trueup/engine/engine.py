"""The engine: everything the six stores say, a policy and an instant go in; one row per account comes out.

Read `compute` from top to bottom: it is the whole story, and each step is a module of its own. Invoices of both views
are put side by side, given their attempts, their instrument, their clock and the days that do not count; judged on
the day it is where the account lives; and added up to a state per account. No stored dunning state is read: that is
what is judged.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

import polars as pl

from trueup.contract.as_of import known_at
from trueup.contract.schemas import Snapshot
from trueup.engine import holds, identity, next_change
from trueup.engine.accounts import desired, named_state, states
from trueup.engine.clock import with_clock
from trueup.engine.cycles import judged_on, with_eligibility
from trueup.engine.fingerprint import input_hashes
from trueup.engine.invoices import invoices
from trueup.engine.ladder import ladder_facts, tags_of, with_ladder_rungs
from trueup.engine.money import with_charge
from trueup.engine.payment_method import with_instrument
from trueup.engine.payments import internal_attempts, internal_charges, stripe_attempts, stripe_links
from trueup.engine.policy import Policy
from trueup.engine.reasons import driver_reasons


@dataclass(frozen=True)
class Judged:
    """What the engine decided, and the facts that it decided from. All frames are collected.

    desired: one row per account, `schemas.DESIRED`. invoices: one row per account, view and invoice. attempts: one row
    per invoice and attempt, in both views. mapping: account_id, customer_id. view_states: account_id, and the state
    that each view of the money implies on its own (stripe_state, internal_state). hold_intervals: the days that
    invoices are held. later_refunds: Stripe refunds after `as_of`, by charge. facts: the snapshot as it was known at
    `as_of`.
    """

    desired: pl.DataFrame
    invoices: pl.DataFrame
    attempts: pl.DataFrame
    mapping: pl.DataFrame
    accounts: pl.DataFrame
    view_states: pl.DataFrame
    hold_intervals: pl.DataFrame
    later_refunds: pl.DataFrame
    facts: Snapshot


def compute(
    snapshot: Snapshot,
    policy: Policy,
    as_of: datetime,
    *,
    violations: pl.DataFrame | None = None,
    broken_stores: Collection[str] = (),
) -> Judged:
    """Judge every account of a swept snapshot (see `contract.sweep`, which also gives `violations`) at an instant.

    `broken_stores` were not read whole, or too long ago: with any, every account is indeterminate.
    """
    facts = known_at(snapshot, as_of)
    mapped = _materialize(identity.mapping(facts, policy))
    accounts = _materialize(identity.accounts(facts, mapped, policy, pl.lit(as_of)))
    links = _materialize(stripe_links(facts))
    recorded = _materialize(internal_charges(facts))

    invoices_of_accounts = _with_account(
        invoices(snapshot, facts, mapped, links, recorded, policy, as_of), accounts, policy, as_of
    )
    known = _materialize(invoices_of_accounts.with_row_index("ref"))
    attempts = _materialize(_attempts(known, facts, links, recorded, policy))
    open_or_owed = _materialize(_open_or_owed(known))
    hold_intervals = _materialize(
        _hold_intervals(known, open_or_owed, accounts, links, recorded, snapshot, facts, policy, as_of)
    )
    held = _materialize(holds.merged(hold_intervals))

    retryable_or_not = with_eligibility(
        with_clock(with_instrument(open_or_owed, attempts, facts, as_of), attempts, policy)
    )
    with_ages = _materialize(_with_instrument_age(retryable_or_not, held))
    tags = tags_of(accounts, snapshot.get("tags"))

    today = _materialize(_judge(with_ages.with_columns(on="today"), held, policy))
    views = {
        name: _materialize(_with_rungs(today.filter(is_seen), attempts.filter(is_seen), tags, policy))
        for name, is_seen in _VIEWS.items()
    }
    state_of = {name: _materialize(states(rows, policy)) for name, rows in views.items()}
    judged = _materialize(_with_reasons(_with_own_rungs(today, views), hold_intervals, policy))

    return Judged(
        desired=desired(
            accounts,
            state_of["deciding"],
            state_of["internal"],
            _drivers(judged),
            _outstanding(judged),
            _indeterminate_reasons(accounts, judged, violations, broken_stores),
            _next_changes(with_ages, held, state_of["deciding"], attempts, tags, policy),
            input_hashes(
                accounts, judged, hold_intervals, ladder_facts(attempts.filter("is_deciding"), tags, policy), policy
            ),
            policy,
        ).collect(engine="streaming"),
        invoices=_with_the_rest(judged, known, hold_intervals).collect(),
        attempts=attempts.collect(),
        mapping=mapped.sort("account_id", "customer_id").collect(),
        accounts=accounts.collect(),
        view_states=_view_states(state_of).collect(),
        hold_intervals=hold_intervals.collect(),
        later_refunds=_later_refunds(snapshot, as_of).collect(),
        facts=facts,
    )


# Which invoices each reading of the money takes.
_VIEWS = {
    "deciding": pl.col("is_deciding"),
    "internal": pl.col("view") == "internal",
    "stripe": pl.col("view") == "stripe",
}


def _materialize(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Work a frame out once, where several steps read it."""
    return frame.collect(engine="streaming").lazy()


def _with_account(
    invoices_of_accounts: pl.LazyFrame, accounts: pl.LazyFrame, policy: Policy, as_of: datetime
) -> pl.LazyFrame:
    """Add what each invoice takes from its account: timezone, today, notice_sent_on.

    Invoices of accounts that cf_prod does not know are judged too, in the policy's timezone: findings speak of them.
    """
    known = accounts.select("account_id", "timezone", "today", "notice_sent_on")
    default_today = pl.lit(as_of).dt.convert_time_zone(policy.timezone).dt.date()
    return invoices_of_accounts.join(known, on="account_id", how="left", validate="m:1").with_columns(
        pl.col("timezone").fill_null(policy.timezone), pl.col("today").fill_null(default_today)
    )


def _attempts(
    known: pl.LazyFrame, facts: Snapshot, links: pl.LazyFrame, recorded: pl.LazyFrame, policy: Policy
) -> pl.LazyFrame:
    """Attempts of both views, each with the invoice it was made for."""
    made = pl.concat(
        [
            stripe_attempts(facts, links, policy).with_columns(view=pl.lit("stripe")),
            internal_attempts(recorded, policy).with_columns(view=pl.lit("internal")),
        ]
    )
    whose = known.select("ref", "account_id", "view", "invoice_id", "object_id", "is_deciding")
    return whose.join(made, on=["view", "invoice_id"], how="inner")


def _open_or_owed(known: pl.LazyFrame) -> pl.LazyFrame:
    """The invoices that later rules judge: open or owed in either view, with their counterparts in the other."""
    keys = known.filter(pl.col("is_open") | pl.col("is_owed")).select("account_id", "object_id").unique()
    return known.join(keys, on=["account_id", "object_id"], how="semi")


def _with_the_rest(judged: pl.LazyFrame, known: pl.LazyFrame, hold_intervals: pl.LazyFrame) -> pl.LazyFrame:
    """Every invoice: the judged ones, and those of which nothing is owed, which stand on no rung."""
    settled = known.join(judged.select("ref"), on="ref", how="anti")
    rest = _with_flags(settled, hold_intervals).with_columns(
        rung=pl.lit(0, pl.Int8()), **{name: pl.lit(value=False) for name in ("is_late", "is_exhausted", "is_retryable")}
    )
    return pl.concat([judged, rest], how="diagonal")


def _hold_intervals(
    known: pl.LazyFrame,
    open_or_owed: pl.LazyFrame,
    accounts: pl.LazyFrame,
    links: pl.LazyFrame,
    recorded: pl.LazyFrame,
    snapshot: Snapshot,
    facts: Snapshot,
    policy: Policy,
    as_of: datetime,
) -> pl.LazyFrame:
    """Disputes and flights of every invoice, holds of the open_or_owed ones."""
    in_stripe = known.filter(pl.col("view") == "stripe").select("ref", "invoice_id")
    in_books = known.filter(pl.col("view") == "internal").select("ref", "invoice_id")
    in_ledger = recorded.select("invoice_id", charge_id="stripe_charge_id").drop_nulls()
    charges_of = _materialize(
        pl.concat(
            [
                in_stripe.join(links, on="invoice_id", how="inner").select("ref", "charge_id"),
                in_books.join(in_ledger, on="invoice_id", how="inner").select("ref", "charge_id"),
            ]
        ).unique()
    )
    begun = facts["stripe_payment_intents"].filter(pl.col("status") == "processing")
    intents = facts["stripe_invoice_payments"].select("invoice_id", "payment_intent_id").drop_nulls().unique()
    intent_of = pl.concat(
        [
            facts["stripe_charges"].select("charge_id", "payment_intent_id").drop_nulls(),
            begun.select("payment_intent_id", charge_id="latest_charge_id").select("charge_id", "payment_intent_id"),
        ]
    ).join(begun, on="payment_intent_id", how="semi")
    intents_of = pl.concat(
        [
            in_stripe.join(
                intents.join(begun, on="payment_intent_id", how="semi"), on="invoice_id", how="inner"
            ).select("ref", "payment_intent_id"),
            charges_of.join(intent_of, on="charge_id", how="inner").select("ref", "payment_intent_id"),
        ]
    ).unique()
    whose = known.select("ref", "timezone")
    return holds.hold_intervals(
        whose, open_or_owed, accounts, charges_of, _materialize(intents_of), snapshot, facts, policy, as_of
    )


def _with_instrument_age(retryable_or_not: pl.LazyFrame, held: pl.LazyFrame) -> pl.LazyFrame:
    """Add how old the debt was on the day its instrument came."""
    came = retryable_or_not.filter(pl.col("instrument_on") > pl.col("clock_on")).select(
        "ref", "clock_on", on="instrument_on"
    )
    ages = holds.with_age(came, held).select("ref", instrument_age_days="age_days")
    return retryable_or_not.join(ages, on="ref", how="left", validate="1:1")


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
    accounts: pl.LazyFrame, judged: pl.LazyFrame, violations: pl.DataFrame | None, broken_stores: Collection[str]
) -> pl.LazyFrame:
    """account_id, indeterminate_reasons, child_indeterminate_reasons: a child needs only its own rows."""
    has_debt = (
        judged.filter(pl.col("is_owed"), pl.col("is_late"), pl.col("stripe_invoice_id").is_not_null())
        .select("account_id", has_debt=True)
        .unique()
    )
    needed, own = _accounts_with_violations(violations)
    known = reduce(
        lambda frame, marks: frame.join(marks, on="account_id", how="left", validate="1:1"),
        [has_debt, needed, own],
        accounts,
    ).with_columns(pl.col("has_debt", "has_violation", "has_own_violation").fill_null(value=False))
    is_broken = pl.lit(bool(broken_stores))
    of_any = {
        "no_mapping": pl.col("has_no_mapping") & pl.col("has_debt"),
        "several_customers": pl.col("has_several_customers") & pl.col("has_debt"),
        "shared_customer": pl.col("has_shared_customer") & pl.col("has_debt"),
        "contract_violation": pl.col("has_violation"),
        "source_not_whole": is_broken,
    }
    of_child = {"contract_violation": pl.col("has_own_violation"), "source_not_whole": is_broken}
    return known.select(
        "account_id",
        indeterminate_reasons=_reasons_that_hold(of_any),
        child_indeterminate_reasons=_reasons_that_hold(of_child),
    )


def _accounts_with_violations(violations: pl.DataFrame | None) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Accounts with a violation in a row that they need (has_violation), and in one of their own two rows."""
    if violations is None:
        violations = pl.DataFrame(schema={"account_id": pl.String(), "table": pl.String(), "is_needed": pl.Boolean()})
    needed = violations.lazy().filter("is_needed", pl.col("account_id").is_not_null())
    own = needed.filter(pl.col("table").is_in(["accounts", "subs_account"]))
    return (
        needed.select("account_id", has_violation=True).unique(),
        own.select("account_id", has_own_violation=True).unique(),
    )


def _reasons_that_hold(said: dict[str, pl.Expr]) -> pl.Expr:
    return pl.concat_list([pl.when(holds).then(pl.lit(word)) for word, holds in said.items()]).list.drop_nulls()


def _next_changes(
    with_ages: pl.LazyFrame,
    held: pl.LazyFrame,
    now: pl.LazyFrame,
    attempts: pl.LazyFrame,
    tags: pl.LazyFrame,
    policy: Policy,
) -> pl.LazyFrame:
    owed = _materialize(with_ages.filter(pl.col("is_deciding"), pl.col("is_owed")))
    days = _materialize(next_change.candidate_days(owed, held, policy))
    later = owed.join(days, on="account_id", how="inner")
    judged = _with_rungs(_judge(later, held, policy), attempts.filter("is_deciding"), tags, policy)
    return next_change.first_change(now, states(judged, policy), days)


def _view_states(state_of: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
    named = [
        state_of[view].select("account_id", named_state("state").alias(f"{view}_state"))
        for view in ("stripe", "internal")
    ]
    return named[0].join(named[1], on="account_id", how="full", coalesce=True, validate="1:1")


def _later_refunds(snapshot: Snapshot, as_of: datetime) -> pl.LazyFrame:
    refunds = snapshot["stripe_refunds"].filter(pl.col("status") == "succeeded", pl.col("created_at") > as_of)
    return (
        with_charge(refunds, snapshot["stripe_charges"])
        .filter(pl.col("charge_id").is_not_null())
        .group_by("charge_id")
        .agg(pl.col("amount").sum())
    )
