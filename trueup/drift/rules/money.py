"""Money: the same invoice and the same payment, as Stripe and as billing_prod have them.

An invoice is the same on both sides by its Stripe id, a charge too, whoever's customer it is. Statuses are those of
`as_of`. What the two sides owe is compared only where they agree on the status and the currency. An invoice that only
one side knows is a finding of its own, and nothing else is compared.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.drift.evidence import AtStake, Evidence, found
from trueup.engine.money import credit_left_for_disputes, recorded_refunds, refunded_beyond_overpayment, tolerance


def inv_missing_internal(evidence: Evidence) -> pl.LazyFrame:
    """A finalized Stripe invoice of a mapped customer that the ledger does not know."""
    finalized = evidence.stripe_invoices.filter((pl.col("status") != "draft").fill_null(value=False))
    unknown = (
        finalized.join(evidence.mapping, on="customer_id", how="inner")
        .join(evidence.internal_invoices, left_on="invoice_id", right_on="stripe_invoice_id", how="anti")
        .join(evidence.objects_with_violations("invoices"), left_on="invoice_id", right_on="object_id", how="anti")
    )
    return found(
        evidence.with_outstanding(unknown.drop("currency").with_columns(object_id="invoice_id")),
        {
            "billing_prod": {"is_known": pl.lit(value=False)},
            "stripe": {"status": "status", "amount_due": "amount_due", "currency": "currency"},
        },
        object_id="invoice_id",
        at_stake=AtStake(),
    )


def inv_missing_stripe(evidence: Evidence) -> pl.LazyFrame:
    """The ledger names a Stripe invoice that Stripe does not know."""
    unknown = (
        evidence.internal_invoices.filter(pl.col("stripe_invoice_id").is_not_null())
        .join(evidence.facts["stripe_invoices"], left_on="stripe_invoice_id", right_on="invoice_id", how="anti")
        .join(evidence.objects_with_violations("stripe_invoices"), on="object_id", how="anti")
    )
    owed = evidence.invoices.filter(pl.col("view") == "internal").select("invoice_id", "outstanding")
    return found(
        unknown.join(owed, on="invoice_id", how="left", validate="m:1"),
        {
            "billing_prod": {"invoice_id": "invoice_id", "status": "status", "amount_due": "amount_due"},
            "stripe": {"is_known": pl.lit(value=False)},
        },
        object_id="object_id",
        at_stake=AtStake(),
    )


def inv_paid_stripe_open_internal(evidence: Evidence) -> pl.LazyFrame:
    """The customer paid, and we do not know."""
    return _status_pair(evidence, _is_pair("paid", "open"), AtStake("outstanding", "currency"))


def inv_open_stripe_paid_internal(evidence: Evidence) -> pl.LazyFrame:
    """We believe that it settled, and it did not."""
    return _status_pair(evidence, _is_pair("open", "paid"), AtStake("stripe_outstanding", "stripe_currency"))


def inv_status_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """Any other pair of statuses that differ."""
    others = ~_is_pair("paid", "open") & ~_is_pair("open", "paid")
    return _status_pair(evidence, others, AtStake(_difference(), _common_currency()))


def inv_amount_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """The statuses agree; what is outstanding differs by more than the tolerance."""
    differs = evidence.pairs.filter(
        pl.col("status") == pl.col("stripe_status"),
        pl.col("currency") == pl.col("stripe_currency"),
        _difference() > tolerance(evidence.policy),
    )
    return found(
        differs,
        {
            "billing_prod": {"outstanding": "outstanding", "currency": "currency", "status": "status"},
            "stripe": {"outstanding": "stripe_outstanding", "currency": "stripe_currency", "status": "stripe_status"},
        },
        object_id="object_id",
        at_stake=AtStake(_difference(), "currency"),
    )


def inv_currency_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """The two sides name different currencies."""
    differs = evidence.pairs.filter(pl.col("currency") != pl.col("stripe_currency"))
    return found(
        differs,
        {"billing_prod": {"currency": "currency"}, "stripe": {"currency": "stripe_currency"}},
        object_id="object_id",
    )


def pay_double_charge(evidence: Evidence) -> pl.LazyFrame:
    """More was paid on one invoice, net of what went back, than was due."""
    doubled = _deciding(evidence).filter(pl.col("paid") - pl.col("refunded") > pl.col("amount_due"))
    return found(
        doubled,
        {"invoice": {name: name for name in ("view", "amount_due", "paid", "refunded", "currency")}},
        object_id="object_id",
        at_stake=AtStake(pl.col("paid") - pl.col("refunded") - pl.col("amount_due")),
    )


def pay_unlinked(evidence: Evidence) -> pl.LazyFrame:
    """A succeeded Stripe charge, older than a day, on no invoice and in no charge of ours."""
    payments = evidence.facts["stripe_invoice_payments"]
    unlinked = (
        evidence.facts["stripe_charges"]
        .filter(
            evidence.is_our_mode,
            pl.col("status") == "succeeded",
            pl.col("created_at") < evidence.as_of - timedelta(days=1),
        )
        .join(evidence.mapping, on="customer_id", how="inner")
        .join(payments, on="charge_id", how="anti")
        .join(payments, on="payment_intent_id", how="anti")
        .join(evidence.facts["charges"], left_on="charge_id", right_on="stripe_charge_id", how="anti")
        .join(evidence.objects_with_violations("charges"), left_on="charge_id", right_on="object_id", how="anti")
        .join(evidence.accounts_with_violations("stripe_invoice_payments"), on="account_id", how="anti")
    )
    return found(
        unlinked,
        {
            "billing_prod": {"is_known": pl.lit(value=False)},
            "stripe": {"amount": "amount", "currency": "currency", "created_at": "created_at"},
        },
        object_id="charge_id",
        at_stake=AtStake("amount"),
    )


def pay_unrecorded(evidence: Evidence) -> pl.LazyFrame:
    """A Stripe charge on an invoice that billing_prod.charges does not have."""
    unrecorded = (
        evidence.attempts.filter(pl.col("view") == "stripe")
        .join(evidence.facts["charges"], left_on="charge_id", right_on="stripe_charge_id", how="anti")
        .join(evidence.objects_with_violations("charges"), left_on="charge_id", right_on="object_id", how="anti")
    )
    ours = evidence.facts["stripe_charges"].filter(evidence.is_our_mode).select("charge_id", "currency")
    return found(
        unrecorded.join(ours, on="charge_id", how="inner", validate="m:1"),
        {
            "billing_prod": {"is_known": pl.lit(value=False)},
            "stripe": {
                "invoice_id": "object_id",
                "status": "status",
                "amount": "amount",
                "currency": "currency",
                "created_at": "attempted_at",
            },
        },
        object_id="charge_id",
        at_stake=_if_succeeded(),
    )


def inv_duplicate_period(evidence: Evidence) -> pl.LazyFrame:
    """Two invoices of one subscription bill the same item from the same instant: a row for each but the first.

    Stripe's `lines` say what an invoice bills (`billed_periods`); where they are absent nobody can say.
    """
    cycles = evidence.stripe_invoices.filter(
        ~pl.col("status").is_in(["void", "draft"]),
        pl.col("billing_reason") == "subscription_cycle",
        pl.col("subscription_id").is_not_null(),
        pl.col("billed_periods").list.len() > 0,
    )
    period = ["subscription_id", "period"]
    again = (
        cycles.sort("created_at", "invoice_id", nulls_last=True)
        .select("invoice_id", "customer_id", "subscription_id", "currency", "amount_due", period="billed_periods")
        .explode("period", empty_as_null=True)
        .drop_nulls("period")
        .unique([*period, "invoice_id"], keep="first", maintain_order=True)
        .with_columns(first_invoice_id=pl.col("invoice_id").first().over(period))
        .filter(pl.col("invoice_id") != pl.col("first_invoice_id"))
        .unique("invoice_id", keep="first", maintain_order=True)
    )
    return found(
        again.join(evidence.mapping, on="customer_id", how="inner"),
        {
            "stripe": {
                name: name for name in ("first_invoice_id", "subscription_id", "period", "amount_due", "currency")
            }
        },
        object_id="invoice_id",
        at_stake=AtStake("amount_due"),
    )


def chg_orphan_invoice(evidence: Evidence) -> pl.LazyFrame:
    """A charge of billing_prod names an invoice that no row of billing_prod has.

    An invoice that takes effect later than `as_of` is there all the same, and so is one whose row breaks its contract.
    """
    orphans = (
        evidence.facts["charges"]
        .filter(pl.col("invoice_id").is_not_null())
        .join(evidence.facts.snapshot["invoices"], on="invoice_id", how="anti")
        .join(evidence.keys_with_violations("invoices"), left_on="invoice_id", right_on="key", how="anti")
    )
    return found(
        orphans,
        {"billing_prod": {name: name for name in _CHARGE_SHOWN}},
        object_id="charge_id",
        at_stake=_if_succeeded(),
    )


_CHARGE_SHOWN: Final = ("invoice_id", "stripe_charge_id", "status", "amount", "currency", "attempted_at")


def refund_unrecorded(evidence: Evidence) -> pl.LazyFrame:
    """What went back of a charge by `as_of` differs; a refund that failed did not go back."""
    charges = evidence.facts["charges"].filter(pl.col("stripe_charge_id").is_not_null())
    recorded = recorded_refunds(evidence.facts, charges).group_by("charge_id").agg(recorded=pl.col("amount").sum())
    in_stripe = evidence.facts["stripe_charges"].select(stripe_charge_id="charge_id", currency="currency")
    differs = (
        charges.select("account_id", "charge_id", "stripe_charge_id")
        .join(in_stripe, on="stripe_charge_id", how="inner", validate="m:1")
        .join(recorded, on="charge_id", how="left", validate="1:1")
        .join(_refunded_by_charge(evidence), on="stripe_charge_id", how="left", validate="m:1")
        .join(evidence.accounts_with_violations("stripe_refunds"), on="account_id", how="anti")
        .with_columns(pl.col("refunded", "recorded").fill_null(0))
        .filter(pl.col("recorded") != pl.col("refunded"))
    )
    return found(
        differs,
        {
            "billing_prod": {"amount_refunded": "recorded"},
            "stripe": {"amount_refunded": "refunded", "currency": "currency"},
        },
        object_id="stripe_charge_id",
        at_stake=AtStake((pl.col("recorded") - pl.col("refunded")).abs()),
    )


def refund_no_credit_note(evidence: Evidence) -> pl.LazyFrame:
    """Money went back on a paid invoice, beyond what was paid too much, and no credit note says why."""
    return _unexplained(evidence, refunded_beyond_overpayment() - pl.col("credited"))


def dispute_lost_unresolved(evidence: Evidence) -> pl.LazyFrame:
    """A dispute was lost, the invoice still counts as paid, and no credit note is left to explain it."""
    return _unexplained(evidence, pl.col("lost") - credit_left_for_disputes())


def _is_pair(stripe: str, internal: str) -> pl.Expr:
    return (pl.col("stripe_status") == stripe) & (pl.col("status") == internal)


def _status_pair(evidence: Evidence, is_of_the_rule: pl.Expr, at_stake: AtStake) -> pl.LazyFrame:
    """Pairs whose statuses differ, of the kind that the rule is about."""
    differs = evidence.pairs.filter(pl.col("status") != pl.col("stripe_status"), is_of_the_rule)
    return found(
        differs,
        {
            "billing_prod": {"status": "status", "outstanding": "outstanding", "currency": "currency"},
            "stripe": {"status": "stripe_status", "outstanding": "stripe_outstanding", "currency": "stripe_currency"},
        },
        object_id="object_id",
        at_stake=at_stake,
    )


def _difference() -> pl.Expr:
    return (pl.col("outstanding") - pl.col("stripe_outstanding")).abs()


def _common_currency() -> pl.Expr:
    """The pair's currency; null where the two sides name different ones."""
    return pl.when(pl.col("currency") == pl.col("stripe_currency")).then(pl.col("currency"))


