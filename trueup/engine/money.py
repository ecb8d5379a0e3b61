"""Money: what each invoice still owes, in both views, in integer minor units of its own currency.

An open or uncollectible invoice owes its base: what is due less what was paid. A paid one owes nothing, unless money
went back (a refund, a lost dispute) that the policy counts and that no overpayment or credit note explains: its
reversal. The instant of a reversal is that of the refund or dispute with which it first exceeded the tolerance.
Whether what is outstanding is *owed* also depends on subscriptions and reasons, which is `invoices.py`'s business.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from trueup.engine.disputes import dated_disputes
from trueup.engine.facts import Facts, materialize
from trueup.engine.policy import Policy


def stripe_money(facts: Facts) -> pl.LazyFrame:
    """Per Stripe invoice: invoice_id, base, paid, refunded, lost, credited, reversal, reversal_at."""
    invoices = (
        facts["stripe_invoices"]
        .join(_paid_by(facts), on="invoice_id", how="left", validate="m:1")
        .join(_credited(facts), on="invoice_id", how="left", validate="m:1")
        .with_columns(pl.col("paid_by", "credited").fill_null(0))
        .with_columns(base=_stripe_base(facts.as_of))
    )
    # A refund counts once, on the smallest of the invoices its payment served; a dispute is against each of them.
    smallest = facts.stripe_links.group_by("charge_id").agg(pl.col("invoice_id").min())
    refunds = facts.with_charge(facts["stripe_refunds"].filter(pl.col("status") == "succeeded"))
    returned = {
        "refunded": _money_back(refunds, smallest),
        "lost": _money_back(_lost_disputes(facts), facts.stripe_links),
    }
    return _with_reversal(invoices, returned, facts.policy)


def internal_money(facts: Facts) -> pl.LazyFrame:
    """Per internal invoice: invoice_id, base, paid, refunded, lost, credited, reversal, reversal_at."""
    charges = facts.internal_charges
    succeeded = (
        charges.filter(pl.col("status") == "succeeded").group_by("invoice_id").agg(paid_by=pl.col("amount").sum())
    )
    credited = facts["credit_notes"].group_by("invoice_id").agg(credited=pl.col("amount").sum())
    was_paid_later = (pl.col("paid_at") > facts.as_of).fill_null(value=False)
    invoices = (
        facts["invoices"]
        .join(succeeded, on="invoice_id", how="left", validate="m:1")
        .join(credited, on="invoice_id", how="left", validate="m:1")
        .with_columns(pl.col("paid_by", "credited", "amount_paid").fill_null(0))
        .with_columns(
            base=_above(pl.col("amount_due"), pl.when(was_paid_later).then(0).otherwise(pl.col("amount_paid")))
        )
    )
    by_charge = charges.select("invoice_id", charge_id="stripe_charge_id").drop_nulls()
    returned = {"refunded": _internal_refunds(facts), "lost": _money_back(_lost_disputes(facts), by_charge)}
    return _with_reversal(invoices, returned, facts.policy)


def recorded_refunds(facts: Facts, charges: pl.LazyFrame) -> pl.LazyFrame:
    """charge_id, at, amount: what billing_prod's `charges` say went back by `as_of`.

    The refunds that Stripe has of a charge date the recorded amount, oldest first until it is used up; the last dates
    what is recorded beyond them. So a refund after `as_of` takes only what the earlier ones leave. What Stripe has no
    refund for is dated by the charge's `updated_at`. Stripe's refunds are taken from the whole snapshot.
    """
    refunded = charges.filter(pl.col("amount_refunded") > 0).select(
        "charge_id", "stripe_charge_id", "updated_at", total="amount_refunded"
    )
    dates = _refund_dates(facts)
    share = pl.when("is_last").then("total").otherwise(pl.min_horizontal("upto", "total")) - pl.min_horizontal(
        "since", "total"
    )
    dated = refunded.join(dates, on="stripe_charge_id", how="inner").select("charge_id", "at", amount=share)
    undated = refunded.join(dates, on="stripe_charge_id", how="anti").select(
        "charge_id", at="updated_at", amount="total"
    )
    return pl.concat([dated, undated]).filter((pl.col("at") <= facts.as_of).fill_null(value=True), pl.col("amount") > 0)


def _refund_dates(facts: Facts) -> pl.LazyFrame:
    """stripe_charge_id, at, since, upto, is_last: which part of what went back each of Stripe's refunds is."""
    refunds = facts.with_charge(facts.snapshot["stripe_refunds"].filter(pl.col("status") == "succeeded"))
    return (
        refunds.filter(pl.col("charge_id").is_not_null())
        .sort("created_at", "refund_id")
        .select(
            stripe_charge_id="charge_id",
            at="created_at",
            upto=pl.col("amount").cum_sum().over("charge_id"),
            is_last=pl.int_range(pl.len()).over("charge_id") == pl.len().over("charge_id") - 1,
        )
        .with_columns(since=pl.col("upto").shift(1, fill_value=0).over("stripe_charge_id"))
    )


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


