"""Stripe's side of the truth: every object list, as a sound reader would bring it home.

The frames have the columns of `stripe_*` in trueup/contract/schemas.py, which is also the compact form that the Stripe
sandbox loads. Stripe keeps events for thirty days, so only the last month's are here.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from trueup.contract.schemas import INSTANT, TABLES
from trueup.sandbox.fleet import ids
from trueup.sandbox.fleet.identify import Known, price_id

_NO_TEXT: Final = pl.lit(None, pl.String)
_NEVER: Final = pl.lit(None, INSTANT)
_YES: Final = pl.lit(True)
_EVENT_DAYS: Final = 29
_NO_METADATA_SHARE: Final = 0.02
_ACCEPTED_SHARE: Final = 0.9  # of Bacs mandates; the bank has not answered for the others yet


def make_objects(known: Known, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """Table name (`stripe_customers` …) → its rows."""
    events = _events(known, rng)
    frames = {
        "stripe_customers": _customers(known.accounts),
        "stripe_payment_methods": _payment_methods(known.accounts),
        "stripe_subscriptions": _subscriptions(known.accounts),
        "stripe_invoices": _invoices(known),
        "stripe_invoice_payments": _invoice_payments(known.intents),
        "stripe_payment_intents": _payment_intents(known.intents),
        "stripe_charges": _charges(known.charges),
        "stripe_refunds": _refunds(known.charges, rng),
        "stripe_disputes": events.disputes,
        "stripe_credit_notes": _credit_notes(known, rng),
        "stripe_mandates": _mandates(known.accounts),
        "stripe_events": events.rows,
    }
    return {name: frame.select(TABLES[name].schema.names()).cast(TABLES[name].schema) for name, frame in frames.items()}


def _in_stripe(accounts: pl.DataFrame) -> pl.DataFrame:
    return accounts.filter("is_in_stripe")


def _customers(accounts: pl.DataFrame) -> pl.DataFrame:
    is_holder = pl.col("holder") == "customer"
    other = pl.when("has_other_pm").then("other_pm_id")
    return _in_stripe(accounts).select(
        "customer_id",
        "created_at",
        livemode=_YES,
        is_deleted=pl.lit(False),
        metadata_account_id=pl.when(pl.col("dice") >= _NO_METADATA_SHARE).then("account_id"),
        default_payment_method_id=pl.when("has_instrument").then(pl.when(is_holder).then("pm_id").otherwise(other)),
        default_source_id=_NO_TEXT,
    )


def _payment_methods(accounts: pl.DataFrame) -> pl.DataFrame:
    """The instruments that something names as its default: the one in use, and a customer's other card behind it."""
    holders = _in_stripe(accounts).filter("has_instrument")
    span = pl.when("is_expired").then(-pl.col("days") - 45).otherwise(400 + pl.col("account_n") % 1000)
    expiry = pl.col("today") + pl.duration(days=span)
    is_card = pl.col("pm_type") == "card"
    used = holders.filter(_is_named()).select(
        "customer_id",
        payment_method_id="pm_id",
        type="pm_type",
        created_at="pm_created_at",
        exp_month=pl.when(is_card).then(expiry.dt.month()),
        exp_year=pl.when(is_card).then(expiry.dt.year()),
    )
    behind = holders.filter((pl.col("holder") != "customer") & pl.col("has_other_pm")).select(
        "customer_id",
        payment_method_id="other_pm_id",
        type=pl.lit("card"),
        created_at="created_at",
        exp_month=pl.lit(12),
        exp_year=pl.col("today").dt.year() + 2,
    )
    return pl.concat([used, behind], how="diagonal_relaxed")


def _is_named() -> pl.Expr:
    """Its customer or its subscription names the instrument, or one of its invoices does."""
    return pl.col("subscription_id").is_not_null() | (pl.col("holder") == "customer")


