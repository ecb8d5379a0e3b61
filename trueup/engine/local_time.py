"""Local dates: what day an instant is where the account lives.

Dunning counts days, and a day ends at the account's midnight, not at UTC's. Polars converts a column to one timezone
at a time, so a frame is split by timezone (there are a few hundred at most), converted, and put together again.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl


def with_local_dates(frame: pl.LazyFrame, columns: Mapping[str, str]) -> pl.LazyFrame:
    """Add a date column for each instant: `columns` maps instant → date, in the zone of the row's `timezone`.

    The row order is not kept: rows come out grouped by timezone.
    """
    collected = frame.collect(engine="streaming")
    parts = [
        part.with_columns(
            pl.col(instant).dt.convert_time_zone(zone).dt.date().alias(date) for instant, date in columns.items()
        )
        for (zone,), part in collected.partition_by("timezone", as_dict=True).items()
    ]
    if not parts:
        return collected.with_columns(pl.lit(None, pl.Date).alias(date) for date in columns.values()).lazy()
    return pl.concat(parts).lazy()


def days_between(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Whole days from one date to another."""
    return (end - start).dt.total_days()


def plus_days(date: pl.Expr, days: pl.Expr | int) -> pl.Expr:
    """The date so many days later."""
    return date + pl.duration(days=days)
