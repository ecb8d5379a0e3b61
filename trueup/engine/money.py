"""Money: what each invoice still owes, in both views, in integer minor units of its own currency.

An open or uncollectible invoice owes its base: what is due less what was paid. A paid one owes nothing, unless money
went back (a refund, a lost dispute) that the policy counts and that no overpayment or credit note explains: its
reversal. The instant of a reversal is that of the refund or dispute with which it first exceeded the tolerance.
Whether what is outstanding is *owed* also depends on subscriptions and reasons, which is `invoices.py`'s business.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from trueup.contract.schemas import Snapshot
from trueup.engine.disputes import dated_disputes
from trueup.engine.policy import Policy


def stripe_money(
    snapshot: Snapshot, facts: Snapshot, links: pl.LazyFrame, policy: Policy, as_of: datetime
) -> pl.LazyFrame:
    """Per Stripe invoice: invoice_id, base, reversal, reversal_at. `snapshot` is not cut at `as_of`; `facts` is."""
    invoices = (
        facts["stripe_invoices"]
        .join(_paid_by(snapshot["stripe_invoice_payments"], as_of), on="invoice_id", how="left", validate="m:1")
        .join(_credited(facts["stripe_credit_notes"], as_of), on="invoice_id", how="left", validate="m:1")
        .with_columns(pl.col("paid_by", "credited").fill_null(0))
        .with_columns(base=_stripe_base(as_of))
    )
    # A refund counts once, on the smallest of the invoices its payment served; a dispute is against each of them.
    smallest = links.group_by("charge_id").agg(pl.col("invoice_id").min())
    refunds = facts["stripe_refunds"].filter(pl.col("status") == "succeeded")
    returned = {
        "refunded": _money_back(with_charge(refunds, facts["stripe_charges"]), smallest),
        "lost": _money_back(_lost_disputes(snapshot, facts, policy, as_of), links),
    }
    return _with_reversal(invoices, returned, policy)


def internal_money(
    snapshot: Snapshot, facts: Snapshot, recorded: pl.LazyFrame, policy: Policy, as_of: datetime
) -> pl.LazyFrame:
    """Per internal invoice: invoice_id, base, reversal, reversal_at. `recorded` is `internal_charges`."""
    succeeded = (
        recorded.filter(pl.col("status") == "succeeded").group_by("invoice_id").agg(paid_by=pl.col("amount").sum())
    )
    credited = facts["credit_notes"].group_by("invoice_id").agg(credited=pl.col("amount").sum())
    was_paid_later = (pl.col("paid_at") > as_of).fill_null(value=False)
    invoices = (
        facts["invoices"]
        .join(succeeded, on="invoice_id", how="left", validate="m:1")
        .join(credited, on="invoice_id", how="left", validate="m:1")
        .with_columns(pl.col("paid_by", "credited", "amount_paid").fill_null(0))
        .with_columns(
            base=_above(pl.col("amount_due"), pl.when(was_paid_later).then(0).otherwise(pl.col("amount_paid")))
        )
    )
    by_charge = recorded.select("invoice_id", charge_id="stripe_charge_id").drop_nulls()
    returned = {
        "refunded": _internal_refunds(recorded, snapshot, as_of),
        "lost": _money_back(_lost_disputes(snapshot, facts, policy, as_of), by_charge),
    }
    return _with_reversal(invoices, returned, policy)


def _stripe_base(as_of: datetime) -> pl.Expr:
    """Stripe's own remainder where nothing moved since; else what was due less what had been paid by then."""
    moved_later = pl.any_horizontal(
        pl.col("has_payment_later").fill_null(value=False),
        *(
            (pl.col(at) > as_of).fill_null(value=False)
            for at in ("finalized_at", "paid_at", "voided_at", "uncollectible_at")
        ),
    )
    as_it_was = pl.col("amount_due") - pl.col("paid_by")
    return pl.when(moved_later).then(as_it_was).otherwise(pl.col("amount_remaining")).clip(lower_bound=0)