def _subscriptions(accounts: pl.DataFrame) -> pl.DataFrame:
    rows = _in_stripe(accounts).filter(pl.col("subscription_id").is_not_null())
    # An instrument that invoices name is also the subscription's, for the invoices that are already paid.
    is_holder = pl.col("holder").is_in(["subscription", "invoice"]) & pl.col("has_instrument")
    first = rows.select(
        "subscription_id",
        "customer_id",
        "pause_collection",
        status="sub_status",
        created_at="sub_created_at",
        ended_at="sub_ended_at",
        canceled_at="sub_ended_at",
        livemode=_YES,
        collection_method="method",
        default_payment_method_id=pl.when(is_holder).then("pm_id"),
        default_source_id=_NO_TEXT,
        price_ids=pl.concat_list(price_id(pl.col("plan_code"))),
    )
    second = rows.filter(pl.col("second_subscription_id").is_not_null()).select(
        "customer_id",
        subscription_id="second_subscription_id",
        pause_collection=_NO_TEXT,
        status=pl.lit("active"),
        created_at="sub_created_at",
        ended_at=_NEVER,
        canceled_at=_NEVER,
        livemode=_YES,
        collection_method=pl.lit("charge_automatically"),
        default_payment_method_id=_NO_TEXT,
        default_source_id=_NO_TEXT,
        price_ids=pl.concat_list(price_id(pl.lit("addon_storage"))),
    )
    return pl.concat([first, second], how="diagonal_relaxed")


def _invoices(known: Known) -> pl.DataFrame:
    attempts = known.charges.filter(pl.col("intent") == 0).group_by("account_n", "ordinal").agg(attempts=pl.len())
    plans = known.accounts.select("account_n", "plan_code")
    bills = (
        known.bills.filter(~pl.col("is_outside"))
        .join(attempts, on=["account_n", "ordinal"], how="left", validate="1:1", maintain_order="left")
        .join(plans, on="account_n", how="left", validate="m:1", maintain_order="left")
    )
    attempt_count = pl.col("attempts").fill_null(0).cast(pl.Int64)
    is_open = pl.col("status") == "open"
    names_own = is_open & (pl.col("holder") == "invoice") & pl.col("has_instrument")
    is_tied = pl.col("account_n") % 33 != 0
    return bills.select(
        "customer_id",
        "subscription_id",
        "status",
        "billing_reason",
        "currency",
        "amount_due",
        "amount_paid",
        "due_at",
        "finalized_at",
        "paid_at",
        "voided_at",
        "uncollectible_at",
        "uncollectible_reason",
        invoice_id="stripe_invoice_id",
        collection_method="method",
        amount_remaining=pl.col("amount_due") - pl.col("amount_paid"),
        attempt_count=attempt_count,
        attempted=attempt_count > 0,
        auto_advance=(is_open | (pl.col("status") == "draft")) & pl.col("auto_advance"),
        created_at="at_at",
        effective_at="finalized_at",
        next_payment_attempt_at=pl.when("is_stripe_retrying").then("retry_at"),
        default_payment_method_id=pl.when(names_own).then("pm_id"),
        default_source_id=_NO_TEXT,
        livemode=_YES,
        metadata_invoice_id=pl.when(is_tied).then("invoice_id"),
        billed_periods=pl.when(pl.col("subscription_id").is_not_null()).then(_billed_periods()),
    )


def _billed_periods() -> pl.Expr:
    """The subscription's item, from the instant of the bill on; an item is named for its price, as the sandbox does."""
    item = pl.concat_str(pl.lit("si_"), price_id(pl.col("plan_code")))
    return pl.concat_list(pl.concat_str(item, pl.lit("@"), pl.col("at_at").dt.epoch("s").cast(pl.String())))


def _invoice_payments(intents: pl.DataFrame) -> pl.DataFrame:
    has_paid = pl.col("paid_at").is_not_null()
    is_void = pl.col("bill_status") == "void"
    status = pl.when(has_paid).then(pl.lit("paid")).when(is_void).then(pl.lit("canceled")).otherwise(pl.lit("open"))
    return intents.select(
        "invoice_payment_id",
        "currency",
        invoice_id="stripe_invoice_id",
        status=status,
        amount_paid=pl.when(has_paid).then("paid"),
        amount_requested=pl.when(has_paid).then("paid").otherwise("amount_due"),
        created_at=_intent_created(),
        paid_at="paid_at",
        canceled_at=pl.when(is_void & ~has_paid).then("voided_at"),
        payment_type=pl.when("is_direct").then(pl.lit("charge")).otherwise(pl.lit("payment_intent")),
        payment_intent_id=pl.when(~pl.col("is_direct")).then("payment_intent_id"),
        charge_id=pl.when("is_direct").then("latest_charge_id"),
        livemode=_YES,
    )


def _intent_created() -> pl.Expr:
    """A bill's own intent is made as it is finalised; another payment's when it is made."""
    return pl.when(pl.col("intent") == 0).then("finalized_at").otherwise("first_charged_at")


