"""Events: provider events that a handler could not take in.

An event that stays pending or stuck matters as long as its account disagrees about anything else; once it agrees, the
recompute has done the event's work and it can be resolved. Which of the two it is depends on all other findings, so
their code is set last (`reclassify_stuck_events`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from trueup.drift.evidence import Evidence, found

STUCK_FOR: Final = timedelta(hours=1)

_OF_EVENTS: Final = "EVT_"


def evt_stuck(evidence: Evidence) -> pl.LazyFrame:
    """Pending or stuck for longer than an hour. Whether it is moot is decided last (`reclassify_stuck_events`)."""
    late = _unresolved(evidence).filter(
        pl.col("is_well_formed").fill_null(value=True),
        pl.col("status").is_in(["pending", "stuck", "resolved"]),
        pl.col("received_at") < evidence.as_of - STUCK_FOR,
    )
    return _events(late)


def evt_malformed(evidence: Evidence) -> pl.LazyFrame:
    """A payload that no handler can read: quarantined until a person has buried it."""
    is_dead = (pl.col("status") == "dead").fill_null(value=False)
    return _events(_unresolved(evidence).filter(~pl.col("is_well_formed"), ~is_dead))


def reclassify_stuck_events(findings: pl.DataFrame) -> pl.DataFrame:
    """Stuck events with their code: EVT_STUCK where the account has a finding other than EVT_, else EVT_STUCK_MOOT."""
    others = findings.filter(~pl.col("code").str.starts_with(_OF_EVENTS)).select("account_id").drop_nulls().unique()
    is_stuck = pl.col("code").is_in(["EVT_STUCK", "EVT_STUCK_MOOT"])
    disagrees = pl.col("disagrees").fill_null(value=False)
    return (
        findings.join(others.with_columns(disagrees=pl.lit(value=True)), on="account_id", how="left", validate="m:1")
        .with_columns(
            code=pl.when(~is_stuck)
            .then(pl.col("code"))
            .when(disagrees)
            .then(pl.lit("EVT_STUCK"))
            .otherwise(pl.lit("EVT_STUCK_MOOT")),
            desired=pl.when(~is_stuck).then(pl.col("desired")).when(~disagrees).then(pl.lit(_RESOLVED)),
        )
        .drop("disagrees")
    )


_RESOLVED: Final = '{"status":"resolved"}'


def _unresolved(evidence: Evidence) -> pl.LazyFrame:
    """Events that were not resolved by `as_of`; those resolved later were stuck then."""
    is_resolved = (pl.col("status") == "resolved") & (pl.col("resolved_at") <= evidence.as_of).fill_null(value=True)
    return evidence.facts["subs_stuck_events"].filter(~is_resolved.fill_null(value=False))


def _events(rows: pl.LazyFrame) -> pl.LazyFrame:
    return found(
        rows,
        {
            "subs_dunning": {
                "status": "status",
                "attempts": "attempts",
                "received_at": "received_at",
                "is_well_formed": "is_well_formed",
            }
        },
        object_id="event_id",
    )


RULES: Final = (evt_stuck, evt_malformed)
