"""Provenance: the provider events that led to it, and the rows that were written a moment ago.

An event is behind a finding if it is about the finding's object, about a charge of that invoice, or, where the
finding is about the account itself, about its driver, the driver's charges or its customer. A stuck event is behind
the finding that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from trueup.contract.schemas import TABLES
from trueup.drift.evidence import Evidence

BROKEN: Final = "(broken)"

_KEY: Final = ["account_id", "code", "object_id"]


def event_ids(findings: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """account_id, code, object_id, event_ids (sorted): for findings that have any."""
    about = pl.concat([_own_objects(findings), _charges(findings, evidence), _of_account(findings, evidence)]).unique()
    wanted = about.select("about").unique().lazy()
    events = pl.concat(
        [
            evidence.facts["stripe_events"].select("event_id", about="object_id"),
            evidence.facts["subs_stuck_events"].select("event_id", about="object_id"),
            evidence.facts["subs_stuck_events"].select("event_id", about="event_id"),
        ]
    )
    near = events.filter(pl.col("event_id").is_not_null()).join(wanted, on="about", how="semi").unique().collect()
    return about.join(near, on="about", how="inner").group_by(_KEY).agg(event_ids=pl.col("event_id").unique().sort())


def recently_written(evidence: Evidence, observed_at: Mapping[str, datetime], settle: timedelta) -> pl.DataFrame:
    """account_id, table, object_id: rows that were written within `settle` before their store was read.

    Rows that the sweep took out are among them, under the table name `BROKEN`.
    """
    frames = []
    for name, table in TABLES.items():
        at = observed_at.get(table.store)
        if at is None or "updated_at" not in table.columns or name not in evidence.facts:
            continue
        is_recent = pl.col("updated_at").is_between(pl.lit(at - settle), pl.lit(at))
        rows = evidence.facts[name].filter(is_recent)
        if name == "credit_notes":
            rows = rows.join(
                evidence.facts["invoices"].select("invoice_id", "account_id"), on="invoice_id", how="inner"
            )
        elif "account_id" not in table.columns:
            continue
        key = pl.col(table.key[-1]).cast(pl.String())
        frames.append(rows.select("account_id", table=pl.lit(name), object_id=key))
    frames += [
        evidence.violations.filter(
            pl.col("store") == store, pl.col("updated_at").is_between(pl.lit(at - settle), pl.lit(at))
        ).select("account_id", object_id="key", table=pl.lit(BROKEN))
        for store, at in observed_at.items()
    ]
    columns = {"account_id": pl.String, "table": pl.String, "object_id": pl.String}
    return pl.concat([pl.LazyFrame(schema=columns), *(frame.select(list(columns)) for frame in frames)]).collect()


def _own_objects(findings: pl.DataFrame) -> pl.DataFrame:
    return findings.filter(pl.col("object_id").is_not_null()).select(*_KEY, about="object_id")


def _charges(findings: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """The charges of the invoice that a finding is about."""
    return _own_objects(findings).select(_KEY).join(_charges_of(evidence), on="object_id", how="inner")


def _of_account(findings: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """The driver, its charges and the customer of the account that a finding is about."""
    own = findings.filter(pl.col("object_id").is_null(), pl.col("account_id").is_not_null()).select(_KEY)
    drivers = own.join(evidence.judged.desired.select("account_id", "driver_invoice_id"), on="account_id").filter(
        pl.col("driver_invoice_id").is_not_null()
    )
    charges = drivers.join(_charges_of(evidence), left_on="driver_invoice_id", right_on="object_id", how="inner")
    customers = own.join(evidence.mapping.collect(), on="account_id", how="inner")
    return pl.concat(
        [
            drivers.select(*_KEY, about="driver_invoice_id"),
            charges.select(*_KEY, "about"),
            customers.select(*_KEY, about="customer_id"),
        ]
    )


def _charges_of(evidence: Evidence) -> pl.DataFrame:
    """object_id, about: which Stripe charges were made for which invoice."""
    return (
        evidence.judged.attempts.filter(pl.col("stripe_charge_id").is_not_null())
        .select("object_id", about="stripe_charge_id")
        .unique()
    )