def _paid_by(facts: Facts) -> pl.LazyFrame:
    """Per Stripe invoice: what its invoice payments had paid by then, and whether one of them came later."""
    is_later = pl.any_horizontal((pl.col(at) > facts.as_of).fill_null(value=False) for at in ("created_at", "paid_at"))
    has_paid = (pl.col("status") == "paid").fill_null(value=False)
    return (
        facts.snapshot["stripe_invoice_payments"]
        .group_by("invoice_id")
        .agg(paid_by=pl.col("amount_paid").filter(has_paid & ~is_later).sum(), has_payment_later=is_later.any())
    )


def _credited(facts: Facts) -> pl.LazyFrame:
    """Post-payment credit by invoice. A note that is void counts only if it was voided after `as_of`."""
    is_void = (pl.col("status") == "void") & (pl.col("voided_at") <= facts.as_of).fill_null(value=True)
    return (
        facts["stripe_credit_notes"]
        .filter(~is_void.fill_null(value=False))
        .group_by("invoice_id")
        .agg(credited=pl.col("post_payment_amount").sum())
    )


def _lost_disputes(facts: Facts) -> pl.LazyFrame:
    return facts.with_charge(dated_disputes(facts).filter("is_lost"))


def _money_back(objects: pl.LazyFrame, invoice_of: pl.LazyFrame) -> pl.LazyFrame:
    """invoice_id, at, amount of refunds or disputes, on the invoices that their charge is counted for."""
    return objects.join(invoice_of, on="charge_id", how="inner").select("invoice_id", at="created_at", amount="amount")


def _internal_refunds(facts: Facts) -> pl.LazyFrame:
    """invoice_id, at, amount: what billing_prod says went back, each payment once.

    A payment that served several invoices of an account has a charge for each; its refund counts on the invoice with
    the smallest id (Stripe's where it has one), as in the Stripe view.
    """
    ids = facts["invoices"].select("invoice_id", object_id=pl.coalesce("stripe_invoice_id", "invoice_id"))
    payment = ["account_id", "provider_id"]
    refunded = facts.internal_charges.filter(pl.col("amount_refunded") > 0).select(payment).unique()
    payments = materialize(
        facts.internal_charges.join(refunded, on=payment, how="semi")
        .join(ids, on="invoice_id", how="inner", validate="m:1")
        .with_columns(pl.col("amount_refunded").max().over(payment))
        .sort("object_id", "charge_id")
        .unique(payment, keep="first", maintain_order=True)
    )
    back = recorded_refunds(facts, payments)
    return back.join(payments.select("charge_id", "invoice_id"), on="charge_id", validate="m:1").select(
        "invoice_id", "at", "amount"
    )


def _with_reversal(invoices: pl.LazyFrame, returned: dict[str, pl.LazyFrame], policy: Policy) -> pl.LazyFrame:
    """Judge the money that went back: `returned` has refunded and lost, as invoice_id, at, amount.

    Out come invoice_id, base, paid (by then), refunded, lost, credited, reversal, reversal_at.
    """
    is_counted = {"refunded": policy.reopen_on_refund != "never", "lost": policy.reopen_on_lost_dispute}
    back = materialize(
        pl.concat(
            events.with_columns(kind=pl.lit(kind), is_counted=is_counted[kind]) for kind, events in returned.items()
        )
    )
    every = materialize(
        invoices.select("invoice_id", "currency", "amount_due", "amount_paid", "base", "credited", paid="paid_by")
    )
    totals = back.group_by("invoice_id").agg(
        pl.col("amount").filter(pl.col("kind") == kind).sum().alias(kind) for kind in returned
    )
    touched = materialize(  # few invoices: everything dear is worked out for them alone
        every.join(totals, on="invoice_id", how="inner", validate="m:1").with_columns(explained=_explained(policy))
    )
    running = (
        back.filter("is_counted")
        .join(
            touched.select("invoice_id", "currency", "amount_paid", "explained"),
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
    moved = touched.select("invoice_id", "refunded", "lost").join(
        reversals, on="invoice_id", how="left", validate="1:1"
    )
    return (
        every.select("invoice_id", "base", "paid", "credited")
        .join(moved, on="invoice_id", how="left", validate="m:1")
        .with_columns(pl.col("refunded", "lost", "reversal").fill_null(0))
    )


def refunded_beyond_overpayment() -> pl.Expr:
    """What went back beyond what was paid too much: what a credit note has to cover before it covers a dispute."""
    return _above(pl.col("refunded"), _above(pl.col("paid"), pl.col("amount_due")))


def credit_left_for_disputes() -> pl.Expr:
    """Credit notes cover refunds first; this is what they leave."""
    return _above(pl.col("credited"), refunded_beyond_overpayment())


def _explained(policy: Policy) -> pl.Expr:
    """What of the money that went back nobody owes again: the overpayment and, by policy, credit notes."""
    overpaid = _above(pl.col("paid"), pl.col("amount_due"))
    credit = {
        "always": pl.lit(0, pl.Int64()),
        "uncovered": pl.col("credited"),
        "never": credit_left_for_disputes(),  # refunds do not count, but what covered them covers no dispute
    }
    return overpaid + credit[policy.reopen_on_refund]


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
