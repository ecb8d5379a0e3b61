"""Accounts: from the rungs of its invoices to one answer for each account.

Debts too small for their currency's threshold drop out; the highest rung left is the state and its oldest invoice the
driver. A child takes its parent's answer, an exempt account none, and an indeterminate account says so and
why.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.schemas import DESIRED, STATES, DunningState
from trueup.engine.money import by_currency
from trueup.engine.policy import Policy


def states(rows: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """The state of each account on each day: account_id, on, state (an index), driver_ref. Good standing has no row.

    Rows are the judged invoices of one view of the money: account_id, on, ref, object_id, rung, outstanding, currency,
    clock_on.
    """
    late = rows.filter(pl.col("rung") > 0)
    enough = (
        late.group_by("account_id", "on", "currency")
        .agg(pl.col("outstanding").sum())
        .filter(pl.col("outstanding") >= by_currency(policy.threshold_minor))
    )
    return (
        late.join(enough, on=["account_id", "on", "currency"], how="semi")
        .sort("rung", "clock_on", "object_id", descending=[True, False, False], nulls_last=True)
        .unique(["account_id", "on"], keep="first", maintain_order=True)
        .select("account_id", "on", state="rung", driver_ref="ref")
    )


def desired(
    accounts: pl.LazyFrame,
    decided: pl.LazyFrame,
    internal: pl.LazyFrame,
    drivers: pl.LazyFrame,
    outstanding: pl.LazyFrame,
    indeterminate_reasons: pl.LazyFrame,
    changes: pl.LazyFrame,
    hashes: pl.LazyFrame,
    policy: Policy,
) -> pl.LazyFrame:
    """One row per account with the columns of `DESIRED`.

    `decided` and `internal` are `states` of the deciding and the internal view; `drivers` has the columns that come
    from the driver, by ref; `outstanding` the sums by account; `indeterminate_reasons` the reasons of indeterminacy;
    `changes` next_change_on.
    """
    own = (
        accounts.join(decided.drop("on"), on="account_id", how="left", validate="1:1")
        .join(internal.select("account_id", internal_state="state"), on="account_id", how="left", validate="1:1")
        .join(drivers, left_on="driver_ref", right_on="ref", how="left", validate="m:1")
        .join(outstanding, on="account_id", how="left", validate="1:1")
        .join(indeterminate_reasons, on="account_id", how="left", validate="1:1")
        .join(changes, on="account_id", how="left", validate="1:1")
        .join(hashes, on="account_id", how="left", validate="1:1")
        .with_columns(
            pl.col("state", "internal_state").fill_null(0),
            pl.col("attempt_count").fill_null(0),
            pl.col("outstanding_minor", "driver_reasons", "indeterminate_reasons").fill_null([]),
        )
    )
    answered = _exempted(_delegated(own))
    is_sure = pl.col("indeterminate_reasons").list.len() == 0
    return (
        answered.with_columns(
            bad_debt=pl.when(is_sure).then(pl.col("state") == STATES.index("bad_debt")),
            has_access=pl.when(is_sure).then(pl.col("state") <= STATES.index("final_notice")),
            quality=pl.when(is_sure).then(pl.lit("determinate")).otherwise(pl.lit("indeterminate")),
            reasons=pl.concat_list("driver_reasons", "indeterminate_reasons").list.unique().list.sort(),
            attempts_allowed=pl.lit(policy.attempts_allowed, pl.Int64()),
            policy_version=pl.lit(policy.version),
            state=named_state("state"),
            internal_state=named_state("internal_state"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in DESIRED.items())
        .sort("account_id")
    )


def named_state(column: str) -> pl.Expr:
    """A state by its name, from its index."""
    return pl.col(column).replace_strict(dict(enumerate(STATES)), return_dtype=DunningState)


# What a child takes from its parent.
_ANSWER: Final = (
    "state",
    "driver_invoice_id",
    "clock_started_on",
    "age_days",
    "attempt_count",
    "is_retryable",
    "next_retry_at",
    "next_change_on",
    "outstanding_minor",
    "internal_state",
)


def _delegated(own: pl.LazyFrame) -> pl.LazyFrame:
    """Give every child its parent's answer, whatever its own invoices say."""
    parents = _exempted(own).select(
        parent_account_id="account_id",
        has_parent=True,
        parent_indeterminate_reasons="indeterminate_reasons",
        parent_reasons="driver_reasons",
        parent_hash="input_hash",
        **{f"parent_{name}": name for name in _ANSWER},
    )
    is_child = pl.col("parent_account_id").is_not_null()
    is_resolved = is_child & pl.col("has_parent_resolved")
    nothing = pl.lit([], pl.List(pl.String()))
    joined = own.join(parents, on="parent_account_id", how="left", validate="m:1")
    return joined.with_columns(
        *(
            pl.when(is_resolved)
            .then(pl.col(f"parent_{name}"))
            .when(is_child)
            .then(_UNANSWERED.get(name, pl.lit(None)))
            .otherwise(pl.col(name))
            .alias(name)
            for name in _ANSWER
        ),
        driver_reasons=pl.when(is_resolved)
        .then(pl.concat_list(pl.col("parent_reasons").fill_null([]), pl.lit(["delegated"], pl.List(pl.String()))))
        .when(is_child)
        .then(nothing)
        .otherwise(pl.col("driver_reasons")),
        indeterminate_reasons=pl.when(is_child)
        .then(_reasons_of_a_child(is_resolved))
        .otherwise(pl.col("indeterminate_reasons")),
        input_hash=pl.when(is_resolved)
        .then(pl.concat_str("input_hash", "parent_hash", separator=":"))
        .otherwise(pl.col("input_hash")),
    )


_UNANSWERED: Final = {
    "state": pl.lit(0),
    "internal_state": pl.lit(0),
    "attempt_count": pl.lit(0),
    "outstanding_minor": pl.lit([], DESIRED["outstanding_minor"]),
}


def _reasons_of_a_child(is_resolved: pl.Expr) -> pl.Expr:
    """A child's own mapping and invoices do not count, so a violation in them does not either; its own rows do.

    Without a parent to ask it is `parent_unresolved`, and nothing else is said of it but that a store was not whole.
    """
    own = pl.col("child_indeterminate_reasons").fill_null([])
    unresolved = pl.lit(["parent_unresolved"], pl.List(pl.String()))
    return (
        pl.when(is_resolved)
        .then(pl.concat_list(own, pl.col("parent_indeterminate_reasons").fill_null([])))
        .otherwise(pl.concat_list(own.list.set_intersection(["source_not_whole"]), unresolved))
    )


def _exempted(answers: pl.LazyFrame) -> pl.LazyFrame:
    """An exempt account is in good standing whatever else is true of it."""
    is_exempt = pl.col("is_exempt")
    cleared = {name: _UNANSWERED.get(name, pl.lit(None)) for name in _ANSWER}
    return answers.with_columns(
        *(pl.when(is_exempt).then(value).otherwise(pl.col(name)).alias(name) for name, value in cleared.items()),
        driver_reasons=pl.when(is_exempt)
        .then(pl.lit(["exempt"], pl.List(pl.String())))
        .otherwise(pl.col("driver_reasons")),
        indeterminate_reasons=pl.when(is_exempt)
        .then(pl.lit([], pl.List(pl.String())))
        .otherwise(pl.col("indeterminate_reasons")),
    )
