"""Evidence: what the rules look at, prepared once.

Both sides of every comparison: what the stores said at `as_of`, and what the engine made of it. A rule takes an
Evidence and nothing else. Frames that several rules need are worked out here, so that a rule reads as the sentence it
stands for. `*_with_violations` name what a broken row hides: where a row was taken out, nobody can say that there is
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from trueup.contract import NO_DUE_DATE
from trueup.contract.as_of import status_at
from trueup.contract.schemas import DunningState
from trueup.contract.vocabulary import LIVE_SUBSCRIPTIONS
from trueup.engine.facts import Facts
from trueup.engine.policy import Policy

if TYPE_CHECKING:
    from trueup.engine.engine import Judged


@dataclass(frozen=True)
class Evidence:
    """Everything that rules may look at; frames are lazy."""

    judged: Judged
    policy: Policy
    as_of: datetime
    violations: pl.LazyFrame

    @property
    def facts(self) -> Facts:
        """The stores' rows as known at `as_of`."""
        return self.judged.facts

    @property
    def mapping(self) -> pl.LazyFrame:
        """account_id, customer_id: each pair once, in the policy's livemode."""
        return self.judged.mapping.lazy().select("account_id", "customer_id").drop_nulls().unique()

    @property
    def invoices(self) -> pl.LazyFrame:
        """The judged invoices of both views."""
        return self.judged.invoices.lazy()

    @property
    def attempts(self) -> pl.LazyFrame:
        """The attempts of both views, on invoices of the policy's livemode."""
        ours = self.invoices.filter(self.is_our_mode).select("ref")
        return self.judged.attempts.lazy().join(ours, on="ref", how="semi")

    @property
    def accounts(self) -> pl.LazyFrame:
        """Accounts of cf_prod: account_id, parent_account_id, account_status, plan_code."""
        return self.judged.accounts.lazy().select("account_id", "parent_account_id", "account_status", "plan_code")

    @property
    def determinate(self) -> pl.LazyFrame:
        """The engine's determinate answers: schemas.DESIRED, is_exempt (itself, not by its parent)."""
        own = self.judged.accounts.lazy().select("account_id", "is_exempt")
        determinate = self.judged.desired.lazy().filter(pl.col("quality") == "determinate")
        return determinate.join(own, on="account_id", how="inner", validate="1:1")

    @cached_property
    def stripe_invoices(self) -> pl.LazyFrame:
        """Stripe's invoices in the policy's livemode, mapped or not, with their status at `as_of`."""
        return self.facts["stripe_invoices"].filter(self.is_our_mode).with_columns(self.status_at.alias("status"))

    @cached_property
    def internal_invoices(self) -> pl.LazyFrame:
        """billing_prod's invoices with their status at `as_of` and their object_id."""
        return self.facts["invoices"].with_columns(
            self.status_at.alias("status"), object_id=pl.coalesce("stripe_invoice_id", "invoice_id")
        )

    @property
    def is_our_mode(self) -> pl.Expr:
        """A Stripe object of the policy's livemode."""
        return pl.col("livemode").ne_missing(not self.policy.livemode)

    @property
    def status_at(self) -> pl.Expr:
        """An invoice's status at `as_of`."""
        return status_at(self.as_of)

    @property
    def all_live_subscriptions(self) -> pl.LazyFrame:
        """Live subscriptions in the policy's livemode, mapped or not."""
        return self.facts["stripe_subscriptions"].filter(self.is_our_mode, pl.col("status").is_in(LIVE_SUBSCRIPTIONS))

    @property
    def subscriptions(self) -> pl.LazyFrame:
        """Subscriptions of mapped customers, once for each account: account_id and Stripe's columns."""
        ours = self.facts["stripe_subscriptions"].filter(self.is_our_mode)
        return ours.join(self.mapping, on="customer_id", how="inner")

    @cached_property
    def live_subscriptions(self) -> pl.LazyFrame:
        """The live ones of `subscriptions`."""
        columns = ["account_id", "customer_id", "subscription_id", "status", "price_ids"]
        return (
            self.all_live_subscriptions.join(self.mapping, on="customer_id", how="inner")
            .select(columns)
            .collect()
            .lazy()
        )

    @property
    def access(self) -> pl.LazyFrame:
        """account_id, has_entitlements, is_access_unknown: for accounts with any entitlement row."""
        active = pl.col("active")
        return (
            self.facts["entitlements"]
            .group_by("account_id")
            .agg(has_entitlements=active.fill_null(value=False).any(), is_unknown=active.is_null().any())
            .with_columns(is_access_unknown=~pl.col("has_entitlements") & pl.col("is_unknown"))
            .drop("is_unknown")
        )

    @cached_property
    def stored(self) -> pl.LazyFrame:
        """The engine's determinate answers beside the stored dunning rows, for accounts that are not exempt.

        schemas.DESIRED, rank, stored_state (a missing row is good standing), stored_rank, and stored_ of each counter.
        Rows whose stored state is unknown are left out.
        """
        rows = self.facts["subs_dunning"].select(
            "account_id",
            has_row=pl.lit(value=True),
            stored_state="state",
            stored_attempt_count="attempt_count",
            stored_clock_started_on="clock_started_on",
            stored_next_retry_at="next_retry_at",
            stored_driver_invoice_id="driver_invoice_id",
        )
        missing = pl.col("has_row").is_null()
        return (
            self.determinate.filter(~pl.col("is_exempt"))
            .join(rows, on="account_id", how="left", validate="1:1")
            .with_columns(
                stored_state=pl.when(missing).then(pl.lit("good_standing")).otherwise(pl.col("stored_state")),
                stored_attempt_count=pl.when(missing).then(0).otherwise(pl.col("stored_attempt_count")),
            )
            .filter(pl.col("stored_state").is_not_null())
            .with_columns(rank=rank("state"), stored_rank=rank("stored_state"))
        )

    @cached_property
    def pairs(self) -> pl.LazyFrame:
        """billing_prod's invoices beside Stripe's of the same id, where anything of the two differs.

        account_id, object_id, invoice_id, stripe_invoice_id, and of both sides status, currency and what that view of
        the money says is outstanding (stripe_ for Stripe's; null where no customer maps and nobody has judged it).
        """
        outstanding = self.invoices.select("view", "invoice_id", "outstanding").unique(["view", "invoice_id"])
        of_ledger = outstanding.filter(pl.col("view") == "internal").drop("view")
        of_stripe = outstanding.filter(pl.col("view") == "stripe").select(
            stripe_invoice_id="invoice_id", stripe_outstanding="outstanding"
        )
        theirs = self.stripe_invoices.select(
            stripe_invoice_id="invoice_id", stripe_status="status", stripe_currency="currency"
        )
        sides = (("status", "stripe_status"), ("currency", "stripe_currency"), ("outstanding", "stripe_outstanding"))
        pairs = (
            self.internal_invoices.select(
                "account_id", "object_id", "invoice_id", "stripe_invoice_id", "status", "currency"
            )
            .filter(pl.col("stripe_invoice_id").is_not_null())
            .join(theirs, on="stripe_invoice_id", how="inner", validate="m:1")
            .join(of_ledger, on="invoice_id", how="left", validate="m:1")
            .join(of_stripe, on="stripe_invoice_id", how="left", validate="m:1")
        )
        return pairs.filter(pl.any_horizontal(pl.col(a) != pl.col(b) for a, b in sides)).collect().lazy()

    @cached_property
    def outstanding(self) -> pl.LazyFrame:
        """object_id, outstanding, currency: what each invoice owes in the view that decides it, each invoice once."""
        deciding = self.invoices.filter("is_deciding").select("object_id", "outstanding", "currency")
        return deciding.unique("object_id").collect().lazy()

    def with_outstanding(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Rows about invoices (object_id) with their outstanding and currency; null where no view decides them."""
        return rows.join(self.outstanding, on="object_id", how="left", validate="m:1")

    def objects_with_violations(self, *tables: str) -> pl.LazyFrame:
        """object_id: what a broken row of these tables is about."""
        return self._violations_of(tables).select("object_id").drop_nulls().unique()

    def keys_with_violations(self, table: str) -> pl.LazyFrame:
        """key: of the broken rows of a table."""
        return self._violations_of((table,)).select("key").drop_nulls().unique()

    def accounts_with_violations(self, *tables: str) -> pl.LazyFrame:
        """account_id: whose a broken row of these tables is."""
        return self._violations_of(tables).select("account_id").drop_nulls().unique()

    def _violations_of(self, tables: tuple[str, ...]) -> pl.LazyFrame:
        return self.violations.filter(pl.col("table").is_in(tables), pl.col("rule") != NO_DUE_DATE)


def rank(column: str) -> pl.Expr:
    """A dunning state's place in the order of severity, 0 to 5."""
    return pl.col(column).cast(DunningState, strict=False).to_physical().cast(pl.Int64())


Fields = Mapping[str, pl.Expr | str]

FOUND: Final = (
    "account_id",
    "object_id",
    "severity",
    "observed",
    "desired",
    "stores",
    "owner",
    "at_stake_minor",
    "at_stake_currency",
)
"""The columns that a rule gives; severity, stores and owner are null where the table of codes says them."""


class AtStake(NamedTuple):
    """What a disagreement is about: minor units of one currency, each a column or an expression."""

    minor: pl.Expr | str = "outstanding"
    currency: pl.Expr | str = "currency"


def found(
    rows: pl.LazyFrame,
    observed: Mapping[str, Fields],
    *,
    object_id: pl.Expr | str | None = None,
    desired: Fields | None = None,
    severity: pl.Expr | None = None,
    at_stake: AtStake | None = None,
) -> pl.LazyFrame:
    """A rule's rows as findings: `observed` says, store by store, what each said; values become JSON.

    Returns the columns of `FOUND`, one row per account and object. What is at stake is null where its amount is.
    """
    sides = [_side(fields).alias(store) for store, fields in observed.items()]
    nothing = pl.lit(None, pl.String())
    about = pl.col(object_id) if isinstance(object_id, str) else object_id
    return rows.select(
        account_id=pl.col("account_id"),
        object_id=nothing if about is None else about,
        severity=nothing if severity is None else severity,
        observed=pl.struct(*sides).struct.json_encode(),
        desired=nothing if desired is None else _side(desired).struct.json_encode(),
        stores=pl.lit(None, pl.List(pl.String())),
        owner=nothing,
        **_at_stake(at_stake),
    )


def _at_stake(at_stake: AtStake | None) -> dict[str, pl.Expr]:
    if at_stake is None:
        return {"at_stake_minor": pl.lit(None, pl.Int64()), "at_stake_currency": pl.lit(None, pl.String())}
    minor = pl.col(at_stake.minor) if isinstance(at_stake.minor, str) else at_stake.minor
    currency = pl.col(at_stake.currency) if isinstance(at_stake.currency, str) else at_stake.currency
    return {
        "at_stake_minor": pl.when(currency.is_not_null()).then(minor.cast(pl.Int64()).clip(lower_bound=0)),
        "at_stake_currency": pl.when(minor.is_not_null()).then(currency),
    }


def outstanding_of_account() -> AtStake:
    """An account's outstanding (schemas.DESIRED), if it is of one currency."""
    sums = pl.col("outstanding_minor")
    only = pl.when(sums.list.len() == 1).then(sums.list.first())
    return AtStake(only.struct.field("amount"), only.struct.field("currency"))


def _side(fields: Fields) -> pl.Expr:
    """A name for each value: a column by its name, or an expression."""
    values = {name: pl.col(value) if isinstance(value, str) else value for name, value in fields.items()}
    return pl.struct([value.alias(name) for name, value in values.items()])
