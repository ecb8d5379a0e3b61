"""Corrections: from findings to the columns that are to change.

The auditor corrects four things, each of them its own to write ("What the auditor corrects" in
docs/contract/FINDINGS.md): the stored dunning row, the bad-debt flag, a mandate's status, and events that have become
moot. A correction is made only for a finding that is firm (no row behind it was written a moment ago), not suppressed,
and about an account of which the engine is sure. What comes out is minimal: a column that is already right is not in
it. Whether any of it may be written is the gate's decision (`gate.py`), not this module's.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import polars as pl

from trueup.contract.schemas import CHANGES, INSTANT
from trueup.contract.vocabulary import NETWORK_STATUS_TYPE, REASONS
from trueup.drift.codes import corrected_by

if TYPE_CHECKING:
    from trueup.contract.schemas import Snapshot
    from trueup.engine.policy import Policy

DUNNING_CODES: Final = corrected_by("subs_dunning")
FLAG_CODES: Final = corrected_by("subs_account")
MANDATE_CODES: Final = corrected_by("subs_mandate")
EVENT_CODES: Final = corrected_by("subs_stuck_events")
CORRECTED_CODES: Final = frozenset((*DUNNING_CODES, *FLAG_CODES, *MANDATE_CODES, *EVENT_CODES))
"""Codes that a plan corrects; every other code is reported to its owner."""

CARRIED: Final = ("state", "attempt_count", "clock_started_on", "next_retry_at", "driver_invoice_id")
ALONG: Final[dict[str, tuple[str, ...]]] = {
    "subs_dunning": ("reason", "policy_version", "computed_at"),
    "subs_account": ("updated_by",),
    "subs_mandate": (),
    "subs_stuck_events": ("resolved_at",),
}
"""Columns that are written along with a change and are never a reason for one, by table."""

PLANNED: Final[dict[str, tuple[str, ...]]] = {
    "subs_account": ("bad_debt", *ALONG["subs_account"]),
    "subs_dunning": (*CARRIED, *ALONG["subs_dunning"]),
    "subs_mandate": ("status", "network_status"),
    "subs_stuck_events": ("status", *ALONG["subs_stuck_events"]),
}
"""Table → the columns that a plan may carry: of what is ours, what a correction needs."""

OUR_NAME: Final = "A3"  # what subs_account.updated_by says of a flag that the recompute wrote


CURED_WITH_THEIR_ACCOUNT: Final = "EVT_STUCK"
"""An event that is stuck only because its account disagrees: it is resolved together with what cures the account."""

OF_EVENTS: Final = "EVT_"

Cause = Literal[
    "no_event:time_passed", "no_event:policy_changed", "no_event:older_than_history", "no_event:store_edited"
]
"""What made a change necessary where no provider event did; it stands in place of event ids."""

EVENTS_KEPT: Final = timedelta(days=30)
"""For how long Stripe keeps events (docs.stripe.com/api/events, read on 2026-11-20)."""

CORRECTED_FROM: Final = ("subs_account", "subs_dunning", "subs_mandate", "subs_stuck_events", "stripe_mandates")
"""Tables whose rows a correction is made from."""


def changes(
    findings: pl.DataFrame, desired: pl.LazyFrame, facts: Snapshot, policy: Policy, as_of: datetime
) -> pl.DataFrame:
    """The columns to change, as schemas.CHANGES, sorted by account, table, key and column.

    Args:
        findings: confirmed findings (schemas.FINDINGS); settling and suppressed ones are left alone here.
        desired: what the engine says of the accounts (schemas.DESIRED), and perhaps of others.
        facts: the rows that the answer was computed from; of `CORRECTED_FROM`, and perhaps more.
        policy: the policy of that run; its version is written into the dunning rows.
        as_of: the instant of that run; it is what `computed_at` and `resolved_at` will say, so that equal inputs give
            equal changes.
    """
    answers = desired.join(findings.lazy().select("account_id"), on="account_id", how="semi").collect()
    actionable = _actionable(findings, answers)
    stored = rows_behind(actionable, facts)
    parts = [
        _dunning_rows(actionable, answers, stored["subs_dunning"], policy, as_of),
        _bad_debt_flags(actionable, answers, stored["subs_account"]),
        _mandates(actionable, stored["subs_mandate"], stored["stripe_mandates"]),
        _moot_events(actionable, stored["subs_stuck_events"], as_of),
    ]
    caused = _with_causes(pl.concat(parts), stored["subs_dunning"], policy, as_of)
    cells = _without_words_of_others(caused).sort("account_id", "table", "key", "column", nulls_last=True)
    return cells.with_columns(change_id=pl.Series(_change_ids(cells), dtype=pl.String())).select(list(CHANGES))


def rows_behind(findings: pl.DataFrame, facts: Snapshot) -> dict[str, pl.DataFrame]:
    """Of each table of `CORRECTED_FROM`, the rows that the corrections of these findings are made from."""
    whose = findings.lazy().select("account_id").drop_nulls().unique()
    of_accounts = ("subs_account", "subs_dunning", "subs_mandate")
    stored = {name: facts[name].join(whose, on="account_id", how="semi").collect() for name in of_accounts}
    of_events = (*EVENT_CODES, CURED_WITH_THEIR_ACCOUNT)
    events = findings.lazy().filter(pl.col("code").is_in(of_events)).select(event_id="object_id")
    mandates = stored["subs_mandate"].lazy().select(mandate_id="stripe_mandate_id")
    return stored | {
        "subs_stuck_events": facts["subs_stuck_events"].join(events, on="event_id", how="semi").collect(),
        "stripe_mandates": facts["stripe_mandates"].join(mandates, on="mandate_id", how="semi").collect(),
    }


def change_id(table: str, key: str, column: str, before: str, after: str, row_version: int | None) -> str:
    """The name of a change: a hash of where it is, what it turns into what, and the version it was based on."""
    content = json.dumps([table, key, column, before, after, row_version], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def _change_ids(cells: pl.DataFrame) -> list[str]:
    return [
        change_id(*row) for row in cells.select("table", "key", "column", "before", "after", "row_version").iter_rows()
    ]


def _actionable(findings: pl.DataFrame, desired: pl.DataFrame) -> pl.DataFrame:
    """Findings that may lead to a change: firm, and not of an indeterminate account."""
    indeterminate = desired.filter(pl.col("quality") == "indeterminate").select("account_id")
    is_firm = ~(pl.col("is_settling").fill_null(value=True) | pl.col("is_suppressed").fill_null(value=True))
    corrected = findings.filter(pl.col("code").is_in(sorted(CORRECTED_CODES)), is_firm)
    cured = _cured_events(findings.filter(is_firm), findings.join(corrected, on=["account_id", "code", "object_id"],
                                                                  how="anti", nulls_equal=True))  # fmt: skip
    return pl.concat([corrected, cured]).join(indeterminate, on="account_id", how="anti")


def _cured_events(firm: pl.DataFrame, left: pl.DataFrame) -> pl.DataFrame:
    """Stuck events of accounts of which, but for events, nothing is left once the corrections are applied.

    So one plan is enough: resolved one plan later they would make a second.
    """
    uncured = left.filter(~pl.col("code").str.starts_with(OF_EVENTS)).select("account_id").drop_nulls().unique()
    stuck = firm.filter(pl.col("code") == CURED_WITH_THEIR_ACCOUNT, pl.col("account_id").is_not_null())
    return stuck.join(uncured, on="account_id", how="anti")


def _with_causes(cells: pl.DataFrame, stored: pl.DataFrame, policy: Policy, as_of: datetime) -> pl.DataFrame:
    """Changes that no provider event led to name a typed cause in the place of event ids."""
    edited_since = pl.col("updated_at") > pl.col("computed_at") + timedelta(days=1)  # a plan is applied within a day
    cause = (
        pl.when(pl.col("policy_version").is_not_null() & (pl.col("policy_version") != policy.version))
        .then(pl.lit("no_event:policy_changed"))
        .when((pl.col("computed_at") < as_of - EVENTS_KEPT).fill_null(value=True))
        .then(pl.lit("no_event:older_than_history"))
        .when(edited_since.fill_null(value=False))
        .then(pl.lit("no_event:store_edited"))
        .otherwise(pl.lit("no_event:time_passed"))
    )
    by_account = stored.select("account_id", cause=cause).unique("account_id")
    default = pl.when(pl.col("table") == "subs_mandate").then(pl.lit("no_event:store_edited"))
    named = cells.join(by_account, on="account_id", how="left", validate="m:1").with_columns(
        cause=pl.coalesce(default, "cause", pl.lit("no_event:time_passed"))
    )
    has_events = pl.col("event_ids").list.len() > 0
    return named.with_columns(event_ids=pl.when(has_events).then("event_ids").otherwise(pl.concat_list("cause"))).drop(
        "cause"
    )


def _without_words_of_others(cells: pl.DataFrame) -> pl.DataFrame:
    """Reasons that stood in a row before are free text of whoever wrote it: they enter no plan and no audit log."""
    is_reason = (pl.col("table") == "subs_dunning") & (pl.col("column") == "reason")
    is_ours = pl.col("before").str.contains(_OUR_REASONS)
    return cells.with_columns(before=pl.when(is_reason & ~is_ours).then(pl.lit("null")).otherwise("before"))


def _dunning_rows(
    found: pl.DataFrame, answers: pl.DataFrame, stored: pl.DataFrame, policy: Policy, as_of: datetime
) -> pl.DataFrame:
    """The stored dunning row, made to say what the engine says; inserted where there is none."""
    why = _by(found, DUNNING_CODES, "account_id")
    reasons = pl.col("reasons").list.join(",")
    desired = answers.join(why, on="account_id", how="inner", validate="1:1").with_columns(
        state=pl.col("state").cast(pl.String()),
        reason=reasons,
        policy_version=pl.lit(policy.version),
        computed_at=_instant(as_of),
        key=pl.col("account_id"),
        why=pl.concat_str(
            pl.col("state").cast(pl.String()), reasons.replace("", None), separator=": ", ignore_nulls=True
        ),
    )
    rows = desired.join(stored, on="account_id", how="left", suffix="_before", validate="1:1")
    return _cells(rows, "subs_dunning", "subs_dunning", [Cell(c, f"{c}_before", c) for c in CARRIED])


def _bad_debt_flags(found: pl.DataFrame, answers: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The bad-debt flag. An account without a row has no FLAG_ finding, so nothing is ever inserted."""
    why = _by(found, FLAG_CODES, "account_id")
    reasons = pl.col("reasons").list.join(",")
    desired = answers.join(why, on="account_id", how="inner", validate="1:1").select(
        "account_id",
        "codes",
        "event_ids",
        key=pl.col("account_id"),
        bad_debt_after=pl.col("bad_debt"),
        updated_by_after=pl.lit(OUR_NAME),
        why=pl.concat_str(
            pl.col("state").cast(pl.String()), reasons.replace("", None), separator=": ", ignore_nulls=True
        ),
    )
    rows = desired.join(stored, on="account_id", validate="1:1")
    return _cells(rows, "subs_account", "subs_account", [Cell("bad_debt", "bad_debt", "bad_debt_after")])


