"""Disputes: from when to when each one is open.

A dispute that needs a response or is under review is open. One that is won or lost was closed at the instant of its
`charge.dispute.closed` event, else at its latest balance transaction after the first, else at a time never known.
Warnings and prevented disputes take no money and hold nothing. How long an open dispute may hold is the policy's.
"""

from __future__ import annotations

import polars as pl

from trueup.contract.vocabulary import CLOSED_DISPUTES, OPEN_DISPUTES
from trueup.engine.facts import Facts


def dated_disputes(facts: Facts) -> pl.LazyFrame:
    """Disputes that hold or held, with closed_at (null while open, or when not known) and is_lost.

    Events are taken from the whole snapshot: one that closed the dispute after `as_of` says that it was open then.
    After an appeal the latest closing counts, but none is later than the policy's longest. A loss that nobody can date
    is taken as it is now: lost.
    """
    closings = (
        facts.snapshot["stripe_events"]
        .filter(pl.col("type") == "charge.dispute.closed", pl.col("object_id").is_not_null())
        .group_by(dispute_id="object_id")
        .agg(event_at=pl.col("created_at").max())
    )
    settled_at = pl.when(pl.col("balance_transaction_ats").list.len() > 1).then(
        pl.col("balance_transaction_ats").list.max()
    )
    known_at = pl.when(pl.col("status").is_in(CLOSED_DISPUTES)).then(pl.coalesce(pl.col("event_at"), settled_at))
    cap_at = pl.col("created_at") + pl.duration(days=facts.policy.dispute_max_days)
    has_closed = (pl.min_horizontal(known_at, cap_at) <= facts.as_of) | known_at.is_null()
    return (
        facts["stripe_disputes"]
        .filter(pl.col("status").is_in([*OPEN_DISPUTES, *CLOSED_DISPUTES]))
        .join(closings, on="dispute_id", how="left", validate="1:1")
        .with_columns(
            closed_at=pl.when(known_at <= facts.as_of).then(known_at),
            is_lost=(pl.col("status") == "lost") & has_closed.fill_null(value=True),
        )
    )
