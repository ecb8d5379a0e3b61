"""Holding: the days that do not count, because a hold, a dispute or a payment in flight stands still over them.

Each reason is an interval of days: those after `start_on` up to and with `end_on`. A day is held once, however many
reasons hold it, so the intervals of one invoice are merged before they are counted. For people and for retries a reason
already holds on the day it begins; for age it begins on the day after.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from trueup.contract.vocabulary import DEBIT_TYPES
from trueup.engine.disputes import dated_disputes
from trueup.engine.facts import Facts, materialize
from trueup.engine.local_time import days_between, plus_days, with_local_dates
from trueup.engine.policy import Policy

FAR: Final = date(9000, 1, 1)  # the end of what has no end


def hold_intervals(
    facts: Facts, invoices: pl.LazyFrame, open_or_owed: pl.LazyFrame, accounts: pl.LazyFrame
) -> pl.LazyFrame:
    """Why and when each invoice is held: ref, kind {held, disputed, in_flight}, start_on, end_on.

    Disputes and payments in flight of all `invoices` (ref, view, invoice_id, timezone); holds of the `open_or_owed`
    ones (ref, account_id), by the dates that `accounts` has.
    """
    charges = materialize(_charges_of(facts, invoices))
    intents = materialize(_processing_intents_of(facts, invoices, charges))
    zones = invoices.select("ref", "timezone")
    disputes = _disputes(facts).join(charges, on="charge_id", how="inner")
    pending = _pending_charges(facts).join(charges, on="charge_id", how="inner")
    processing = _processing_intents(facts, intents).join(intents, on="payment_intent_id", how="inner")
    flights = pl.concat(frame.select("ref", "begun_at", "type") for frame in (pending, processing))
    return pl.concat(
        [
            _held(open_or_owed, accounts),
            _disputed(disputes.join(zones, on="ref", how="inner", validate="m:1"), facts.policy),
            _in_flight(flights.join(zones, on="ref", how="inner", validate="m:1"), facts.policy),
        ]
    )


def _charges_of(facts: Facts, invoices: pl.LazyFrame) -> pl.LazyFrame:
    """ref, charge_id: the Stripe charges of each invoice; of an internal one, those that billing_prod recorded."""
    in_stripe = invoices.filter(pl.col("view") == "stripe").select("ref", "invoice_id")
    in_books = invoices.filter(pl.col("view") == "internal").select("ref", "invoice_id")
    recorded = facts.internal_charges.select("invoice_id", charge_id="stripe_charge_id").drop_nulls()
    return pl.concat(
        [
            in_stripe.join(facts.stripe_links, on="invoice_id", how="inner").select("ref", "charge_id"),
            in_books.join(recorded, on="invoice_id", how="inner").select("ref", "charge_id"),
        ]
    ).unique()


def _processing_intents_of(facts: Facts, invoices: pl.LazyFrame, charges: pl.LazyFrame) -> pl.LazyFrame:
    """ref, payment_intent_id: the intents under way of each invoice, by its invoice payments and by its charges."""
    processing = facts["stripe_payment_intents"].filter(pl.col("status") == "processing")
    paid_by = facts["stripe_invoice_payments"].select("invoice_id", "payment_intent_id").drop_nulls().unique()
    in_stripe = invoices.filter(pl.col("view") == "stripe").select("ref", "invoice_id")
    intent_of_charge = pl.concat(
        [
            facts["stripe_charges"].select("charge_id", "payment_intent_id").drop_nulls(),
            processing.select(charge_id="latest_charge_id", payment_intent_id="payment_intent_id"),
        ]
    ).join(processing, on="payment_intent_id", how="semi")
    of_payments = in_stripe.join(
        paid_by.join(processing, on="payment_intent_id", how="semi"), on="invoice_id", how="inner"
    )
    of_charges = charges.join(intent_of_charge, on="charge_id", how="inner")
    return pl.concat(frame.select("ref", "payment_intent_id") for frame in (of_payments, of_charges)).unique()


def _held(invoices: pl.LazyFrame, accounts: pl.LazyFrame) -> pl.LazyFrame:
    holds = accounts.filter(pl.col("hold_from_on").is_not_null()).select(
        "account_id", start_on="hold_from_on", end_on=pl.col("hold_until_on").fill_null(FAR)
    )
    return (
        invoices.select("ref", "account_id")
        .join(holds, on="account_id", how="inner", validate="m:1")
        .select("ref", "start_on", "end_on", kind=pl.lit("held"))
        .select(_HOLD_INTERVAL)
    )


def _disputes(facts: Facts) -> pl.LazyFrame:
    return facts.with_charge(dated_disputes(facts)).select("charge_id", "created_at", "closed_at")


def _disputed(disputes: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    latest = plus_days(pl.col("start_on"), policy.dispute_max_days)
    return (
        with_local_dates(disputes, {"created_at": "start_on", "closed_at": "closed_on"})
        .with_columns(end_on=pl.min_horizontal("closed_on", latest), kind=pl.lit("disputed"))
        .select(_HOLD_INTERVAL)
    )


def _in_flight(flights: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    most = policy.in_flight_max_days
    days = pl.when(pl.col("type").is_in(DEBIT_TYPES)).then(most.debit).otherwise(most.card)
    return (
        with_local_dates(flights, {"begun_at": "start_on"})
        .with_columns(end_on=plus_days(pl.col("start_on"), days), kind=pl.lit("in_flight"))
        .select(_HOLD_INTERVAL)
    )


_HOLD_INTERVAL = ("ref", "kind", "start_on", "end_on")


def _pending_charges(facts: Facts) -> pl.LazyFrame:
    return (
        facts["stripe_charges"]
        .filter(pl.col("status") == "pending")
        .join(_types(facts), on="payment_method_id", how="left", validate="m:1")
        .select("charge_id", begun_at="created_at", type=pl.coalesce("payment_method_type", "method_type"))
    )


def _processing_intents(facts: Facts, intents: pl.LazyFrame) -> pl.LazyFrame:
    """Intents under way, begun when their latest charge was made, or when they were created if there is none."""
    under_way = (
        facts["stripe_payment_intents"]
        .filter(pl.col("status") == "processing")
        .join(intents, on="payment_intent_id", how="semi")
    )
    charges = facts["stripe_charges"]
    latest = (
        charges.join(under_way, on="payment_intent_id", how="semi")
        .sort("created_at", "charge_id")
        .group_by("payment_intent_id", maintain_order=True)
        .agg(charged_at=pl.col("created_at").last(), charged_type=pl.col("payment_method_type").last())
    )
    named = charges.select(latest_charge_id="charge_id", named_at="created_at", named_type="payment_method_type")
    return (
        under_way.join(latest, on="payment_intent_id", how="left", validate="1:1")
        .join(named, on="latest_charge_id", how="left", validate="m:1")
        .join(_types(facts), on="payment_method_id", how="left", validate="m:1")
        .select(
            "payment_intent_id",
            begun_at=pl.coalesce("named_at", "charged_at", "created_at"),
            type=pl.coalesce("named_type", "charged_type", "method_type", "payment_method_type"),
        )
    )


def _types(facts: Facts) -> pl.LazyFrame:
    return facts["stripe_payment_methods"].select("payment_method_id", method_type="type")


def merged(hold_intervals: pl.LazyFrame) -> pl.LazyFrame:
    """The hold_intervals of each invoice as ones that do not touch twice: ref, start_on, end_on."""
    ordered = (
        hold_intervals.select("ref", "start_on", "end_on")
        .filter(pl.col("end_on") > pl.col("start_on"))
        .sort("ref", "start_on", "end_on")
        .with_columns(reached_on=pl.col("end_on").cum_max().shift(1).over("ref"))
        .with_columns(start_on=pl.max_horizontal("start_on", "reached_on"))
    )
    return ordered.filter(pl.col("end_on") > pl.col("start_on")).select("ref", "start_on", "end_on")


def with_age(days: pl.LazyFrame, held: pl.LazyFrame) -> pl.LazyFrame:
    """Add held_days and age_days to rows (ref, on, clock_on): how old the debt is on that day. `held` is `merged`.

    Null where there is no clock, below zero where it has not begun by then.
    """
    rows = days.filter(pl.col("clock_on") <= pl.col("on")).select("ref", "on", "clock_on").unique()
    start = pl.max_horizontal("start_on", "clock_on")
    overlap = days_between(start, pl.min_horizontal("end_on", "on")).clip(lower_bound=0)
    counted = rows.join(held, on="ref", how="inner").group_by("ref", "on").agg(held_days=overlap.sum())
    return (
        days.join(counted, on=["ref", "on"], how="left", validate="m:1")
        .with_columns(pl.col("held_days").fill_null(0))
        .with_columns(age_days=days_between(pl.col("clock_on"), pl.col("on")) - pl.col("held_days"))
    )


def reasons_on(hold_intervals: pl.LazyFrame, today: pl.LazyFrame) -> pl.LazyFrame:
    """ref, is_held, is_disputed, is_in_flight on each invoice's `today`, counting the day a reason begins."""
    holds = (pl.col("start_on") <= pl.col("today")) & (pl.col("today") <= pl.col("end_on"))
    return (
        hold_intervals.join(today.select("ref", "today"), on="ref", how="inner", validate="m:1")
        .filter(holds)
        .group_by("ref")
        .agg(**{f"is_{kind}": (pl.col("kind") == kind).any() for kind in ("held", "disputed", "in_flight")})
    )
