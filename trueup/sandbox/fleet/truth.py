"""What happened to the accounts of one archetype, as frames of accounts, bills and charges.

The rows of all six stores are made from these frames, so that the stores agree. Moments are seconds
from the account's local midnight (see population.py) in columns that end in `_s`; a bill is known by its account and
its ordinal: small numbers are the archetype's own bills, from HISTORY on come the earlier ones, long paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from trueup.sandbox.fleet import catalogue
from trueup.sandbox.fleet.archetype import Archetype, Bill, Charge
from trueup.sandbox.fleet.population import DAY, HOUR

HISTORY: Final = 100
TINY_AMOUNT: Final = 60
_LONG_MEMORY_SHARE: Final = 0.03  # accounts whose invoices of two years are kept
_SECONDS: Final = pl.Int64()


@dataclass(frozen=True)
class Truth:
    """Accounts (one row each), bills (invoices of either view) and charges (attempts), before any id is given."""

    accounts: pl.DataFrame
    bills: pl.DataFrame
    charges: pl.DataFrame


def make_truth(archetype: Archetype, people: pl.DataFrame, rng: np.random.Generator) -> Truth:
    """Accounts, bills and charges of one archetype for these accounts."""
    own = [_bill(ordinal, bill, people) for ordinal, bill in enumerate(archetype.bills)]
    past = _history(archetype, people, rng)
    bills = pl.concat([*own, past])
    own_charges = [
        _charge(ordinal, k, charge, own[ordinal], people, rng)
        for ordinal, bill in enumerate(archetype.bills)
        for k, charge in enumerate(bill.charges)
    ]
    charges = pl.concat([*own_charges, _history_charges(past, archetype, people)])
    return Truth(_accounts(archetype, people, bills), bills, charges)


def concatenated(parts: list[Truth]) -> Truth:
    """All archetypes' frames as one, in the order of accounts."""
    return Truth(
        pl.concat([part.accounts for part in parts]).sort("account_n"),
        pl.concat([part.bills for part in parts]).sort("account_n", "ordinal"),
        pl.concat([part.charges for part in parts]).sort("account_n", "ordinal", "k"),
    )


def _bill(ordinal: int, bill: Bill, people: pl.DataFrame) -> pl.DataFrame:
    """One of the archetype's bills, for each account."""
    at = -(pl.col("days") + bill.days_earlier) * DAY + pl.col("hour_s")

    def moment(after: int | None, late_s: int = 0) -> pl.Expr:
        return pl.lit(None, _SECONDS) if after is None else at + after * DAY + late_s

    amount = _amount(bill)
    # Paid as the charge succeeds, an hour after finalisation like every first attempt.
    return people.select(
        "account_n",
        ordinal=pl.lit(ordinal, pl.Int64),
        at_s=at,
        status=pl.lit(bill.status),
        method=pl.lit(bill.method),
        currency=pl.lit(bill.currency) if bill.currency else pl.col("currency"),
        amount_due=amount,
        amount_paid=amount if bill.status == "paid" else _partly(amount, bill),
        due_s=moment(bill.due_after),
        finalized_s=moment(None if bill.status == "draft" else 0),
        paid_s=moment(bill.paid_after, HOUR),
        voided_s=moment(bill.voided_after, 2 * HOUR),
        uncollectible_s=moment(bill.uncollectible_after, 2 * HOUR),
        uncollectible_reason=pl.lit(bill.uncollectible_reason, pl.String),
        retry_s=moment(bill.retry_after, HOUR),
        is_outside=pl.lit(bill.is_outside),
        is_first=pl.lit(bill.is_first),
        auto_advance=pl.lit(bill.has_auto_advance),
        prepaid_credit=pl.lit(bill.prepaid_credit, pl.Int64),
    )


def _amount(bill: Bill) -> pl.Expr:
    """What is due: the plan's price less what was credited before, unless the bill is tiny or zero."""
    if bill.is_zero or bill.is_tiny:
        return pl.lit(TINY_AMOUNT if bill.is_tiny else 0, pl.Int64)
    return pl.col("amount") - bill.prepaid_credit


def _partly(amount: pl.Expr, bill: Bill) -> pl.Expr:
    """What succeeded charges have paid of a bill that is still open."""
    paid = [_share(amount, charge.share) for charge in bill.charges if charge.outcome == "succeeded"]
    return sum(paid, pl.lit(0, pl.Int64))


def _share(amount: pl.Expr, share: float) -> pl.Expr:
    """A share of an amount in whole minor units."""
    return amount * round(share * 100) // 100


