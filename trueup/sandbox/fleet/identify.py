"""Names and dates for what happened: ids in the providers' own styles, and instants for seconds from local midnight.

Also the choices that change nothing about an account's state but make it look like the field: which object names the
default payment method, who owns a retry, which payment was made by a charge without an intent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from trueup.sandbox.fleet import ids
from trueup.sandbox.fleet.truth import HISTORY, Truth

PLANS_WITH_PRICES: Final = "price_1NQ0aB7WZ01zgkW"
_OTHER_CARD_SHARE: Final = 0.5  # of customers whose default is not the instrument in use
_STRIPE_RETRIES_SHARE: Final = 0.05  # of retries that Stripe makes, not we
_DIRECT_SHARE: Final = 0.02  # of old charges made without an intent
_ADVICE_CODE_SHARE: Final = 0.3  # of declines that an advice code confirms
_BORROWED: Final = (  # of its account, on each bill and charge
    "account_id",
    "customer_id",
    "subscription_id",
    "pm_id",
    "old_pm_id",
    "pm_type",
    "holder",
    "midnight",
    "sub_status",
    "has_instrument",
)


@dataclass(frozen=True)
class Known:
    """The truth with ids (`*_id`) and instants (`*_at`), and the payment intents that carry its charges."""

    accounts: pl.DataFrame
    bills: pl.DataFrame
    charges: pl.DataFrame
    intents: pl.DataFrame


def identify(truth: Truth, as_of: datetime, rng: np.random.Generator) -> Known:
    """Every account, bill, charge and payment intent under its names, with its instants."""
    accounts = _accounts(truth.accounts, as_of, rng)
    bills = _bills(truth.bills, accounts, rng)
    charges = _charges(truth.charges, bills, rng)
    intents = _intents(bills, charges, rng)
    names = intents.select("account_n", "ordinal", "intent", "payment_intent_id")
    named = charges.join(
        names, on=["account_n", "ordinal", "intent"], how="left", validate="m:1", maintain_order="left"
    )
    return Known(accounts, bills, named, _with_latest(intents, named))


def instants(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with an instant `x_at` for every `x_s`, counted from its own `midnight`."""
    seconds = [column for column in frame.columns if column.endswith("_s") and column != "hour_s"]
    return frame.with_columns(
        (pl.col("midnight") + pl.duration(seconds=pl.col(column), time_unit="us")).alias(column[:-2] + "_at")
        for column in seconds
    )


def price_id(plan_code: pl.Expr) -> pl.Expr:
    """The Stripe price of a plan."""
    return PLANS_WITH_PRICES + plan_code.str.replace_all("_", "")


def _accounts(accounts: pl.DataFrame, as_of: datetime, rng: np.random.Generator) -> pl.DataFrame:
    count = len(accounts)
    dated = instants(accounts)
    holder = pl.Series(rng.choice(["customer", "subscription", "invoice"], count, p=[0.65, 0.28, 0.07]))
    is_billed = pl.col("is_in_stripe") & pl.col("sub_status").is_not_null()
    has_two = pl.col("has_second_subscription")
    dice = pl.Series(rng.random(count))
    return dated.with_columns(
        account_id=ids.numbered("acc_", accounts["account_n"].to_numpy() + 1, 8),
        customer_id=pl.when("is_in_stripe").then(ids.customers(count, rng)),
        subscription_id=pl.when(is_billed).then(ids.dated("sub", dated["sub_created_at"], rng)),
        second_subscription_id=pl.when(has_two).then(ids.dated("sub", dated["sub_created_at"], rng)),
        pm_id=ids.dated("pm", dated["pm_created_at"], rng),
        old_pm_id=ids.dated("pm", dated["created_at"], rng),
        other_pm_id=ids.dated("pm", dated["created_at"], rng),
        mandate_id=ids.dated("mandate", dated["pm_created_at"], rng),
        holder=holder,
        has_other_pm=dice < _OTHER_CARD_SHARE,
        dice=dice,
        as_of=pl.lit(as_of),
    )


