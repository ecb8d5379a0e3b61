"""What only the databases hold: addresses, payloads and errors, which no reader may bring home.

All of it is made up: addresses are at example.invalid, payloads hold ids only. Frames get the columns of
docs/contract/STORES.md.
"""

from __future__ import annotations

from typing import Final

import polars as pl

_DOMAIN: Final = "@example.invalid"


def with_personal_data(frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The frames of PostgreSQL's tables with exactly the columns that their databases have."""
    stored = {name: frame.drop("unreadable") for name, frame in frames.items()}
    return {
        **stored,
        "accounts": stored["accounts"].with_columns(email=pl.col("account_id") + _DOMAIN),
        "products": stored["products"].with_columns(
            name=pl.col("plan_code").str.replace_all("_", " ").str.to_titlecase()
        ),
        "subs_account": stored["subs_account"].with_columns(billing_email="billing+" + pl.col("account_id") + _DOMAIN),
        "subs_stuck_events": _events(stored["subs_stuck_events"]),
    }


def _events(events: pl.DataFrame) -> pl.DataFrame:
    """With a payload that reads as the frame says: what the event is about, or something that is no event at all."""
    kind = pl.concat_str(pl.lit('{"type": "'), "type", pl.lit('", "data": {"object": {'))
    sound = pl.concat_str(kind, pl.lit('"id": "'), "object_id", pl.lit('"}}}'))
    no_id = kind + "}}}"
    payload = (
        pl.when(~pl.col("is_well_formed"))
        .then(pl.lit('{"unexpected": true}'))
        .when(pl.col("object_id").is_null())
        .then(no_id)
        .otherwise(sound)
    )
    failed = pl.lit("the handler timed out")
    return events.with_columns(payload=payload, last_error=failed).drop("is_well_formed", "object_id")