def _paid_by(payments: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Per Stripe invoice: what its invoice payments had paid by then, and whether one of them came later."""
    is_later = pl.any_horizontal((pl.col(at) > as_of).fill_null(value=False) for at in ("created_at", "paid_at"))
    has_paid = (pl.col("status") == "paid").fill_null(value=False)
    return payments.group_by("invoice_id").agg(
        paid_by=pl.col("amount_paid").filter(has_paid & ~is_later).sum(), has_payment_later=is_later.any()
    )


def _credited(notes: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Post-payment credit by invoice. A note that is void counts only if it was voided after `as_of`."""
    is_void = (pl.col("status") == "void") & (pl.col("voided_at") <= as_of).fill_null(value=True)
    return (
        notes.filter(~is_void.fill_null(value=False))
        .group_by("invoice_id")
        .agg(credited=pl.col("post_payment_amount").sum())
    )


def _lost_disputes(snapshot: Snapshot, facts: Snapshot, policy: Policy, as_of: datetime) -> pl.LazyFrame:
    return with_charge(dated_disputes(snapshot, facts, policy, as_of).filter("is_lost"), facts["stripe_charges"])


def with_charge(objects: pl.LazyFrame, charges: pl.LazyFrame) -> pl.LazyFrame:
    """Refunds or disputes with the charge they are about: the one they name, else their intent's succeeded one."""
    by_intent = (
        charges.filter((pl.col("status") == "succeeded") & pl.col("payment_intent_id").is_not_null())
        .group_by("payment_intent_id")
        .agg(intent_charge_id=pl.col("charge_id").min())
    )
    return objects.join(by_intent, on="payment_intent_id", how="left", validate="m:1").with_columns(
        charge_id=pl.coalesce("charge_id", "intent_charge_id")
    )


def _money_back(objects: pl.LazyFrame, invoice_of: pl.LazyFrame) -> pl.LazyFrame:
    """invoice_id, at, amount of refunds or disputes, on the invoices that their charge is counted for."""
    return objects.join(invoice_of, on="charge_id", how="inner").select("invoice_id", at="created_at", amount="amount")


def _internal_refunds(recorded: pl.LazyFrame, snapshot: Snapshot, as_of: datetime) -> pl.LazyFrame:
    """What billing_prod says went back (invoice_id, at, amount), dated by Stripe's refunds where it has them.

    Stripe's refunds, in order, each date their own share of the internal amount; the last also dates what they leave.
    Those later than `as_of` date theirs too: it had not gone back yet.
    """
    refunded = recorded.filter(pl.col("amount_refunded") > 0)
    dates = (
        snapshot["stripe_refunds"]
        .filter(pl.col("status") == "succeeded")
        .sort("created_at", "refund_id")
        .select(
            stripe_charge_id="charge_id",
            at="created_at",
            upto=pl.col("amount").cum_sum().over("charge_id"),
            is_last=pl.int_range(pl.len()).over("charge_id") == pl.len().over("charge_id") - 1,
        )
        .with_columns(since=pl.col("upto").shift(1, fill_value=0).over("stripe_charge_id"))
        .filter(pl.col("stripe_charge_id").is_not_null())
    )
    total = pl.col("amount_refunded")
    share = pl.when("is_last").then(total).otherwise(pl.min_horizontal("upto", total)) - pl.min_horizontal(
        "since", total
    )
    dated = refunded.join(dates, on="stripe_charge_id", how="inner").select("invoice_id", "at", amount=share)
    undated = refunded.join(dates, on="stripe_charge_id", how="anti").select(
        "invoice_id", at="updated_at", amount="amount_refunded"
    )
    return pl.concat([dated, undated]).filter((pl.col("at") <= as_of).fill_null(value=True), pl.col("amount") > 0)


def _with_reversal(invoices: pl.LazyFrame, returned: dict[str, pl.LazyFrame], policy: Policy) -> pl.LazyFrame:
    """Judge the money that went back: `returned` has refunded and lost, as invoice_id, at, amount.

    Out come invoice_id, base, paid (by then), refunded, lost, credited, reversal, reversal_at.
    """
    is_counted = {"refunded": policy.reopen_on_refund != "never", "lost": policy.reopen_on_lost_dispute}
    back = pl.concat(
        events.with_columns(kind=pl.lit(kind), is_counted=is_counted[kind]) for kind, events in returned.items()
    )
    overpaid = _above(pl.col("paid_by"), pl.col("amount_due"))
    explained = overpaid if policy.reopen_on_refund == "always" else overpaid + pl.col("credited")
    running = (
        back.filter("is_counted")
        .join(
            invoices.select("invoice_id", "currency", "amount_paid", explained=explained),
            on="invoice_id",
            how="inner",
            validate="m:1",
        )
        .sort("at", "amount")
        .with_columns(
            reversal=(pl.col("amount").cum_sum().over("invoice_id") - pl.col("explained")).clip(
                pl.lit(0), pl.max_horizontal("amount_paid", pl.lit(0))
            )
        )
    )
    reversals = running.group_by("invoice_id").agg(
        reversal=pl.col("reversal").max(),
        reversal_at=pl.col("at").filter(pl.col("reversal") > tolerance(policy)).min(),
    )
    totals = back.group_by("invoice_id").agg(
        pl.col("amount").filter(pl.col("kind") == kind).sum().alias(kind) for kind in returned
    )
    moved = totals.join(reversals, on="invoice_id", how="left", validate="1:1")
    return (
        invoices.select("invoice_id", "base", "credited", paid="paid_by")
        .join(moved, on="invoice_id", how="left", validate="m:1")
        .with_columns(pl.col("refunded", "lost", "reversal").fill_null(0))
    )


def tolerance(policy: Policy) -> pl.Expr:
    """What an invoice may owe and still owe nothing, in minor units of its currency."""
    return by_currency(policy.tolerance_minor)


def by_currency(amounts: dict[str, int]) -> pl.Expr:
    """The amount given for the row's currency, 0 where none is given."""
    if not amounts:
        return pl.lit(0, pl.Int64())
    return pl.col("currency").replace_strict(dict(amounts), default=0, return_dtype=pl.Int64())


def _above(amount: pl.Expr, limit: pl.Expr) -> pl.Expr:
    return (amount - limit).clip(lower_bound=0)