def _mandates(found: pl.DataFrame, ours: pl.DataFrame, stripe: pl.DataFrame) -> pl.DataFrame:
    """Our copy of a mandate takes Stripe's word for it. A finding names the mandate by Stripe's id."""
    why = _by(found, MANDATE_CODES, "account_id", "object_id").with_columns(why=pl.lit("stripe_mandate"))
    tells_network_status = pl.col("payment_method_type") == NETWORK_STATUS_TYPE
    rows = (
        ours.join(
            why,
            left_on=["account_id", "stripe_mandate_id"],
            right_on=["account_id", "object_id"],
            nulls_equal=True,
            validate="m:1",
        )
        .join(stripe, left_on="stripe_mandate_id", right_on="mandate_id", suffix="_after", validate="m:1")
        .with_columns(
            key=pl.col("mandate_id"),
            network_status_after=pl.when(tells_network_status).then("network_status_after").otherwise("network_status"),
        )
    )
    cells = [Cell(column, column, f"{column}_after") for column in ("status", "network_status")]
    return _cells(rows, "subs_dunning", "subs_mandate", cells)


def _moot_events(found: pl.DataFrame, stored: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """An event whose account needs nothing any more, or nothing but what is corrected with it, is resolved."""
    resolved = (*EVENT_CODES, CURED_WITH_THEIR_ACCOUNT)
    why = _by(found, resolved, "object_id").with_columns(why=pl.lit("recompute_agrees"))
    rows = stored.join(why, left_on="event_id", right_on="object_id", how="inner", validate="1:1").with_columns(
        key=pl.col("event_id"),
        event_ids=pl.concat_list("event_ids", "event_id").list.unique().list.sort(),
        status_after=pl.lit("resolved"),
        resolved_at_after=_instant(as_of),
    )
    return _cells(rows, "subs_dunning", "subs_stuck_events", [Cell("status", "status", "status_after")])


_OUR_REASONS: Final = rf'^("({"|".join(REASONS)})(,({"|".join(REASONS)}))*"|""|null)$'


class Cell(NamedTuple):
    """A column that may have to change: its name, and the frame's columns that hold the two sides."""

    column: str
    before: str
    after: str


_ALONG_CELLS: Final[dict[str, list[Cell]]] = {
    "subs_dunning": [Cell(c, f"{c}_before", c) for c in ALONG["subs_dunning"]],
    "subs_account": [Cell("updated_by", "updated_by", "updated_by_after")],
    "subs_mandate": [],
    "subs_stuck_events": [Cell("resolved_at", "resolved_at", "resolved_at_after")],
}


def _cells(rows: pl.DataFrame, store: str, table: str, cells: list[Cell]) -> pl.DataFrame:
    """One row per column that differs, of every row in which at least one of `cells` does."""
    moved = pl.any_horizontal(pl.col(c.before).ne_missing(pl.col(c.after)) for c in cells)
    rows = rows.filter(moved)
    return pl.concat([_cell(rows, store, table, cell) for cell in (*cells, *_ALONG_CELLS[table])]).filter(
        pl.col("before") != pl.col("after")
    )


def _cell(rows: pl.DataFrame, store: str, table: str, cell: Cell) -> pl.DataFrame:
    return rows.select(
        "account_id",
        pl.lit(store).alias("store"),
        pl.lit(table).alias("table"),
        "key",
        pl.lit(cell.column).alias("column"),
        _json_text(cell.before, rows.schema[cell.before]).alias("before"),
        _json_text(cell.after, rows.schema[cell.after]).alias("after"),
        pl.col("version").alias("row_version"),
        "codes",
        pl.col("why").alias("reason"),
        "event_ids",
    )


def _json_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """The column's values as JSON text, `null` for a null: what PostgreSQL reads back without loss."""
    value = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        value = value.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
    elif isinstance(dtype, (pl.Date, pl.Enum)):
        value = value.cast(pl.String())
    wrapped = pl.struct(value.alias("v")).struct.json_encode()  # {"v":…}
    return wrapped.str.strip_prefix('{"v":').str.strip_suffix("}")


def _by(found: pl.DataFrame, codes: tuple[str, ...], *key: str) -> pl.DataFrame:
    """The findings of these codes, one row per key: their codes, and the provider events behind them."""
    return (
        found.filter(pl.col("code").is_in(codes), pl.col(key[-1]).is_not_null())
        .group_by(*key)
        .agg(
            codes=pl.col("code").unique().sort(),
            event_ids=pl.col("event_ids").explode().drop_nulls().unique().sort(),
        )
    )


def _instant(at: datetime) -> pl.Expr:
    return pl.lit(at, dtype=INSTANT)
