"""Implied: what each store, taken alone, says about an account; and which stores contradict each other.

Stores speak different languages: one has states, one a flag, one access on or off. Each is translated into the set of
dunning states that it allows, and two stores disagree about an account if no state is allowed by both. A store that
says nothing about an account (no access, but nothing subscribed either) disagrees with none.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final

import polars as pl

from trueup.contract.schemas import STATES, STORES, DunningState
from trueup.contract.vocabulary import LIVE_SUBSCRIPTIONS
from trueup.drift.evidence import rank

if TYPE_CHECKING:
    from trueup.engine.engine import Judged

IMPLIED: Final[dict[str, pl.DataType]] = {
    "account_id": pl.String(),
    "cf_prod_access": pl.Boolean(),  # null: no access, and none to be expected
    "billing_state": DunningState,  # from the internal view of the money
    "billing_copy": DunningState,  # the ledger's own copy; null: unknown
    "subs_account_bad_debt": pl.Boolean(),  # null: no row
    "subs_customer_resolved": pl.Boolean(),  # one customer, of this account alone; null: none, and none is needed
    "subs_dunning_state": DunningState,  # null: unknown
    "stripe_state": DunningState,  # from the Stripe view of the money
    "has_debt_outside_stripe": pl.Boolean(),  # then Stripe's state is the least that it can be
}

MATRIX: Final[dict[str, pl.DataType]] = {
    "store_a": pl.String(),
    "store_b": pl.String(),
    "accounts": pl.Int64(),  # accounts about which the two disagree; of a store with itself: with its own copy
}

_ALL_STATES: Final = 2 ** len(STATES) - 1
_WITH_ACCESS: Final = 0b001111
_BAD_DEBT: Final = 0b100000
_NO_STATE: Final = 0

# What subs_customer says is about a tie, not about a state, so only the two stores that it ties can contradict it.
_TIED: Final = ("billing_prod", "stripe")


def implied(judged: Judged) -> pl.DataFrame:
    """What each store implies about each account of cf_prod: the columns of `IMPLIED`, sorted by account."""
    accounts = judged.accounts.lazy().select(
        "account_id",
        "account_status",
        "is_exempt",
        billed_account_id=pl.coalesce("parent_account_id", "account_id"),
    )
    stores = [_access(judged), _flags(judged), _resolved(judged), _stored(judged), _copies(judged)]
    joined = reduce(
        lambda frame, store: frame.join(store, on="account_id", how="left", validate="1:1"), stores, accounts
    ).join(_money(judged), on="billed_account_id", how="left", validate="m:1")
    exempt_parents = accounts.filter("is_exempt").select(
        billed_account_id="account_id", is_parent_exempt=pl.lit(value=True)
    )
    described = joined.join(exempt_parents, on="billed_account_id", how="left", validate="m:1").with_columns(
        is_let_off=pl.col("is_exempt") | pl.col("is_parent_exempt").fill_null(value=False),
        has_access=pl.col("has_access").fill_null(value=False),
        should_have_access=(pl.col("account_status") == "active") & pl.col("is_subscribed").fill_null(value=False),
    )
    return _named(described).sort("account_id").collect()


def store_matrix(implications: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """How many accounts each pair of stores disagrees about: the columns of `MATRIX`, a row for each ordered pair."""
    allowed = implications.lazy().select(**_allowed())
    counts = allowed.select(
        _contradicts(a, b if a != b else f"{b}_copy").sum().alias(f"{a}/{b}") for a in STORES for b in STORES
    )
    pairs = (
        counts.collect(engine="streaming")
        .unpivot(variable_name="pair", value_name="accounts")
        .with_columns(
            pl.col("pair").str.split_exact("/", 1).struct.rename_fields(["store_a", "store_b"]).struct.unnest()
        )
    )
    return pairs.select(pl.col(name).cast(dtype) for name, dtype in MATRIX.items())


def _named(described: pl.LazyFrame) -> pl.LazyFrame:
    good = pl.lit("good_standing", DunningState)
    let_off = pl.when("is_let_off").then(good)
    shown = pl.when(pl.col("has_access") | pl.col("should_have_access")).then(pl.col("has_access"))
    return described.select(
        "account_id",
        cf_prod_access=shown,
        billing_state=let_off.otherwise(pl.col("internal_state").fill_null(good)),
        billing_copy=pl.when(pl.col("has_copy").is_null()).then(good).otherwise(_state("copy")),
        subs_account_bad_debt="flagged",
        subs_customer_resolved="is_resolved",
        subs_dunning_state=pl.when(pl.col("has_row").is_null()).then(good).otherwise(_state("stored_state")),
        stripe_state=let_off.otherwise(pl.col("stripe_state").fill_null(good)),
        has_debt_outside_stripe=pl.col("has_debt_outside_stripe").fill_null(value=False) & ~pl.col("is_let_off"),
    )


def _state(column: str) -> pl.Expr:
    return pl.col(column).cast(DunningState, strict=False)


# What each store says ----------------------------------------------------------------------------------------------


def _access(judged: Judged) -> pl.LazyFrame:
    on = (
        judged.facts["entitlements"]
        .group_by("account_id")
        .agg(has_access=pl.col("active").fill_null(value=False).any())
    )
    live = judged.facts["stripe_subscriptions"].filter(pl.col("status").is_in(LIVE_SUBSCRIPTIONS))
    subscribed = (
        judged.mapping.lazy()
        .join(live, on="customer_id", how="semi")
        .select("account_id", is_subscribed=pl.lit(value=True))
        .unique()
    )
    return on.join(subscribed, on="account_id", how="full", coalesce=True, validate="1:1")


def _flags(judged: Judged) -> pl.LazyFrame:
    return judged.facts["subs_account"].select("account_id", flagged="bad_debt")


def _resolved(judged: Judged) -> pl.LazyFrame:
    """account_id, is_resolved: for accounts that have a customer, or invoices in Stripe and so should have one."""
    mapping = judged.mapping.lazy().with_columns(accounts=pl.col("account_id").len().over("customer_id"))
    resolved = mapping.group_by("account_id").agg(is_resolved=(pl.len() == 1) & (pl.col("accounts").max() == 1))
    collected = judged.invoices.lazy().filter(
        pl.col("view") == "internal", pl.col("stripe_invoice_id").is_not_null(), pl.col("status") != "void"
    )
    return (
        collected.select("account_id")
        .drop_nulls()
        .unique()
        .join(resolved, on="account_id", how="full", coalesce=True, validate="1:1")
        .with_columns(pl.col("is_resolved").fill_null(value=False))
    )


def _stored(judged: Judged) -> pl.LazyFrame:
    return judged.facts["subs_dunning"].select("account_id", has_row=pl.lit(value=True), stored_state="state")


def _copies(judged: Judged) -> pl.LazyFrame:
    return judged.facts["dunning_states"].select("account_id", has_copy=pl.lit(value=True), copy="state")


def _money(judged: Judged) -> pl.LazyFrame:
    outside = (
        judged.invoices.lazy()
        .filter("is_deciding", pl.col("view") == "internal", pl.col("rung") > 0)
        .select("account_id", has_debt_outside_stripe=pl.lit(value=True))
        .unique()
    )
    states = judged.view_states.lazy().select("account_id", "stripe_state", "internal_state")
    return states.join(outside, on="account_id", how="full", coalesce=True, validate="1:1").rename(
        {"account_id": "billed_account_id"}
    )


# What each allows --------------------------------------------------------------------------------------------------


def _allowed() -> dict[str, pl.Expr]:
    """Store → the states it allows, as bits; null: it says nothing. `<store>_copy`: what it says a second time."""
    stripe = pl.when("has_debt_outside_stripe").then(_at_least("stripe_state")).otherwise(_exactly("stripe_state"))
    resolved = pl.when("subs_customer_resolved").then(_ALL_STATES).otherwise(_NO_STATE)
    says = {
        "cf_prod": _either("cf_prod_access", _WITH_ACCESS),
        "billing_prod": _exactly("billing_state"),
        "subs_account": _either("subs_account_bad_debt", _BAD_DEBT),
        "subs_customer": pl.when(pl.col("subs_customer_resolved").is_not_null()).then(resolved),
        "subs_dunning": _exactly("subs_dunning_state"),
        "stripe": stripe,
    }
    copies = {f"{store}_copy": pl.lit(None, pl.Int64()) for store in says}
    return {**says, **copies, "billing_prod_copy": _exactly("billing_copy")}


def _either(flag: str, if_set: int) -> pl.Expr:
    said = pl.col(flag).is_not_null()
    return pl.when(said).then(pl.when(flag).then(if_set).otherwise(_ALL_STATES & ~if_set))


def _exactly(state: str) -> pl.Expr:
    return rank(state).replace_strict({n: 1 << n for n in range(len(STATES))}, return_dtype=pl.Int64())


def _at_least(state: str) -> pl.Expr:
    masks = {n: reduce(or_, (1 << m for m in range(n, len(STATES)))) for n in range(len(STATES))}
    return rank(state).replace_strict(masks, return_dtype=pl.Int64())


def _contradicts(a: str, b: str) -> pl.Expr:
    if "subs_customer" in (a, b) and not {a, b}.intersection(_TIED):
        return pl.lit(value=False)
    return ((pl.col(a) & pl.col(b)) == 0).fill_null(value=False)