def _charge(
    ordinal: int, k: int, charge: Charge, bills: pl.DataFrame, people: pl.DataFrame, rng: np.random.Generator
) -> pl.DataFrame:
    """One attempt on one of the archetype's bills, for each account."""
    at = pl.col("at_s") + charge.after * DAY + HOUR
    amount = _share(pl.col("amount_due"), charge.share)
    refund, dispute = charge.refund, charge.dispute

    def moment(after: int | None, late_s: int) -> pl.Expr:
        return pl.lit(None, _SECONDS) if after is None else pl.col("at_s") + after * DAY + late_s

    refunded = _share(amount, refund.share) if refund else pl.lit(None, pl.Int64)
    has_note = (refund is not None and refund.has_credit_note) or (dispute is not None and dispute.has_credit_note)
    noted_after = refund.after if refund else dispute.closed_after if dispute else None
    return bills.select(
        "account_n",
        "is_outside",
        "currency",
        ordinal=pl.lit(ordinal, pl.Int64),
        k=pl.lit(k, pl.Int64),
        at_s=at,
        status=pl.lit(charge.outcome),
        trigger=pl.lit(charge.trigger),
        amount=amount,
        intent=pl.lit(charge.intent, pl.Int64),
        decline_code=_decline(charge, people["pm_type"], rng),
        is_old_instrument=pl.lit(charge.is_old_instrument),
        refund_amount=refunded,
        refund_s=moment(refund.after if refund else None, 3 * HOUR),
        refund_status=pl.lit(refund.status if refund else None, pl.String),
        dispute_status=pl.lit(dispute.status if dispute else None, pl.String),
        dispute_s=moment(dispute.after if dispute else None, 2 * HOUR),
        dispute_closed_s=moment(dispute.closed_after if dispute else None, 2 * HOUR),
        credit_note_amount=(refunded if refund else amount) if has_note else pl.lit(None, pl.Int64),
        credit_note_s=moment(noted_after if has_note else None, 4 * HOUR),
    )


def _decline(charge: Charge, pm_types: pl.Series, rng: np.random.Generator) -> pl.Series:
    """Why each account's attempt failed: a decline code of the class that the charge names."""
    if charge.decline is None:
        return pl.Series([None] * len(pm_types), dtype=pl.String)
    cards, debits = catalogue.DECLINES[charge.decline], catalogue.DEBIT_DECLINES[charge.decline]
    dice = rng.integers(0, 60, len(pm_types))
    by_card = pl.Series(cards).gather(dice % len(cards))
    by_debit = pl.Series(debits).gather(dice % len(debits))
    return by_card.zip_with(pm_types == "card", by_debit)