def _if_succeeded() -> AtStake:
    """A payment's amount; a failed attempt moved no money."""
    return AtStake(pl.when(pl.col("status") == "succeeded").then(pl.col("amount")))


def _deciding(evidence: Evidence) -> pl.LazyFrame:
    return evidence.invoices.filter("is_deciding", evidence.is_our_mode).with_columns(
        pl.col("paid", "refunded", "lost", "credited").fill_null(0)
    )


def _refunded_by_charge(evidence: Evidence) -> pl.LazyFrame:
    """stripe_charge_id, refunded: succeeded refunds by `as_of`; one that names only an intent is its charge's."""
    refunds = evidence.facts.with_charge(evidence.facts["stripe_refunds"].filter(pl.col("status") == "succeeded"))
    return (
        refunds.filter(pl.col("charge_id").is_not_null())
        .group_by(stripe_charge_id="charge_id")
        .agg(refunded=pl.col("amount").sum())
    )


def _unexplained(evidence: Evidence, uncovered: pl.Expr) -> pl.LazyFrame:
    """Paid invoices of which `uncovered` went back (minor units) without anything that explains it."""
    hidden = evidence.accounts_with_violations("credit_notes", "stripe_credit_notes")
    paid = _deciding(evidence).filter(pl.col("status") == "paid", uncovered > 0)
    columns = ("view", "amount_due", "paid", "refunded", "lost", "credited", "currency")
    return found(
        paid.join(hidden, on="account_id", how="anti"),
        {"invoice": {name: name for name in columns}},
        object_id="object_id",
        at_stake=AtStake(uncovered),
    )


RULES: Final = (
    inv_missing_internal,
    inv_missing_stripe,
    inv_paid_stripe_open_internal,
    inv_open_stripe_paid_internal,
    inv_status_mismatch,
    inv_amount_mismatch,
    inv_currency_mismatch,
    inv_duplicate_period,
    chg_orphan_invoice,
    pay_double_charge,
    pay_unlinked,
    pay_unrecorded,
    refund_unrecorded,
    refund_no_credit_note,
    dispute_lost_unresolved,
)
