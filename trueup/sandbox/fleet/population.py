"""The people: who the accounts are before anything happens to them.

Currency, country, timezone, plan and the hour of day at which things happen to an account are drawn here, for all
accounts of one archetype at a time. Every moment of an account is kept as seconds from its own local midnight of
today (`midnight`), so that the local date of anything that happens is known without a calendar: hours are drawn
between two and twenty-one, and summer time moves them by one.
"""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from trueup.contract.schemas import INSTANT
from trueup.sandbox.fleet import catalogue
from trueup.sandbox.fleet.archetype import Archetype
from trueup.sandbox.fleet.ids import Ints

DAY = 86_400
HOUR = 3_600
POLICY_TIMEZONE = "UTC"
_DEBIT_SHARE = 0.15  # of accounts whose archetype does not care how they pay
_YEARLY_SHARE = 0.2


def draw(archetype: Archetype, account_ns: Ints, as_of: datetime, rng: np.random.Generator) -> pl.DataFrame:
    """Accounts of one archetype: who and where they are, how they pay for what, and on which day (`days` ago)."""
    count = len(account_ns)
    markets = _markets(archetype, as_of)
    weights = markets["weight"].to_numpy() / markets["weight"].sum()
    where = markets[rng.choice(len(markets), count, p=weights)].drop("weight")
    low, high = archetype.days
    drawn = where.with_columns(
        account_n=pl.Series(account_ns),
        tier=pl.Series(rng.choice(3, count, p=[0.5, 0.35, 0.15])),
        interval=pl.Series(rng.random(count) < _YEARLY_SHARE).cast(pl.Int64),
        days=pl.Series(rng.integers(low, high + 1, count)),
        hour_s=pl.Series(rng.integers(2 * HOUR, 20 * HOUR, count)),
        prefers_debit=pl.Series(rng.random(count) < _DEBIT_SHARE),
    )
    return drawn.with_columns(
        tier=_label(catalogue.TIERS, "tier"),
        interval=_label(catalogue.INTERVALS, "interval"),
        pm_type=_pm_type(archetype),
    ).pipe(_with_plan, archetype)


def _markets(archetype: Archetype, as_of: datetime) -> pl.DataFrame:
    """The markets that the archetype may live in, with each one's local midnight as an instant."""
    allowed = set(archetype.currencies or catalogue.CURRENCIES)
    if archetype.instrument == "debit":
        allowed &= set(catalogue.DEBIT_TYPES)
    if archetype.is_free:
        allowed = {"usd"}
    chosen = [market for market in catalogue.MARKETS if market.currency in allowed]
    midnights = [_midnight(market.timezone or POLICY_TIMEZONE, as_of) for market in chosen]
    return pl.DataFrame(
        {
            "currency": [market.currency for market in chosen],
            "country": [market.country for market in chosen],
            "timezone": pl.Series([market.timezone for market in chosen], dtype=pl.String),
            "weight": [market.weight for market in chosen],
            "midnight": pl.Series(midnights, dtype=INSTANT),
            "today": [midnight.date() for midnight in midnights],
        }
    )


def _midnight(timezone: str, as_of: datetime) -> datetime:
    """The last local midnight at or before `as_of`."""
    zone = ZoneInfo(timezone)
    return datetime.combine(as_of.astimezone(zone).date(), time(), zone)


def _label(labels: tuple[str, ...], column: str) -> pl.Expr:
    return pl.lit(pl.Series(labels)).gather(pl.col(column))


def _pm_type(archetype: Archetype) -> pl.Expr:
    """How the account pays: by card, or by the bank debit of its currency."""
    debit = pl.col("currency").replace_strict(catalogue.DEBIT_TYPES, default=None, return_dtype=pl.String)
    if archetype.instrument == "card":
        return pl.lit("card")
    if archetype.instrument == "debit":
        return debit
    return pl.when("prefers_debit").then(debit).fill_null("card")


def _with_plan(drawn: pl.DataFrame, archetype: Archetype) -> pl.DataFrame:
    plans = catalogue.plans().select("plan_code", "amount")
    code = pl.format("{}_{}_{}", "tier", "currency", "interval")
    named = drawn.with_columns(plan_code=pl.lit(catalogue.FREE_PLAN) if archetype.is_free else code)
    return named.join(plans, on="plan_code", how="left", validate="m:1", maintain_order="left").drop("prefers_debit")
