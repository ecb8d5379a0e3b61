"""Counts: what of a run's findings is tracked over time, and which of them the recheck confirms.

An account disagrees if it has a finding of severity S1, S2 or S3 that is neither settling nor suppressed. Six stores
cannot be read at one instant, so a disagreement is confirmed only if it is still there when its accounts are read
again.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.schemas import FINDINGS
from trueup.contract.vocabulary import COUNTED_SEVERITIES
from trueup.drift.codes import CODES
from trueup.drift.roots import with_roots
from trueup.drift.rules.event import reclassify_stuck_events

BY_CODE: Final[dict[str, pl.DataType]] = {
    "code": pl.String(),
    "category": pl.String(),
    "severity": pl.String(),
    "owner": pl.String(),
    "accounts": pl.Int64(),  # distinct accounts that disagree by this code
    "findings": pl.Int64(),  # all rows, counted or not
    "settling": pl.Int64(),
    "suppressed": pl.Int64(),
}


def is_counted() -> pl.Expr:
    """A finding that makes its account one that disagrees."""
    return pl.col("severity").is_in(COUNTED_SEVERITIES) & ~pl.col("is_settling") & ~pl.col("is_suppressed")


def disagreeing_accounts(findings: pl.DataFrame) -> int:
    """How many accounts disagree."""
    return findings.filter(is_counted())["account_id"].drop_nulls().n_unique()


def by_code(findings: pl.DataFrame) -> pl.DataFrame:
    """One row per code, severity and owner that was found, in the order of the codes: the columns of `BY_CODE`."""
    place = {code: index for index, code in enumerate(CODES)}
    category = {code.code: code.category for code in CODES.values()}
    return (
        findings.group_by("code", "severity", "owner")
        .agg(
            accounts=pl.col("account_id").filter(is_counted()).drop_nulls().n_unique(),
            findings=pl.len(),
            settling=pl.col("is_settling").sum(),
            suppressed=pl.col("is_suppressed").sum(),
        )
        .with_columns(category=pl.col("code").replace_strict(category, return_dtype=pl.String()))
        .sort(pl.col("code").replace_strict(place, return_dtype=pl.Int64()), "severity", "owner")
        .select(pl.col(name).cast(dtype) for name, dtype in BY_CODE.items())
    )


def confirm(initial: pl.DataFrame, recheck: pl.DataFrame) -> pl.DataFrame:
    """The findings of the initial reading that the recheck of their accounts still has, as the recheck describes them.

    Findings that a reading of some accounts cannot see are taken from the initial reading: stores that were not read as
    they should be, and events and bad rows of no account. A stuck event is the same finding whichever of its two codes
    it has. Roots are set again, since a root may not have been confirmed. The provider events behind a finding are
    those of both readings, since a reading of some accounts reads few of them.

    Args:
        initial: findings of the whole scope (schemas.FINDINGS).
        recheck: findings of the accounts that were read again (schemas.FINDINGS).

    Returns:
        schemas.FINDINGS, sorted by account, code and object.
    """
    unread = initial.filter(pl.col("account_id").is_null(), pl.col("code") != "MAP_ORPHAN_CUSTOMER")
    read_again = initial.join(unread, on=_IDENTITY, how="anti", nulls_equal=True)
    initial_events = _same(read_again).select(*_SAME, initial_event_ids=_ids("event_ids")).unique(_SAME)
    confirmed = (
        _same(recheck)
        .join(initial_events, on=_SAME, how="inner", nulls_equal=True)
        .with_columns(event_ids=pl.concat_list(_ids("event_ids"), "initial_event_ids").list.unique().list.sort())
    )
    repeated = unread.join(confirmed, on=_IDENTITY, how="anti", nulls_equal=True)
    rows = reclassify_stuck_events(pl.concat([confirmed.select(list(FINDINGS)), repeated.select(list(FINDINGS))]))
    severity = {"EVT_STUCK": CODES["EVT_STUCK"].severity, "EVT_STUCK_MOOT": CODES["EVT_STUCK_MOOT"].severity}
    is_stuck = pl.col("code").is_in(list(severity))
    classified = rows.with_columns(
        severity=pl.when(is_stuck).then(pl.col("code").replace(severity)).otherwise(pl.col("severity"))
    )
    return with_roots(classified).select(list(FINDINGS)).sort("account_id", "code", "object_id", nulls_last=True)


_IDENTITY: Final = ["account_id", "code", "object_id"]
_SAME: Final = ["account_id", "same_code", "object_id"]


def _ids(column: str) -> pl.Expr:
    return pl.col(column).fill_null([])


def _same(findings: pl.DataFrame) -> pl.DataFrame:
    return findings.with_columns(same_code=pl.col("code").replace({"EVT_STUCK_MOOT": "EVT_STUCK"}))
