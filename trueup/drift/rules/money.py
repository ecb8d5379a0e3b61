"""Money: the same invoice and the same payment, as Stripe and as billing_prod have them.

An invoice is the same on both sides by its Stripe id, a charge too, whoever's customer it is. Statuses are those of
`as_of`. What the two sides owe is compared only where they agree on the status and the currency. An invoice that only
one side knows is a finding of its own, and nothing else is compared.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.drift.evidence import Evidence, found
from trueup.engine.money import tolerance, with_charge


def inv_missing_internal(evidence: Evidence) -> pl.LazyFrame:
    """A finalized Stripe invoice of a mapped customer that the ledger does not know."""
    finalized = evidence.stripe_invoices.filter((pl.col("status") != "draft").fill_null(value=False))
    unknown = (
        finalized.join(evidence.mapping, on="customer_id", how="inner")
        .join(evidence.internal_invoices, left_on="invoice_id", right_on="stripe_invoice_id", how="anti")
        .join(evidence.objects_with_violations("invoices"), left_on="invoice_id", right_on="object_id", how="anti")
    )
    return found(
        unknown,
        {
            "billing_prod": {"is_known": pl.lit(value=False)},
            "stripe": {"status": "status", "amount_due": "amount_due", "currency": "currency"},
        },
        object_id="invoice_id",
    )


def inv_missing_stripe(evidence: Evidence) -> pl.LazyFrame:
    """The ledger names a Stripe invoice that Stripe does not know."""
    unknown = (
        evidence.internal_invoices.filter(pl.col("stripe_invoice_id").is_not_null())
        .join(evidence.facts["stripe_invoices"], left_on="stripe_invoice_id", right_on="invoice_id", how="anti")
        .join(evidence.objects_with_violations("stripe_invoices"), on="object_id", how="anti")
    )
    return found(
        unknown,
        {
            "billing_prod": {"invoice_id": "invoice_id", "status": "status", "amount_due": "amount_due"},
            "stripe": {"is_known": pl.lit(value=False)},
        },
        object_id="object_id",
    )


def inv_paid_stripe_open_internal(evidence: Evidence) -> pl.LazyFrame:
    """The customer paid, and we do not know."""
    return _status_pair(evidence, _is_pair("paid", "open"))


def inv_open_stripe_paid_internal(evidence: Evidence) -> pl.LazyFrame:
    """We believe that it settled, and it did not."""
    return _status_pair(evidence, _is_pair("open", "paid"))


def inv_status_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """Any other pair of statuses that differ."""
    return _status_pair(evidence, ~_is_pair("paid", "open") & ~_is_pair("open", "paid"))


def inv_amount_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """The statuses agree; what is outstanding differs by more than the tolerance."""
    difference = (pl.col("outstanding") - pl.col("stripe_outstanding")).abs()
    differs = evidence.pairs.filter(
        pl.col("status") == pl.col("stripe_status"),
        pl.col("currency") == pl.col("stripe_currency"),
        difference > tolerance(evidence.policy),
    )
    return found(
        differs,
        {
            "billing_prod": {"outstanding": "outstanding", "currency": "currency", "status": "status"},
            "stripe": {"outstanding": "stripe_outstanding", "currency": "stripe_currency", "status": "stripe_status"},
        },
        object_id="object_id",
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
    )


def pay_unrecorded(evidence: Evidence) -> pl.LazyFrame:
    """A Stripe charge on an invoice that billing_prod.charges does not have."""
    unrecorded = (
        evidence.attempts.filter(pl.col("view") == "stripe")
        .join(evidence.facts["charges"], left_on="charge_id", right_on="stripe_charge_id", how="anti")
        .join(evidence.objects_with_violations("charges"), left_on="charge_id", right_on="object_id", how="anti")
    )
    ours = evidence.facts["stripe_charges"].filter(evidence.is_our_mode)
    return found(
        unrecorded.join(ours, on="charge_id", how="semi"),
        {
            "billing_prod": {"is_known": pl.lit(value=False)},
            "stripe": {"invoice_id": "object_id", "status": "status", "created_at": "attempted_at"},
        },
        object_id="charge_id",
    )


def refund_unrecorded(evidence: Evidence) -> pl.LazyFrame:
    """What went back of a charge differs; a refund that failed did not go back."""
    charges = evidence.facts["stripe_charges"]
    refunded = _refunded_by_charge(evidence)
    later = evidence.judged.later_refunds.lazy().select("charge_id", later="amount")
    ours = (
        evidence.facts["charges"]
        .filter(pl.col("stripe_charge_id").is_not_null())
        .select("account_id", "amount_refunded", charge_id="stripe_charge_id")
    )
    differs = (
        ours.join(charges.select("charge_id", "currency"), on="charge_id", how="inner", validate="m:1")
        .join(refunded, on="charge_id", how="left", validate="m:1")
        .join(later, on="charge_id", how="left", validate="m:1")
        .join(evidence.accounts_with_violations("stripe_refunds"), on="account_id", how="anti")
        .with_columns(pl.col("refunded", "later").fill_null(0))
        .with_columns(recorded=(pl.col("amount_refunded") - pl.col("later")).clip(lower_bound=0))
        .filter(pl.col("recorded") != pl.col("refunded"))
    )
    return found(
        differs,
        {
            "billing_prod": {"amount_refunded": "recorded"},
            "stripe": {"amount_refunded": "refunded", "currency": "currency"},
        },
        object_id="charge_id",
    )


def refund_no_credit_note(evidence: Evidence) -> pl.LazyFrame:
    """Money went back on a paid invoice, beyond what was paid too much, and no credit note says why."""
    return _unexplained(evidence, _refunded_beyond_overpayment() > pl.col("credited"))


def dispute_lost_unresolved(evidence: Evidence) -> pl.LazyFrame:
    """A dispute was lost, the invoice still counts as paid, and no credit note is left to explain it."""
    left = (pl.col("credited") - _refunded_beyond_overpayment()).clip(lower_bound=0)
    return _unexplained(evidence, (pl.col("lost") > 0) & (pl.col("lost") > left))


def _is_pair(stripe: str, internal: str) -> pl.Expr:
    return (pl.col("stripe_status") == stripe) & (pl.col("status") == internal)


def _status_pair(evidence: Evidence, is_ours: pl.Expr) -> pl.LazyFrame:
    """Pairs whose statuses differ, of the kind that the rule is about."""
    differs = evidence.pairs.filter(pl.col("status") != pl.col("stripe_status"), is_ours)
    return found(
        differs,
        {"billing_prod": {"status": "status"}, "stripe": {"status": "stripe_status"}},
        object_id="object_id",
    )


def _deciding(evidence: Evidence) -> pl.LazyFrame:
    return evidence.invoices.filter("is_deciding", evidence.is_our_mode).with_columns(
        pl.col("paid", "refunded", "lost", "credited").fill_null(0)
    )


def _refunded_by_charge(evidence: Evidence) -> pl.LazyFrame:
    """charge_id, refunded: succeeded refunds by `as_of`; those that name only an intent go to its succeeded charge."""
    refunds = with_charge(
        evidence.facts["stripe_refunds"].filter(pl.col("status") == "succeeded"), evidence.facts["stripe_charges"]
    )
    return refunds.filter(pl.col("charge_id").is_not_null()).group_by("charge_id").agg(refunded=pl.col("amount").sum())


def _refunded_beyond_overpayment() -> pl.Expr:
    overpaid = (pl.col("paid") - pl.col("amount_due")).clip(lower_bound=0)
    return (pl.col("refunded") - overpaid).clip(lower_bound=0)


def _unexplained(evidence: Evidence, breaks: pl.Expr) -> pl.LazyFrame:
    with_violations = evidence.accounts_with_violations("credit_notes", "stripe_credit_notes")
    rows = (
        _deciding(evidence)
        .filter(pl.col("status") == "paid", breaks)
        .join(with_violations, on="account_id", how="anti")
    )
    return found(
        rows,
        {
            "invoice": {
                name: name for name in ("view", "amount_due", "paid", "refunded", "lost", "credited", "currency")
            }
        },
        object_id="object_id",
    )


RULES: Final = (
    inv_missing_internal,
    inv_missing_stripe,
    inv_paid_stripe_open_internal,
    inv_open_stripe_paid_internal,
    inv_status_mismatch,
    inv_amount_mismatch,
    inv_currency_mismatch,
    pay_double_charge,
    pay_unlinked,
    pay_unrecorded,
    refund_unrecorded,
    refund_no_credit_note,
    dispute_lost_unresolved,
)
