"""The catalogue: what the fleet's company sells, where its customers are, and how their payments fail.

Only constants and the frames made of them belong here. Amounts are far above every threshold of the default policy, so
that whether a debt counts is decided by an archetype and never by the plan that happened to be drawn.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import polars as pl


class Market(NamedTuple):
    """Where an account may be: the currency it pays in, its country, its timezone, and how many accounts are there."""

    currency: str
    country: str
    timezone: str | None  # null: the policy's timezone
    weight: int


MARKETS: Final = (
    Market("usd", "US", "America/New_York", 200),
    Market("usd", "US", "America/Chicago", 120),
    Market("usd", "US", "America/Los_Angeles", 130),
    Market("usd", "US", None, 60),
    Market("usd", "AS", "Pacific/Pago_Pago", 5),
    Market("usd", "KI", "Pacific/Kiritimati", 5),
    Market("usd", "IN", "Asia/Kolkata", 25),
    Market("usd", "NP", "Asia/Kathmandu", 5),
    Market("eur", "DE", "Europe/Berlin", 110),
    Market("eur", "FR", "Europe/Paris", 70),
    Market("eur", "ES", "Europe/Madrid", 40),
    Market("eur", "FI", "Europe/Helsinki", 20),
    Market("eur", "PT", None, 10),
    Market("gbp", "GB", "Europe/London", 90),
    Market("cad", "CA", "America/Toronto", 30),
    Market("cad", "CA", "America/St_Johns", 5),
    Market("aud", "AU", "Australia/Sydney", 25),
    Market("nzd", "NZ", "Pacific/Auckland", 8),
    Market("jpy", "JP", "Asia/Tokyo", 40),
    Market("kwd", "KW", "Asia/Kuwait", 12),
)

CURRENCIES: Final = tuple(dict.fromkeys(market.currency for market in MARKETS))

# The bank debit that Stripe offers in each currency; the others pay by card only.
DEBIT_TYPES: Final = {
    "usd": "us_bank_account",
    "eur": "sepa_debit",
    "gbp": "bacs_debit",
    "cad": "acss_debit",
    "aud": "au_becs_debit",
    "nzd": "nz_bank_account",
}

TIERS: Final = ("starter", "team", "business")
INTERVALS: Final = ("month", "year")
INTERVAL_DAYS: Final = {"month": 30, "year": 365}
FREE_PLAN: Final = "free"

# Monthly amounts in minor units: yen have none, Kuwaiti dinars have three digits.
_MONTHLY: Final = {
    "starter": {"usd": 1900, "eur": 1900, "gbp": 1700, "cad": 2500, "aud": 2900, "nzd": 3100, "jpy": 2800, "kwd": 5900},
    "team": {
        "usd": 7900,
        "eur": 7500,
        "gbp": 6900,
        "cad": 9900,
        "aud": 11900,
        "nzd": 12900,
        "jpy": 11500,
        "kwd": 24500,
    },
    "business": {
        "usd": 29900,
        "eur": 27900,
        "gbp": 25900,
        "cad": 39900,
        "aud": 44900,
        "nzd": 48900,
        "jpy": 43000,
        "kwd": 91750,
    },
}

FEATURES: Final = {
    "free": ("projects",),
    "starter": ("exports", "projects"),
    "team": ("api", "exports", "projects", "seats"),
    "business": ("api", "audit_trail", "exports", "projects", "seats", "sso"),
}
OTHER_FEATURE: Final = "beta_reports"  # a feature that no plan has
OLD_FEATURE: Final = "classic_reports"  # one that plans had once

SOFT: Final = ("insufficient_funds", "generic_decline", "do_not_honor", "try_again_later", "processing_error")
HARD: Final = ("stolen_card", "lost_card", "pickup_card", "fraudulent", "restricted_card")
HARD_DEBIT: Final = ("account_closed", "debit_not_authorized", "no_account")

DECLINES: Final[dict[str, tuple[str, ...]]] = {
    "soft": SOFT,
    "hard": HARD,
    "expired": ("expired_card",),
    "authentication": ("authentication_required", "incorrect_cvc"),
    "gateway": ("rate_limit", "lock_timeout", "api_connection_error"),
    "unknown": ("closed_loop_not_supported",),
}
DEBIT_DECLINES: Final[dict[str, tuple[str, ...]]] = {**DECLINES, "soft": ("insufficient_funds",), "hard": HARD_DEBIT}


def plan_code(tier: str, currency: str, interval: str) -> str:
    """The code under which cf_prod and the products table know a plan."""
    return f"{tier}_{currency}_{interval}"


def amount_of(tier: str, currency: str, interval: str) -> int:
    """A plan's price in minor units; a year costs ten months."""
    return _MONTHLY[tier][currency] * (1 if interval == "month" else 10)


def plans() -> pl.DataFrame:
    """Every plan: plan_code, name, amount (minor units), currency, interval, features (sorted)."""
    rows = [
        {
            "plan_code": plan_code(tier, currency, interval),
            "name": f"{tier.title()} ({currency.upper()}, by the {interval})",
            "amount": amount_of(tier, currency, interval),
            "currency": currency,
            "interval": interval,
            "features": list(FEATURES[tier]),
        }
        for tier in TIERS
        for currency in CURRENCIES
        for interval in INTERVALS
    ]
    free = {
        "plan_code": FREE_PLAN,
        "name": "Free",
        "amount": 0,
        "currency": "usd",
        "interval": "month",
        "features": list(FEATURES[FREE_PLAN]),
    }
    return pl.DataFrame([*rows, free])
