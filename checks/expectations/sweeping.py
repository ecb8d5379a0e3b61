"""Sweeping: the same claims judged by Polars, with the rules of the engine's own sweep, and the broken rows by key.

A rule of the sweep says when a row breaks it; an expectation about nulls and one about values share a rule, so which of
the two a row breaks is told by whether the value is there. Keys are shown and values never; a key that looks like an
address is withheld too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from checks.expectations.suites import Expected, Suite
from trueup.contract.rules import rules_of
from trueup.contract.sweep import key_text

KEYS_NAMED: Final = 20
NO_KEY: Final = "(no key)"
WITHHELD: Final = "(withheld)"


@dataclass(frozen=True)
class Broken:
    """The rows that break a claim: how many, and the first of their keys."""

    rows: int
    keys: tuple[str, ...] = ()


def sweep_suite(rows: pl.LazyFrame, suite: Suite, keys_named: int = KEYS_NAMED) -> dict[str, Broken]:
    """Which rows of a table break each claim of its suite: claim → Broken, keys sorted.

    Args:
        rows: the table, with the columns of `TABLES`.
        suite: the claims.
        keys_named: how many keys at most are named for a claim.
    """
    breaks = {one.claim: breaks_claim(one) for one in suite.expected}
    counted = rows.select(**{claim: found.sum() for claim, found in breaks.items()}).collect().row(0, named=True)
    named = {claim: _keys(rows.filter(breaks[claim]), suite.table, keys_named) for claim in breaks if counted[claim]}
    keys = dict(zip(named, pl.collect_all(list(named.values())), strict=True))
    return {claim: Broken(counted[claim], tuple(keys[claim]["key"]) if claim in keys else ()) for claim in breaks}


def breaks_claim(one: Expected) -> pl.Expr:
    """The row breaks the claim; never null."""
    if one.is_of_keys:
        key = pl.struct(one.columns)
        return pl.all_horizontal(pl.col(column).is_not_null() for column in one.columns) & (pl.len().over(key) > 1)
    if one.is_of_readability:
        return pl.col(*one.columns).is_not_null()
    [column] = one.columns
    [rule] = [rule for rule in rules_of(one.table, None) if (rule.column, rule.id) == (column, one.rule)]
    is_null = pl.col(column).is_null()
    return rule.is_violated & (is_null if one.is_of_absence else ~is_null)


def _keys(broken: pl.LazyFrame, table: str, keys_named: int) -> pl.LazyFrame:
    """The first keys, in order, each once."""
    key = key_text(table)
    shown = (
        pl.when(key.is_null()).then(pl.lit(NO_KEY)).when(key.str.contains("@")).then(pl.lit(WITHHELD)).otherwise(key)
    )
    return broken.select(key=shown).unique().sort("key").head(keys_named)