def _bills(bills: pl.DataFrame, accounts: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    borrowed = accounts[bills["account_n"].to_numpy()].select(*_BORROWED)
    dated = instants(bills.hstack(borrowed))
    count = len(dated)
    # The oldest bill of a subscription created it; only there do the two views say so.
    is_oldest = pl.col("at_s") == pl.col("at_s").filter(~pl.col("is_outside")).min().over("account_n")
    is_first = ~pl.col("is_outside") & (pl.col("is_first") | is_oldest)
    reason = pl.when("is_outside").then(pl.lit("manual")).otherwise(pl.lit("subscription_cycle"))
    return dated.with_columns(
        invoice_id=ids.numbered("inv_", np.arange(1, count + 1), 9),
        stripe_invoice_id=pl.when(~pl.col("is_outside")).then(ids.dated("in", dated["at_at"], rng)),
        subscription_id=pl.when(~pl.col("is_outside")).then("subscription_id"),
        billing_reason=pl.when(is_first).then(pl.lit("subscription_create")).otherwise(reason),
        is_stripe_retrying=pl.Series(rng.random(count) < _STRIPE_RETRIES_SHARE)
        & pl.col("retry_s").is_not_null()
        & ~pl.col("is_outside"),
    )


def _charges(charges: pl.DataFrame, bills: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    borrowed = bills.select(
        "account_n",
        "ordinal",
        "account_id",
        "customer_id",
        "pm_id",
        "old_pm_id",
        "pm_type",
        "midnight",
        "invoice_id",
        "stripe_invoice_id",
        pl.col("status").alias("bill_status"),
    )
    whose = charges.join(borrowed, on=["account_n", "ordinal"], how="left", validate="m:1", maintain_order="left")
    dated = instants(whose)
    count = len(dated)
    is_direct = (pl.col("ordinal") > HISTORY) & (pl.lit(pl.Series(rng.random(count))) < _DIRECT_SHARE)
    has_advice_code = pl.lit(pl.Series(rng.random(count))) < _ADVICE_CODE_SHARE  # an advice code confirms the decline
    hard = pl.col("decline_code").is_in(["stolen_card", "lost_card", "fraudulent"]) & has_advice_code
    is_soft_card = pl.col("decline_code").is_in(["insufficient_funds", "do_not_honor"]) & (pl.col("pm_type") == "card")
    return dated.with_columns(
        charge_id=ids.numbered("chg_", np.arange(1, count + 1), 10),
        stripe_charge_id=pl.when(~pl.col("is_outside")).then(ids.dated("ch", dated["at_at"], rng)),
        used_pm_id=pl.when("is_old_instrument").then("old_pm_id").otherwise("pm_id"),
        is_direct=is_direct,
        advice_code=pl.when(hard).then(pl.lit("do_not_try_again")).when(is_soft_card).then(pl.lit("try_again_later")),
        network_advice_code=pl.when(hard).then(pl.lit("03")).when(is_soft_card & has_advice_code).then(pl.lit("24")),
    )


def _intents(bills: pl.DataFrame, charges: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """One row per payment of a Stripe invoice; a bill that nobody has tried yet has its intent as well."""
    tried = charges.filter(~pl.col("is_outside")).select("account_n", "ordinal", "intent").unique()
    waits = pl.col("finalized_s").is_not_null() & (pl.col("status") != "paid") & ~pl.col("is_outside")
    waiting = bills.filter(waits).select("account_n", "ordinal", intent=pl.lit(0, pl.Int64))
    every = pl.concat([tried, waiting]).unique().sort("account_n", "ordinal", "intent")
    of_bill = bills.select(
        "account_n",
        "ordinal",
        "customer_id",
        "stripe_invoice_id",
        "pm_type",
        "currency",
        "amount_due",
        "finalized_at",
        "voided_at",
        pl.col("status").alias("bill_status"),
    )
    rows = every.join(of_bill, on=["account_n", "ordinal"], how="left", validate="m:1", maintain_order="left")
    return rows.with_columns(
        payment_intent_id=ids.dated("pi", rows["finalized_at"], rng),
        invoice_payment_id=ids.dated("inpay", rows["finalized_at"], rng),
    )


def _with_latest(intents: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame:
    """What the charges of each intent came to: its first and latest charge, what it paid and when."""
    ordered = charges.filter(~pl.col("is_outside")).sort("account_n", "ordinal", "intent", "at_s")
    has_paid = pl.col("status") == "succeeded"
    latest = ordered.group_by("account_n", "ordinal", "intent", maintain_order=True).agg(
        latest_charge_id=pl.col("stripe_charge_id").last(),
        latest_status=pl.col("status").last(),
        used_pm_id=pl.col("used_pm_id").last(),
        first_charged_at=pl.col("at_at").first(),
        paid=pl.col("amount").filter(has_paid).sum(),
        paid_at=pl.col("at_at").filter(has_paid).last(),
        is_direct=pl.col("is_direct").all(),
    )
    joined = intents.join(
        latest, on=["account_n", "ordinal", "intent"], how="left", validate="1:1", maintain_order="left"
    )
    return joined.with_columns(pl.col("is_direct").fill_null(value=False))