def _history(archetype: Archetype, people: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Earlier invoices, all paid at once: a few for most accounts, two years of them for some."""
    count = len(people)
    longest = pl.when(pl.col("interval") == "month").then(24).otherwise(2)
    few = pl.Series(rng.integers(1, 5, count))
    wanted = pl.when(pl.Series(rng.random(count) < _LONG_MEMORY_SHARE)).then(longest).otherwise(few)
    step = pl.col("interval").replace_strict(catalogue.INTERVAL_DAYS, return_dtype=pl.Int64)
    before = max((bill.days_earlier for bill in archetype.bills), default=0)
    first = 0 if archetype.bills else -1  # without bills, the archetype's day is that of the latest invoice
    is_wanted = archetype.history and archetype.is_in_stripe
    steps = pl.int_ranges(1, pl.min_horizontal(wanted, longest) + 1) if is_wanted else pl.lit([], pl.List(pl.Int64))
    rows = people.with_columns(n=steps, step=step).explode("n").drop_nulls("n")
    at = -(pl.col("days") + before + (pl.col("n") + first) * pl.col("step")) * DAY + pl.col("hour_s")
    none = pl.lit(None, _SECONDS)
    method = _method(archetype)
    return rows.select(
        "account_n",
        ordinal=HISTORY + pl.col("n"),
        at_s=at,
        status=pl.lit("paid"),
        method=pl.lit(method),
        currency=pl.col("currency"),
        amount_due=pl.col("amount"),
        amount_paid=pl.col("amount"),
        due_s=at + 30 * DAY if method == "send_invoice" else none,
        finalized_s=at,
        paid_s=at + HOUR,
        voided_s=none,
        uncollectible_s=none,
        uncollectible_reason=pl.lit(None, pl.String),
        retry_s=none,
        is_outside=pl.lit(False),
        is_first=pl.lit(False),
        auto_advance=pl.lit(True),
        prepaid_credit=pl.lit(0, pl.Int64),
    )


def _history_charges(past: pl.DataFrame, archetype: Archetype, people: pl.DataFrame) -> pl.DataFrame:
    """The one charge that paid each earlier invoice; invoices that are sent are paid by wire, outside Stripe."""
    rows = past if _method(archetype) == "charge_automatically" else past.clear()
    empty = _charge(0, 0, Charge(0), _bill(0, Bill(), people.clear()), people.clear(), np.random.default_rng(0))
    paid = rows.select(
        "account_n",
        "is_outside",
        "currency",
        "ordinal",
        k=pl.lit(0, pl.Int64),
        at_s="paid_s",
        status=pl.lit("succeeded"),
        trigger=pl.lit("initial"),
        amount="amount_due",
        intent=pl.lit(0, pl.Int64),
        is_old_instrument=pl.lit(archetype.instrument_after is not None or not archetype.has_instrument),
    )
    return pl.concat([empty, paid], how="diagonal")


def _method(archetype: Archetype) -> str:
    """How the account's subscription collects."""
    return (
        archetype.bills[0].method if archetype.bills and not archetype.bills[0].is_outside else "charge_automatically"
    )


def _accounts(archetype: Archetype, people: pl.DataFrame, bills: pl.DataFrame) -> pl.DataFrame:
    """The accounts with every property of their archetype, and what the recompute should have stored."""
    at = -pl.col("days") * DAY + pl.col("hour_s")
    none = pl.lit(None, _SECONDS)
    since = bills.group_by("account_n").agg(first_bill_s=pl.col("at_s").min())
    known = people.join(since, on="account_n", how="left", validate="1:1", maintain_order="left")
    began = pl.coalesce("first_bill_s", at)
    came = archetype.instrument_after
    hold_from, hold_until = archetype.hold or (None, None)
    return known.with_columns(
        archetype=pl.lit(archetype.name),
        account_status=pl.lit(archetype.account_status),
        is_in_stripe=pl.lit(archetype.is_in_stripe),
        is_child=pl.lit(archetype.is_child),
        is_exempt=pl.lit(archetype.is_exempt),
        has_instrument=pl.lit(archetype.has_instrument),
        has_second_subscription=pl.lit(archetype.has_second_subscription),
        is_expired=pl.lit(archetype.is_expired),
        pause_collection=pl.lit(archetype.pause_collection, pl.String),
        mandate=pl.lit(archetype.mandate),
        method=pl.lit(_method(archetype)),
        sub_status=pl.lit(_sub_status(archetype), pl.String),
        sub_created_s=began - 120,
        sub_ended_s=none if archetype.sub_ended_after is None else at + archetype.sub_ended_after * DAY + 3 * HOUR,
        created_s=began - 2 * DAY,
        pm_created_s=began - HOUR if came is None else at + came * DAY + HOUR // 2,
        hold_from_s=none if hold_from is None else at + hold_from * DAY,
        hold_until_s=none if hold_until is None else at + hold_until * DAY,
    ).with_columns(_stored(archetype))


def _stored(archetype: Archetype) -> list[pl.Expr]:
    """The dunning row that follows: state, driver, clock (days ago), attempts, next retry."""
    is_dunned = archetype.state != "good_standing"
    driver = archetype.bills[archetype.driver] if is_dunned else Bill()
    at = -(pl.col("days") + driver.days_earlier) * DAY + pl.col("hour_s")
    retry = at + (driver.retry_after or 0) * DAY + HOUR if archetype.is_waiting else pl.lit(None, _SECONDS)
    clock = pl.col("days") + driver.days_earlier - archetype.clock_after if is_dunned else pl.lit(None, pl.Int64)
    has_access = archetype.has_access
    if has_access is None:
        has_access = archetype.state not in {"suspended", "bad_debt"}
    return [
        pl.lit(archetype.state).alias("state"),
        pl.lit(archetype.driver if is_dunned else None, pl.Int64).alias("driver"),
        clock.alias("clock_days"),
        pl.lit(archetype.attempt_count, pl.Int64).alias("attempt_count"),
        retry.alias("next_retry_s"),
        pl.lit(has_access).alias("has_access"),
    ]


def _sub_status(archetype: Archetype) -> str | None:
    """Stripe moves a subscription to past_due, then unpaid, as its open invoices fail or pass their due day."""
    if archetype.sub_status != "active":
        return archetype.sub_status
    is_dunned = archetype.state != "good_standing"
    open_bills = [bill for bill in archetype.bills if bill.status == "open" and not bill.is_outside]
    has_failed = any(charge.outcome == "failed" for bill in open_bills for charge in bill.charges)
    is_sent = any(bill.method == "send_invoice" for bill in open_bills)
    if not (has_failed or (is_sent and is_dunned)):
        return "active"
    return "unpaid" if archetype.state == "bad_debt" else "past_due"