def _payment_intents(intents: pl.DataFrame) -> pl.DataFrame:
    status = (
        pl.when(pl.col("paid_at").is_not_null())
        .then(pl.lit("succeeded"))
        .when(pl.col("latest_status") == "pending")
        .then(pl.lit("processing"))
        .when(pl.col("bill_status") == "void")
        .then(pl.lit("canceled"))
        .otherwise(pl.lit("requires_payment_method"))
    )
    is_under_way = pl.col("paid_at").is_not_null() | (pl.col("latest_status") == "pending")
    return intents.filter(~pl.col("is_direct")).select(
        "payment_intent_id",
        "customer_id",
        "currency",
        "latest_charge_id",
        status=status,
        amount=pl.when(pl.col("intent") == 0).then("amount_due").otherwise("paid"),
        created_at=_intent_created(),
        payment_method_id=pl.when(is_under_way.fill_null(value=False)).then("used_pm_id"),
        payment_method_type="pm_type",
        livemode=_YES,
    )


def _charges(charges: pl.DataFrame) -> pl.DataFrame:
    has_failed = pl.col("status") == "failed"
    of_itself = pl.col("decline_code").is_in(["expired_card", "authentication_required", "incorrect_cvc"])
    by_bank = (pl.col("pm_type") != "card") | of_itself | pl.col("decline_code").str.starts_with("closed_loop")
    was_refunded = pl.col("refund_status") == "succeeded"
    return charges.filter(~pl.col("is_outside")).select(
        "customer_id",
        "status",
        "amount",
        "currency",
        "decline_code",
        "advice_code",
        "network_advice_code",
        charge_id="stripe_charge_id",
        payment_intent_id=pl.when(~pl.col("is_direct")).then("payment_intent_id"),
        amount_refunded=pl.when(was_refunded).then("refund_amount").otherwise(0),
        created_at="at_at",
        payment_method_id="used_pm_id",
        payment_method_type="pm_type",
        failure_code=pl.when(has_failed).then(
            pl.when(by_bank | _is_gateway()).then("decline_code").otherwise(pl.lit("card_declined"))
        ),
        livemode=_YES,
    )


def _is_gateway() -> pl.Expr:
    return pl.col("decline_code").is_in(["rate_limit", "lock_timeout", "api_connection_error"])


