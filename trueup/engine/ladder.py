"""Ladders: dunning states given by conditions on an account's unpaid invoices, as in Kill Bill's overdue module.

A policy that gives a ladder replaces the built-in rungs with it. The most severe step whose conditions all hold is
the account's state, and every unpaid invoice stands on it. Unpaid means owed and late, or charged off. An account's
tags come from a frame of tags where there is one, and from what the stores say: `plan:…`, `country:…`, `currency:…`,
`status:…`.
"""

from __future__ import annotations

import polars as pl

from trueup.engine.policy import Conditions, Policy, Step


def with_ladder_rungs(rows: pl.LazyFrame, attempts: pl.LazyFrame, tags: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Replace `rung` in rows (judged invoices of one view of the money, with a day in `on`) by the ladder's answer."""
    steps = sorted(policy.ladder or [], key=lambda step: step.rank, reverse=True)
    unpaid = rows.filter(is_unpaid())
    known = (
        unpaid.group_by("account_id", "on")
        .agg(unpaid_count=pl.len(), age_days=pl.col("age_days").sort_by("clock_on", nulls_last=True).first())
        .join(_balances(unpaid, steps), on=["account_id", "on"], how="left", validate="1:1")
        .join(tags.group_by("account_id").agg(tags=pl.col("tag").unique()), on="account_id", how="left", validate="m:1")
        .join(_last_declines(attempts), on="account_id", how="left", validate="m:1")
    )
    rank = pl.coalesce(*(pl.when(_holds(step.when)).then(pl.lit(step.rank)) for step in steps), pl.lit(0))
    ranks = known.select("account_id", "on", rank=rank.cast(pl.Int8))
    return (
        rows.join(ranks, on=["account_id", "on"], how="left", validate="m:1")
        .with_columns(rung=pl.when(is_unpaid()).then(pl.col("rank")).otherwise(0).cast(pl.Int8))
        .drop("rank")
    )


def is_unpaid() -> pl.Expr:
    """Counts for a ladder."""
    return pl.col("is_owed") & (pl.col("is_late") | pl.col("is_charged_off"))


def _holds(when: Conditions) -> pl.Expr:
    """All conditions of one step; a condition about something unknown does not hold."""
    tags = pl.col("tags").fill_null([])
    tests = [pl.lit(value=True)]
    if when.unpaid_count_gte is not None:
        tests.append(pl.col("unpaid_count") >= when.unpaid_count_gte)
    if when.balance_gte_minor is not None:
        reached = (pl.col(_balance(currency)) >= least for currency, least in when.balance_gte_minor.items())
        tests.append(pl.any_horizontal(*reached))
    if when.age_days_gte is not None:
        tests.append(pl.col("age_days") >= when.age_days_gte)
    tests += [tags.list.contains(tag) for tag in when.tag_all or []]
    tests += [~tags.list.contains(tag) for tag in when.tag_none or []]
    if when.last_decline_in is not None:
        tests.append(pl.col("last_decline").is_in(when.last_decline_in))
    return pl.all_horizontal(test.fill_null(value=False) for test in tests)


def _balances(unpaid: pl.LazyFrame, steps: list[Step]) -> pl.LazyFrame:
    """One column for each currency that a step asks about: what is unpaid in it, 0 where nothing is."""
    currencies = sorted({currency for step in steps for currency in step.when.balance_gte_minor or {}})
    amount = pl.col("outstanding")
    return unpaid.group_by("account_id", "on").agg(
        amount.filter(pl.col("currency") == currency).sum().alias(_balance(currency)) for currency in currencies
    )


def _balance(currency: str) -> str:
    return f"balance_{currency}"


def _last_declines(attempts: pl.LazyFrame) -> pl.LazyFrame:
    failed = attempts.filter(pl.col("status") == "failed").sort("attempted_at", "charge_id")
    return failed.group_by("account_id", maintain_order=True).agg(
        last_decline=pl.coalesce("deciding_code", "decline_code").last()
    )


def ladder_facts(attempts: pl.LazyFrame, tags: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """account_id, fact: what a ladder asks beyond invoices; nothing where the policy has none."""
    facts = pl.concat(
        [
            tags.unique().select("account_id", fact="tag"),
            _last_declines(attempts).select("account_id", fact="last_decline"),
        ]
    )
    return facts.filter(policy.ladder is not None)


def tags_of(accounts: pl.LazyFrame, given: pl.LazyFrame | None) -> pl.LazyFrame:
    """account_id, tag: what the stores say of an account, and what a frame of tags adds."""
    said = [
        accounts.select("account_id", tag=pl.concat_str(pl.lit(f"{name}:"), pl.col(column)))
        for name, column in (
            ("plan", "plan_code"),
            ("country", "country"),
            ("currency", "currency"),
            ("status", "account_status"),
        )
    ]
    return pl.concat([*said, *([given.select("account_id", "tag")] if given is not None else [])]).drop_nulls()
