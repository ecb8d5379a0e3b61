"""Implied: what each store, taken by itself, says of an account; and where two stores say different things.

Every store speaks in its own words: access or none, a state, a flag, a mapping. Two of them are compared on the plainest
thing that both speak about. A store that says nothing of an account is in no disagreement about it: a null on either
side is no difference. Which side is right is not asked here; that is what `drift` is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Final

import polars as pl

from dunning.schemas import STORES, DunningState

if TYPE_CHECKING:
    from dunning.engine import Judged

IMPLIED: Final[dict[str, pl.DataType]] = {
    "account_id": pl.String(),
    "cf_prod_access": pl.Boolean(),
    "billing_state": DunningState,
    "billing_copy": DunningState,
    "subs_account_bad_debt": pl.Boolean(),
    "subs_customer_resolved": pl.Boolean(),
    "subs_dunning_state": DunningState,
    "stripe_state": DunningState,
}
NO_ACCESS: Final = ("suspended", "bad_debt")
GOOD: Final = "good_standing"
LIVE: Final = ("active", "trialing", "past_due", "unpaid")

_STATE_OF: Final[Mapping[str, str]] = {
    "billing_prod": "billing_state",
    "subs_dunning": "subs_dunning_state",
    "stripe": "stripe_state",
}


def implied(judged: Judged) -> pl.DataFrame:
    """One row per account with the columns of `IMPLIED`, sorted.

    A ledger or a dunning table without a row says good standing. Stripe says nothing of an account that maps to no
    customer, or that owes on invoices which Stripe never saw. Access that is off says something only where there is
    something to have access to: an active account with a live subscription.
    """
    joined = judged.accounts.lazy().select(
        "account_id", "parent_account_id", "account_status", "has_no_mapping", "is_exempt", resolved=_is_resolved()
    )
    for part in (
        _views(judged),
        _access(judged),
        _subscribed(judged),
        _copies(judged),
        _flags(judged),
        _stored(judged),
        _elsewhere(judged),
    ):
        joined = joined.join(part, on="account_id", how="left", validate="1:1")
    told = joined.with_columns(
        pl.col("billing_state", "billing_copy", "subs_dunning_state").fill_null(GOOD),
        cf_prod_access=pl.when(pl.col("cf_prod_access"))
        .then(pl.lit(value=True))
        .when((pl.col("account_status") == "active") & pl.col("is_subscribed"))
        .then(pl.lit(value=False)),
        subs_customer_resolved=pl.when(~pl.col("has_no_mapping")).then(pl.col("resolved")),
        stripe_state=_stripe_state(),
    )
    return told.select(pl.col(name).cast(dtype) for name, dtype in IMPLIED.items()).sort("account_id").collect()


def store_matrix(frame: pl.DataFrame) -> pl.DataFrame:
    """For each pair of stores, of how many accounts they imply different things: store, other, accounts."""
    pairs = list(combinations(STORES, 2))
    counted = frame.select(differs(a, b).fill_null(value=False).sum().alias(f"{a}|{b}") for a, b in pairs)
    return pl.DataFrame(
        [(a, b, counted[f"{a}|{b}"].item()) for a, b in pairs],
        schema={"store": pl.String(), "other": pl.String(), "accounts": pl.Int64()},
        orient="row",
    )


def differs(store: str, other: str) -> pl.Expr:
    """Whether two stores imply different things of an account; null where one of them implies nothing."""
    if store in _STATE_OF and other in _STATE_OF:
        return pl.col(_STATE_OF[store]) != pl.col(_STATE_OF[other])
    if "subs_customer" in (store, other):
        return ~pl.col("subs_customer_resolved") & _is_in_dunning(other if store == "subs_customer" else store)
    if "cf_prod" in (store, other):
        return _has_access(store) != _has_access(other)
    return _is_bad_debt(store) != _is_bad_debt(other)


def _is_in_dunning(store: str) -> pl.Expr:
    """The store implies a debt, which cannot be told from an account whose customer is not known."""
    if store == "cf_prod":
        return ~pl.col("cf_prod_access")
    return pl.col("subs_account_bad_debt") if store == "subs_account" else pl.col(_STATE_OF[store]) != GOOD


def _has_access(store: str) -> pl.Expr:
    """A flag of bad debt says that access is off; no flag says nothing of it."""
    if store == "cf_prod":
        return pl.col("cf_prod_access")
    if store == "subs_account":
        return ~pl.col("subs_account_bad_debt").replace(False, None)
    return ~pl.col(_STATE_OF[store]).is_in(NO_ACCESS)


def _is_bad_debt(store: str) -> pl.Expr:
    return pl.col("subs_account_bad_debt") if store == "subs_account" else pl.col(_STATE_OF[store]) == "bad_debt"


def _is_resolved() -> pl.Expr:
    """Exactly one customer, and nobody else's."""
    return ~pl.col("has_several_customers") & ~pl.col("has_shared_customer")


def _stripe_state() -> pl.Expr:
    """What Stripe's invoices imply, where they are the whole of what the account owes."""
    says_all = ~pl.col("has_no_mapping") & pl.col("owes_elsewhere").is_null()
    return (
        pl.when("is_exempt")
        .then(pl.lit(GOOD))
        .when(says_all)
        .then(pl.col("stripe_state").cast(pl.String()).fill_null(GOOD))
    )


def _views(judged: Judged) -> pl.LazyFrame:
    """Both views of the money; a child has its parent's, as it has in the ledger's own answer."""
    own = judged.view_states.lazy().select("account_id", "stripe_state")
    answers = judged.desired.lazy().select("account_id", billing_state="internal_state")
    payers = judged.accounts.lazy().select("account_id", payer=pl.coalesce("parent_account_id", "account_id"))
    stripe = payers.join(own, left_on="payer", right_on="account_id", how="left", validate="m:1").drop("payer")
    return answers.join(stripe, on="account_id", how="left", validate="1:1")


def _elsewhere(judged: Judged) -> pl.LazyFrame:
    """Accounts that owe on invoices collected outside Stripe, or whose payer does."""
    owing = (
        judged.invoices.lazy()
        .filter(pl.col("is_deciding"), pl.col("view") == "internal", pl.col("rung") > 0)
        .select(payer="account_id", owes_elsewhere=True)
        .unique()
    )
    payers = judged.accounts.lazy().select("account_id", payer=pl.coalesce("parent_account_id", "account_id"))
    return payers.join(owing, on="payer", how="inner", validate="m:1").drop("payer")


def _access(judged: Judged) -> pl.LazyFrame:
    return judged.facts["entitlements"].group_by("account_id").agg(cf_prod_access=pl.col("active").any())


def _subscribed(judged: Judged) -> pl.LazyFrame:
    """Accounts with a live subscription."""
    live = judged.facts["stripe_subscriptions"].filter(pl.col("status").is_in(LIVE)).select("customer_id")
    mapped = judged.mapping.lazy().join(live, on="customer_id", how="semi")
    return mapped.select("account_id", is_subscribed=True).unique()


def _copies(judged: Judged) -> pl.LazyFrame:
    return judged.facts["dunning_states"].select("account_id", billing_copy=_state())


def _flags(judged: Judged) -> pl.LazyFrame:
    return judged.facts["subs_account"].select("account_id", subs_account_bad_debt="bad_debt")


def _stored(judged: Judged) -> pl.LazyFrame:
    return judged.facts["subs_dunning"].select("account_id", subs_dunning_state=_state())


def _state() -> pl.Expr:
    return pl.col("state").cast(DunningState, strict=False)
