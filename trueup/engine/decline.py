"""Declines: what the codes on a failed attempt mean for trying again.

An attempt may carry up to four codes. The first one that the policy's table knows decides, in the order network
advice, Stripe's advice, decline code, failure code; but a hard code among them wins wherever it stands. With no known
code the decline is soft: that a code was there and nobody knew it is a finding, not a reason to stop.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.vocabulary import EXPIRY_CODES
from trueup.engine.policy import Policy

CODES: Final = ("network_advice_code", "advice_code", "decline_code", "failure_code")


def with_decline(attempts: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    """Add decline_class, deciding_code (null where nothing failed), has_code, has_known_code, has_expiry_code."""
    has_failed = (pl.col("status") == "failed").fill_null(value=False)
    others = attempts.filter(~has_failed).with_columns(
        decline_class=pl.lit(None, pl.String()),
        deciding_code=pl.lit(None, pl.String()),
        has_code=pl.lit(value=False),
        has_known_code=pl.lit(value=False),
        has_expiry_code=pl.lit(value=False),
    )
    return pl.concat([others, _classified(attempts.filter(has_failed), policy)])


def _classified(failed: pl.LazyFrame, policy: Policy) -> pl.LazyFrame:
    classes = {code: _class_of(code, policy) for code in CODES}
    is_hard = {code: (kind == "hard").fill_null(value=False) for code, kind in classes.items()}
    has_hard = pl.any_horizontal(*is_hard.values())
    hard_code = pl.coalesce(pl.when(is_hard[code]).then(pl.col(code)) for code in CODES)
    known_code = pl.coalesce(pl.when(classes[code].is_not_null()).then(pl.col(code)) for code in CODES)
    decided = pl.when(has_hard).then(pl.lit("hard")).otherwise(pl.coalesce(*classes.values(), pl.lit("soft")))
    return failed.with_columns(
        decline_class=decided,
        deciding_code=pl.when(has_hard).then(hard_code).otherwise(known_code),
        has_code=pl.any_horizontal(pl.col(code).is_not_null() for code in CODES),
        has_known_code=known_code.is_not_null(),
        has_expiry_code=pl.any_horizontal(pl.col(code).is_in(EXPIRY_CODES).fill_null(value=False) for code in CODES),
    )


def _class_of(code: str, policy: Policy) -> pl.Expr:
    if not policy.decline_codes:
        return pl.lit(None, pl.String())
    return pl.col(code).replace_strict(dict(policy.decline_codes), default=None, return_dtype=pl.String())