def _refunds(charges: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    rows = charges.filter(pl.col("refund_amount").is_not_null() & ~pl.col("is_outside"))
    return rows.select(
        "currency",
        refund_id=ids.dated("re", rows["refund_at"], rng),
        charge_id="stripe_charge_id",
        payment_intent_id=pl.when(~pl.col("is_direct")).then("payment_intent_id"),
        status="refund_status",
        amount="refund_amount",
        created_at="refund_at",
    )


def _credit_notes(known: Known, rng: np.random.Generator) -> pl.DataFrame:
    """Credit notes for money given back, and those that lowered an invoice before it was paid."""
    rows = known.charges.filter(pl.col("credit_note_amount").is_not_null() & ~pl.col("is_outside"))
    after = rows.select(
        credit_note_id=ids.dated("cn", rows["credit_note_at"], rng),
        invoice_id="stripe_invoice_id",
        customer_id="customer_id",
        amount="credit_note_amount",
        post_payment_amount="credit_note_amount",
        pre_payment_amount=pl.lit(0, pl.Int64),
        currency="currency",
        created_at="credit_note_at",
    )
    lowered = known.bills.filter((pl.col("prepaid_credit") > 0) & ~pl.col("is_outside"))
    before = lowered.select(
        credit_note_id=ids.dated("cn", lowered["at_at"], rng),
        invoice_id="stripe_invoice_id",
        customer_id="customer_id",
        amount="prepaid_credit",
        post_payment_amount=pl.lit(0, pl.Int64),
        pre_payment_amount="prepaid_credit",
        currency="currency",
        created_at="at_at",
    )
    issued = pl.concat([after, before]).with_columns(status=pl.lit("issued"), voided_at=_NEVER)
    mistaken = _voided_credit_notes(known, rng)
    return pl.concat([issued, mistaken]).with_columns(effective_at="created_at", livemode=_YES)


def _voided_credit_notes(known: Known, rng: np.random.Generator) -> pl.DataFrame:
    """Credit notes made by mistake and voided at once: they count for nothing."""
    is_unlucky = (pl.col("status") == "paid") & (pl.col("amount_due") > 0) & (pl.col("account_n") % 150 == 0)
    bills = known.bills.filter(is_unlucky & ~pl.col("is_outside"))
    return bills.select(
        credit_note_id=ids.dated("cn", bills["paid_at"], rng),
        invoice_id="stripe_invoice_id",
        customer_id="customer_id",
        amount="amount_due",
        post_payment_amount="amount_due",
        pre_payment_amount=pl.lit(0, pl.Int64),
        currency="currency",
        created_at="paid_at",
        status=pl.lit("void"),
        voided_at=pl.col("paid_at") + pl.duration(minutes=4),
    )


def _mandates(accounts: pl.DataFrame) -> pl.DataFrame:
    return debtors(accounts).select(
        "mandate_id",
        payment_method_id="pm_id",
        payment_method_type="pm_type",
        status="mandate",
        network_status=network_status(),
        accepted_at="pm_created_at",
        livemode=_YES,
    )


def debtors(accounts: pl.DataFrame) -> pl.DataFrame:
    """The accounts that pay by bank debit, hence with a mandate."""
    return _in_stripe(accounts).filter((pl.col("pm_type") != "card") & pl.col("has_instrument"))


def network_status() -> pl.Expr:
    """What Bacs says of a mandate; the other schemes say nothing."""
    accepted = pl.when(pl.col("dice") < _ACCEPTED_SHARE).then(pl.lit("accepted")).otherwise(pl.lit("pending"))
    said = pl.when(pl.col("mandate") == "active").then(accepted).otherwise(pl.lit("revoked"))
    return pl.when(pl.col("pm_type") == "bacs_debit").then(said)


class _Events:
    """Disputes, and the last month's events (among them those that close a dispute)."""

    def __init__(self, disputes: pl.DataFrame, rows: pl.DataFrame) -> None:
        self.disputes = disputes
        self.rows = rows


def _events(known: Known, rng: np.random.Generator) -> _Events:
    as_of = known.accounts["as_of"][0]
    raised = known.charges.filter(pl.col("dispute_status").is_not_null())
    raised = raised.with_columns(dispute_id=ids.dated("dp", raised["dispute_at"], rng))
    every = pl.concat([*_payment_events(known.charges), *_dispute_events(raised)])
    recent = every.filter(pl.col("created_at") > as_of - pl.duration(days=_EVENT_DAYS))
    rows = recent.with_columns(event_id=ids.dated("evt", recent["created_at"], rng), livemode=_YES)
    return _Events(_disputes(raised), rows)


def _disputes(raised: pl.DataFrame) -> pl.DataFrame:
    """Money leaves when a dispute opens and comes back when it is won; a warning moves none."""
    is_warning = pl.col("dispute_status").str.starts_with("warning")
    moved = (
        pl.when(is_warning)
        .then(pl.lit([], pl.List(INSTANT)))
        .when(pl.col("dispute_status") == "won")
        .then(pl.concat_list("dispute_at", "dispute_closed_at"))
        .otherwise(pl.concat_list("dispute_at"))
    )
    return raised.select(
        "dispute_id",
        "payment_intent_id",
        "amount",
        "currency",
        charge_id="stripe_charge_id",
        status="dispute_status",
        created_at="dispute_at",
        balance_transaction_ats=moved,
        livemode=_YES,
    )


def _payment_events(charges: pl.DataFrame) -> list[pl.DataFrame]:
    seen = charges.filter(~pl.col("is_outside"))
    ended = seen.filter(pl.col("status") != "pending")
    has_paid = pl.col("status") == "succeeded"
    payments = ended.select(
        type=pl.when(has_paid).then(pl.lit("invoice.paid")).otherwise(pl.lit("invoice.payment_failed")),
        created_at=pl.col("at_at") + pl.duration(seconds=2),
        object_id="stripe_invoice_id",
        customer_id="customer_id",
    )
    refunds = seen.filter(pl.col("refund_status") == "succeeded").select(
        type=pl.lit("charge.refunded"),
        created_at=pl.col("refund_at") + pl.duration(seconds=1),
        object_id="stripe_charge_id",
        customer_id="customer_id",
    )
    return [payments, refunds]


def _dispute_events(raised: pl.DataFrame) -> list[pl.DataFrame]:
    opened = raised.select(
        type=pl.lit("charge.dispute.created"), created_at="dispute_at", object_id="dispute_id", customer_id=_NO_TEXT
    )
    closed = raised.filter(pl.col("dispute_closed_at").is_not_null()).select(
        type=pl.lit("charge.dispute.closed"),
        created_at="dispute_closed_at",
        object_id="dispute_id",
        customer_id=_NO_TEXT,
    )
    return [opened, closed]
