"""Our own side of the truth: cf_prod, billing_prod and the tables of subs_api, all saying the same as Stripe.

Rows were last written when what they tell of happened, which is long before anybody audits. The frames have the columns
of trueup/contract/schemas.py; what only the databases hold (addresses, payloads) is added when they are loaded.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from trueup.contract.schemas import INSTANT, TABLES
from trueup.engine.policy import load_policy
from trueup.sandbox.fleet import catalogue, ids
from trueup.sandbox.fleet.identify import Known
from trueup.sandbox.fleet.stripe_objects import debtors, network_status

_NO_TEXT: Final = pl.lit(None, pl.String)
_NEVER: Final = pl.lit(None, INSTANT)
_LAG: Final = pl.duration(seconds=7)  # webhooks take a moment
_TEST_MODE_SHARE: Final = 0.01
_RACED_SHARE: Final = 0.02
_STUCK_ONCE_SHARE: Final = 0.02
_GOOD_WITH_ROW_SHARE: Final = 0.5


def make_rows(known: Known, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """Table name → its rows, of all internal tables."""
    accounts = known.accounts
    frames = {
        "accounts": _accounts(accounts),
        "entitlements": _entitlements(accounts),
        "products": _products(accounts),
        "invoices": _invoices(known),
        "charges": _charges(known.charges),
        "credit_notes": _credit_notes(known),
        "dunning_states": _dunning_states(accounts),
        "schedules": _schedules(known),
        "subs_account": _subs_account(accounts),
        "subs_customer": _subs_customer(accounts, rng),
        "subs_dunning": _subs_dunning(known),
        "subs_mandate": _subs_mandate(accounts),
        "subs_stuck_events": _stuck_events(accounts, rng),
    }
    return {name: _finished(name, frame, rng) for name, frame in frames.items()}


def _finished(name: str, frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """With a row version and the exact columns of the table."""
    versioned = frame.with_columns(version=pl.Series(rng.integers(1, 9, len(frame))), unreadable=_NO_TEXT)
    return versioned.select(TABLES[name].schema.names()).cast(TABLES[name].schema)


def _accounts(accounts: pl.DataFrame) -> pl.DataFrame:
    is_off = (pl.col("state") == "bad_debt") & (pl.col("account_status") == "active")
    return accounts.select(
        "account_id",
        "country",
        "currency",
        "timezone",
        "plan_code",
        "parent_account_id",
        "created_at",
        status=pl.when(is_off).then(pl.lit("suspended")).otherwise("account_status"),
        updated_at="created_at",
    )


def _entitlements(accounts: pl.DataFrame) -> pl.DataFrame:
    plans = catalogue.plans().select("plan_code", feature="features")
    rows = accounts.join(plans, on="plan_code", how="left", validate="m:1", maintain_order="left").explode("feature")
    once = accounts.filter(pl.col("account_n") % 30 == 0).with_columns(
        feature=pl.lit(catalogue.OLD_FEATURE), has_access=pl.lit(False)
    )
    rows = pl.concat([rows, once])
    revoked = pl.max_horizontal("created_at", pl.col("as_of") - pl.duration(days=1, hours=3))
    return rows.select(
        "account_id",
        "feature",
        active="has_access",
        granted_at="created_at",
        revoked_at=pl.when(~pl.col("has_access")).then(revoked),
        updated_at=pl.when("has_access").then("created_at").otherwise(revoked),
    )


def _products(accounts: pl.DataFrame) -> pl.DataFrame:
    oldest = accounts["created_at"].min()
    return catalogue.plans().with_columns(updated_at=pl.lit(oldest, INSTANT))


def _invoices(known: Known) -> pl.DataFrame:
    counts = known.charges.group_by("account_n", "ordinal").agg(
        attempt_count=pl.len(), charged_at=pl.col("at_at").max()
    )
    bills = known.bills.join(counts, on=["account_n", "ordinal"], how="left", validate="1:1", maintain_order="left")
    written = pl.max_horizontal("at_at", "charged_at", "paid_at", "voided_at", "uncollectible_at") + _LAG
    return bills.select(
        "invoice_id",
        "account_id",
        "stripe_invoice_id",
        "billing_reason",
        "status",
        "uncollectible_reason",
        "currency",
        "amount_due",
        "amount_paid",
        "due_at",
        "finalized_at",
        "paid_at",
        "voided_at",
        "uncollectible_at",
        stripe_subscription_id="subscription_id",
        collection_method="method",
        attempt_count=pl.col("attempt_count").fill_null(0),
        effective_at="at_at",
        updated_at=written,
    )


def _charges(charges: pl.DataFrame) -> pl.DataFrame:
    was_refunded = pl.col("refund_status") == "succeeded"
    return charges.select(
        "charge_id",
        "account_id",
        "invoice_id",
        "stripe_charge_id",
        "amount",
        "currency",
        "status",
        "trigger",
        "decline_code",
        "advice_code",
        amount_refunded=pl.when(was_refunded).then("refund_amount").otherwise(0),
        attempted_at="at_at",
        effective_at="at_at",
        updated_at=pl.max_horizontal("at_at", "refund_at") + _LAG,
    )


def _credit_notes(known: Known) -> pl.DataFrame:
    after = known.charges.filter(pl.col("credit_note_amount").is_not_null()).select(
        "invoice_id", amount="credit_note_amount", created_at="credit_note_at"
    )
    before = known.bills.filter(pl.col("prepaid_credit") > 0).select(
        "invoice_id", amount=pl.lit(0, pl.Int64), created_at="at_at"
    )
    rows = pl.concat([after, before])
    return rows.with_columns(
        credit_note_id=ids.numbered("note_", np.arange(1, len(rows) + 1), 7), updated_at=pl.col("created_at") + _LAG
    )


def _dunning_states(accounts: pl.DataFrame) -> pl.DataFrame:
    return _with_row(accounts).select("account_id", "state", updated_at=_computed())


def _with_row(accounts: pl.DataFrame) -> pl.DataFrame:
    """Accounts that were ever dunned have a row; no row means good standing."""
    return accounts.filter((pl.col("state") != "good_standing") | (pl.col("dice") < _GOOD_WITH_ROW_SHARE))


def _computed() -> pl.Expr:
    """When the recompute last wrote the row: in the hours before `as_of`, never before the account came."""
    hours = 1 + pl.col("account_n") % 6
    return pl.max_horizontal("created_at", pl.col("as_of") - pl.duration(hours=hours, minutes=pl.col("account_n") % 50))


def _schedules(known: Known) -> pl.DataFrame:
    """The retries that were made, and the next one of every bill that waits for it."""
    done = known.charges.filter(pl.col("trigger") == "scheduled").select(
        "account_id",
        "invoice_id",
        attempt_number=pl.col("k") + 1,
        retry_at="at_at",
        owner=pl.lit("internal"),
        status=pl.lit("done"),
        updated_at=pl.col("at_at") + _LAG,
    )
    counted = known.charges.group_by("account_n", "ordinal").agg(k=pl.col("k").max(), last_at=pl.col("at_at").max())
    waiting = known.bills.filter(pl.col("retry_s").is_not_null() & (pl.col("status") == "open"))
    coming = waiting.join(
        counted, on=["account_n", "ordinal"], how="left", validate="1:1", maintain_order="left"
    ).select(
        "account_id",
        "invoice_id",
        attempt_number=pl.col("k") + 2,
        retry_at="retry_at",
        owner=pl.when("is_stripe_retrying").then(pl.lit("stripe")).otherwise(pl.lit("internal")),
        status=pl.lit("scheduled"),
        updated_at=pl.col("last_at") + _LAG,
    )
    rows = pl.concat([done, coming], how="diagonal_relaxed")
    return rows.with_columns(schedule_id=ids.numbered("sch_", np.arange(1, len(rows) + 1), 8))


def _subs_account(accounts: pl.DataFrame) -> pl.DataFrame:
    is_bad_debt = pl.col("state") == "bad_debt"
    return accounts.select(
        "account_id",
        bad_debt=is_bad_debt,
        dunning_exempt="is_exempt",
        hold_from="hold_from_at",
        hold_until="hold_until_at",
        updated_by=pl.when(is_bad_debt).then(pl.lit("A3")).otherwise(pl.lit("A1")),
        updated_at=pl.when(is_bad_debt).then(_computed()).otherwise("created_at"),
    )


def _subs_customer(accounts: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """One customer per account; some twice, where A1 and A2 raced, and some in test mode as well."""
    mapped = accounts.filter("is_in_stripe")
    rows = mapped.select(
        "account_id",
        stripe_customer_id="customer_id",
        livemode=pl.lit(True),
        created_by=pl.when(pl.col("account_n") % 3 == 0).then(pl.lit("A2")).otherwise(pl.lit("A1")),
        created_at=pl.col("created_at") + _LAG,
    )
    dice = pl.Series(rng.random(len(rows)))
    raced = rows.filter(dice < _RACED_SHARE).with_columns(created_by=pl.lit("A2"))
    tried = rows.filter(dice > 1 - _TEST_MODE_SHARE)
    tried = tried.with_columns(stripe_customer_id=ids.customers(len(tried), rng), livemode=pl.lit(False))
    every = pl.concat([rows, raced, tried])
    return every.with_columns(id=pl.int_range(1, len(every) + 1), updated_at="created_at")


def _subs_dunning(known: Known) -> pl.DataFrame:
    rows = _with_row(known.accounts)
    is_dunned = pl.col("state") != "good_standing"
    was_warned = pl.col("state").is_in(["final_notice", "suspended", "bad_debt"])
    clock = pl.col("clock_on").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return rows.select(
        "account_id",
        "state",
        "driver_invoice_id",
        attempt_count="stored_attempts",
        clock_started_on="clock_on",
        next_retry_at="stored_retry_at",
        reason=pl.when(is_dunned).then(pl.lit("past_due")),
        policy_version=pl.lit(load_policy().version),
        final_notice_sent_at=pl.when(was_warned).then(pl.min_horizontal(clock + pl.duration(days=8), _computed())),
        computed_at=_computed(),
        updated_at=_computed(),
    )


def _subs_mandate(accounts: pl.DataFrame) -> pl.DataFrame:
    rows = debtors(accounts)
    return rows.select(
        "account_id",
        mandate_id=ids.numbered("man_", np.arange(1, len(rows) + 1), 7),
        stripe_mandate_id="mandate_id",
        stripe_payment_method_id="pm_id",
        type="pm_type",
        status="mandate",
        network_status=network_status(),
        updated_at=pl.col("pm_created_at") + _LAG,
    )


def _stuck_events(accounts: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Events that were stuck once and are resolved or given up: history, not trouble."""
    once = accounts.filter(pl.Series(rng.random(len(accounts)) < _STUCK_ONCE_SHARE) & pl.col("is_in_stripe"))
    received = pl.max_horizontal("created_at", pl.col("as_of") - pl.duration(days=10 + pl.col("account_n") % 90))
    rows = once.select(
        "account_id",
        type=pl.lit("invoice.updated"),
        sequence=pl.lit(None, pl.Int64),
        is_well_formed=pl.lit(True),
        object_id=pl.coalesce("driver_invoice_id", "subscription_id"),
        status=pl.when(pl.col("account_n") % 5 == 0).then(pl.lit("dead")).otherwise(pl.lit("resolved")),
        attempts=pl.lit(3, pl.Int64),
        received_at=received,
    )
    is_resolved = pl.col("status") == "resolved"
    return rows.with_columns(
        event_id=ids.dated("evt", rows["received_at"], rng),
        resolved_at=pl.when(is_resolved).then(pl.col("received_at") + pl.duration(hours=5)),
        updated_at=pl.col("received_at") + pl.duration(hours=5),
    )
