"""History: what audits saw over time.

Every run leaves its headline number, its disagreements by code and pair of stores, how many rows each store returned,
and the verdicts that the gate asks for. Every finding has *spells*: from the run that first reported it to the run that
found it healed. A spell is begun only by a finding that is neither settling nor suppressed, and ended only by a run
whose scope has its account and that could have seen it (`trueup.drift.healing`). When a spell begins or ends, the owner
of a store that is not ours gets an event, in the same transaction. What a finding is, is the business of
`trueup.drift`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl
from sqlalchemy import Connection, text

from trueup.contract.schemas import INSTANT
from trueup.contract.vocabulary import COUNTED_SEVERITIES
from trueup.correction.changes import CORRECTED_CODES
from trueup.drift.healing import Sight
from trueup.drift.healing import healed as healed_by
from trueup.stores.auditor.audit_log import Entry, append, auditor_key, note_head
from trueup.stores.auditor.chain import AUDITED, run_digest
from trueup.stores.auditor.connection import actor, copy_rows, utc_now, writing
from trueup.stores.auditor.outbox import Event, emit
from trueup.stores.errors import StoreError
from trueup.stores.scope import Scope, bucket_sql
from trueup.stores.settings import Settings

_ID: Final = ("account_id", "code", "object_id")
_FOUND: Final = (*_ID, "severity", "owner", "stores", "is_firm")


@dataclass(frozen=True)
class AuditedRun:
    """A run, and what the gate will want to know of it.

    counts: store, table, rows, observed_at. checks: check, store, is_blocking, has_passed, detail; every store needs a
    blocking one. sight: what the run could not see, and so does not heal.
    """

    run_id: str
    as_of: datetime
    policy_version: str
    scope: Scope
    accounts: int
    counts: pl.DataFrame
    checks: pl.DataFrame
    sight: Sight = field(default_factory=Sight)


@dataclass(frozen=True)
class RecordedRun:
    """What recording a run came to. `findings` are those given, with first_seen_at and seen_count."""

    findings: pl.DataFrame
    accounts_disagreeing: int
    begun: int
    healed: int
    events: int


def record_run(settings: Settings, run: AuditedRun, findings: pl.DataFrame) -> RecordedRun:
    """Store a run and its confirmed findings (schemas.FINDINGS). A run that is stored already changes nothing more."""
    at = utc_now()
    begun = healed = events = 0
    head = None
    with writing(settings) as connection, connection.begin():
        if _store_run(connection, settings, run, findings, at):
            _store_counts(connection, run, findings)
            _copy_found(connection, findings)
            connection.execute(_SEE_AGAIN, {"as_of": run.as_of, "run_id": run.run_id})
            new = connection.execute(_BEGIN, {"as_of": run.as_of, "run_id": run.run_id}).mappings().all()
            gone = _heal(connection, settings, run)
            happened = [*_detected(new, findings, run), *_resolved(gone, run)]
            begun, healed, events = len(new), len(gone), emit(connection, happened, at)
            _take_queue(connection, settings, run, at)
            head = append(connection, auditor_key(settings), [_audited(run)], at)
        with_spells = _spells_of(connection, findings)
    note_head(settings, head)
    return RecordedRun(with_spells, count_disagreeing(findings), begun, healed, events)


def _audited(run: AuditedRun) -> Entry:
    """What the audit chain says of a run: digests of the checks and row counts that the gate will rest on."""
    checks = run.checks.select("check", "store", "is_blocking", "has_passed").rows()
    counts = run.counts.select("store", "table", "rows").rows()
    detail = {"checks_sha256": run_digest(checks), "counts_sha256": run_digest(counts), "scope": run.scope.label}
    return Entry(actor(), AUDITED, key=run.run_id, reconciled_at=run.as_of, detail=detail)


def count_disagreeing(findings: pl.DataFrame) -> int:
    """Accounts with a finding of severity S1 to S3 that is neither settling nor suppressed."""
    firm = findings.filter(_is_firm(), pl.col("severity").is_in(COUNTED_SEVERITIES))
    return firm["account_id"].drop_nulls().n_unique()


def disagreements_over_time(settings: Settings, *, runs: int = 100) -> pl.DataFrame:
    """disagreement_history of the latest runs: run_id, number, as_of, scope, code, stores, severity, owner, counts."""
    return _frame(settings, _OVER_TIME, {"runs": runs})


def runs_over_time(settings: Settings, *, runs: int = 100) -> pl.DataFrame:
    """The latest runs, oldest first: run_id, number, as_of, scope, accounts, accounts_disagreeing, findings, broken.

    `broken` names the stores that the run could not rely on; where it is not empty, the number is no number.
    """
    return _frame(settings, _RUNS, {"runs": runs})


def last_row_counts(settings: Settings) -> dict[str, int]:
    """Table → rows, of the last run that read the whole fleet; empty where there was none, or nobody can say."""
    try:
        rows = _frame(settings, _LAST_COUNTS, {})
    except StoreError:
        return {}
    return dict(rows.iter_rows()) if rows.height else {}


def open_findings(settings: Settings) -> pl.DataFrame:
    """Every spell that has not ended: account_id, code, object_id, severity, owner, first_seen_at, seen_count."""
    return _frame(settings, _OPEN, {})


def history_of(settings: Settings, account_id: str) -> dict[str, pl.DataFrame]:
    """What is remembered of one account: its `spells`, audit `entries` and `events`, each oldest first."""
    given = {"account_id": account_id}
    return {name: _frame(settings, statement, given) for name, statement in _OF_ACCOUNT.items()}


def queue_age(settings: Settings) -> tuple[int, datetime | None]:
    """How many accounts an apply found moved and no audit has read since, and since when the first of them waits."""
    rows = _frame(
        settings,
        "SELECT count(DISTINCT account_id) AS accounts, min(queued_at) AS oldest"
        " FROM trueup.audit_queue WHERE taken_at IS NULL",
        {},
    )
    accounts, oldest = rows.row(0)
    return int(accounts), oldest


def queued_accounts(settings: Settings) -> frozenset[str]:
    """Accounts that an apply found moved, and that no audit has read since."""
    rows = _frame(settings, "SELECT DISTINCT account_id FROM trueup.audit_queue WHERE taken_at IS NULL", {})
    return frozenset(rows["account_id"]) if rows.height else frozenset()


def scope_key(scope: Scope) -> str:
    """A name that is equal for runs over the same accounts."""
    if scope.accounts is None:
        return scope.label
    return "accounts:" + hashlib.sha256(json.dumps(sorted(scope.accounts)).encode()).hexdigest()


def _store_run(
    connection: Connection, settings: Settings, run: AuditedRun, findings: pl.DataFrame, at: datetime
) -> bool:
    stored = connection.execute(
        _STORE_RUN,
        {
            "run_id": run.run_id,
            "as_of": run.as_of,
            "scope": run.scope.label,
            "scope_key": f"{scope_key(run.scope)}/{settings.bucket_count}",
            "policy_version": run.policy_version,
            "accounts": run.accounts,
            "accounts_disagreeing": count_disagreeing(findings),
            "findings": findings.height,
            "at": at,
        },
    )
    return stored.rowcount == 1


def _store_counts(connection: Connection, run: AuditedRun, findings: pl.DataFrame) -> None:
    for table, columns, frame in (
        ("source_counts", ("store", "table", "rows", "observed_at"), run.counts),
        ("run_checks", ("check", "store", "is_blocking", "has_passed", "detail"), run.checks),
        ("disagreement_history", _PAIR_COLUMNS, by_store_pair(findings).with_columns(as_of=pl.lit(run.as_of))),
    ):
        rows = ((run.run_id, *row) for row in frame.select(columns).iter_rows())
        copy_rows(connection, f"trueup.{table}", ("run_id", *columns), rows)


_PAIR_COLUMNS: Final = (
    "code", "store_a", "store_b", "severity", "owner", "as_of", "findings", "accounts", "settling", "suppressed",
)  # fmt: skip


def by_store_pair(findings: pl.DataFrame) -> pl.DataFrame:
    """code, store_a, store_b, severity, owner → findings, accounts, settling, suppressed.

    A finding counts for every pair of the stores in conflict; one of a single store has it on both sides.
    """
    numbered = findings.with_row_index("finding").with_columns(pl.col("stores").list.unique().list.sort())
    sides = numbered.select("finding", store_b="stores").explode("store_b", empty_as_null=True)
    pairs = (
        numbered.with_columns(store_a=pl.col("stores"))
        .explode("store_a", empty_as_null=True)
        .with_columns(pl.col("store_a").fill_null("none"))
        .join(sides.with_columns(pl.col("store_b").fill_null("none")), on="finding")
        .filter(
            (pl.col("store_a") < pl.col("store_b"))
            | ((pl.col("stores").list.len() <= 1) & (pl.col("store_a") == pl.col("store_b")))
        )
    )
    return (
        pairs.group_by("code", "store_a", "store_b", "severity", "owner")
        .agg(
            findings=pl.len().cast(pl.Int64()),
            accounts=pl.col("account_id").drop_nulls().n_unique().cast(pl.Int64()),
            settling=pl.col("is_settling").fill_null(value=False).sum().cast(pl.Int64()),
            suppressed=pl.col("is_suppressed").fill_null(value=False).sum().cast(pl.Int64()),
        )
        .sort("code", "store_a", "store_b", "severity", "owner")
    )


def _copy_found(connection: Connection, findings: pl.DataFrame) -> None:
    connection.execute(text(_MAKE_FOUND))
    found = findings.with_columns(is_firm=_is_firm()).sort("is_firm", descending=True).unique(_ID, keep="first")
    copy_rows(connection, "trueup_found", _FOUND, found.select(_FOUND).iter_rows())
    connection.execute(text("ANALYZE trueup_found"))


def _is_firm() -> pl.Expr:
    """Neither settling nor suppressed; where nothing says so, it is not firm."""
    return ~(pl.col("is_settling") | pl.col("is_suppressed")).fill_null(value=True)


def _heal(connection: Connection, settings: Settings, run: AuditedRun) -> list[Any]:
    """End the spells of the run's scope that it could have seen and did not find again."""
    within, given = _within(run.scope, settings)
    rows = connection.execute(text(_UNREPORTED.format(within=within)), {**given, "as_of": run.as_of}).all()
    unreported = pl.DataFrame([tuple(row) for row in rows], schema=_UNREPORTED_COLUMNS, orient="row")
    numbers = healed_by(unreported, run.sight)["number"].to_list()
    ending = {"as_of": run.as_of, "run_id": run.run_id, "numbers": numbers}
    healed = connection.execute(_HEAL, ending).mappings().all()
    return sorted(healed, key=lambda spell: tuple((spell[name] is None, spell[name] or "") for name in _ID))


def _within(scope: Scope, settings: Settings) -> tuple[str, dict[str, Any]]:
    if scope.accounts is not None:
        return "s.account_id = ANY (:accounts)", {"accounts": sorted(scope.accounts)}
    if scope.buckets is not None:
        return f"{bucket_sql('s.account_id', settings.bucket_count)} = ANY (:buckets)", {"buckets": list(scope.buckets)}
    return "true", {}


def _detected(new: Collection[Any], findings: pl.DataFrame, run: AuditedRun) -> list[Event]:
    found = {
        (row["account_id"], row["code"], row["object_id"]): row
        for row in findings.select(*_ID, "observed", "desired", "event_ids", "caused_by").iter_rows(named=True)
    }
    return [
        _event("disagreement.detected", spell, run, _details(found[tuple(spell[name] for name in _ID)]))
        for spell in new
        if spell["code"] not in CORRECTED_CODES
    ]


def _resolved(gone: Collection[Any], run: AuditedRun) -> list[Event]:
    return [
        _event("disagreement.resolved", spell, run, {"seen_count": spell["seen_count"]})
        for spell in gone
        if spell["code"] not in CORRECTED_CODES
    ]


def _details(finding: dict[str, Any]) -> dict[str, Any]:
    return {
        "observed": None if finding["observed"] is None else json.loads(finding["observed"]),
        "desired": None if finding["desired"] is None else json.loads(finding["desired"]),
        "provider_event_ids": finding["event_ids"] or [],
        "caused_by": finding["caused_by"],
    }


def _event(kind: str, spell: Any, run: AuditedRun, more: dict[str, Any]) -> Event:  # noqa: ANN401 - a RowMapping
    first_seen_at = spell["first_seen_at"].isoformat()
    cause = json.dumps([spell["account_id"], spell["code"], spell["object_id"], first_seen_at])
    data = {
        "code": spell["code"],
        "severity": spell["severity"],
        "owner": spell["owner"],
        "stores": list(spell["stores"]),
        "object_id": spell["object_id"],
        "first_seen_at": first_seen_at,
        "run_id": run.run_id,
        "as_of": run.as_of.isoformat(),
    }
    return Event(spell["account_id"], kind, cause, {**data, **more})


def _take_queue(connection: Connection, settings: Settings, run: AuditedRun, at: datetime) -> None:
    within, given = _within(run.scope, settings)
    take = f"UPDATE trueup.audit_queue s SET taken_at = :at WHERE taken_at IS NULL AND {within}"
    connection.execute(text(take), {**given, "at": at})


def _spells_of(connection: Connection, findings: pl.DataFrame) -> pl.DataFrame:
    """The findings with the first_seen_at and seen_count of their open spell; null where none was begun."""
    _copy_found(connection, findings)
    rows = connection.execute(text(_SPELLS)).all()
    schema = dict.fromkeys(_ID, pl.String()) | {"first_seen_at": INSTANT, "seen_count": pl.Int64()}
    spells = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
    return (
        findings.drop("first_seen_at", "seen_count")
        .join(spells, on=list(_ID), how="left", nulls_equal=True, maintain_order="left")
        .select(findings.columns)
    )


def _frame(settings: Settings, statement: str, given: dict[str, Any]) -> pl.DataFrame:
    with writing(settings) as connection:
        result = connection.execute(text(statement), given)
        columns = list(result.keys())
        return pl.DataFrame([tuple(row) for row in result], schema=columns, orient="row", infer_schema_length=None)


_SAME: Final = """
    coalesce(s.account_id, '') = coalesce(f.account_id, '') AND s.code = f.code
    AND coalesce(s.object_id, '') = coalesce(f.object_id, '') AND s.healed_at IS NULL
"""
_STORE_RUN: Final = text("""
    INSERT INTO trueup.audit_runs (run_id, as_of, scope, scope_key, policy_version, accounts, accounts_disagreeing,
                                   findings, recorded_at)
    VALUES (:run_id, :as_of, :scope, :scope_key, :policy_version, :accounts, :accounts_disagreeing, :findings, :at)
    ON CONFLICT (run_id) DO NOTHING
""")
_MAKE_FOUND: Final = """
    DROP TABLE IF EXISTS trueup_found;
    CREATE TEMPORARY TABLE trueup_found (
        account_id text, code text NOT NULL, object_id text, severity text, owner text, stores text[],
        is_firm boolean NOT NULL
    ) ON COMMIT DROP
"""
_SEE_AGAIN: Final = text(f"""
    UPDATE trueup.findings_seen s
    SET last_seen_at = greatest(s.last_seen_at, :as_of), last_run_id = :run_id, seen_count = s.seen_count + 1,
        severity = f.severity, owner = f.owner, stores = f.stores
    FROM trueup_found f WHERE f.is_firm AND {_SAME}
""")
_BEGIN: Final = text(f"""
    INSERT INTO trueup.findings_seen (account_id, code, object_id, severity, owner, stores, first_seen_at, first_run_id,
                                      last_seen_at, last_run_id, seen_count)
    SELECT account_id, code, object_id, severity, owner, stores, :as_of, :run_id, :as_of, :run_id, 1
    FROM trueup_found f
    WHERE f.is_firm AND NOT EXISTS (SELECT FROM trueup.findings_seen s WHERE {_SAME})
    ORDER BY account_id, code, object_id
    RETURNING account_id, code, object_id, severity, owner, stores, first_seen_at
""")
# A run about an earlier instant than the finding was last seen at says nothing about its having healed.
_UNREPORTED: Final = f"""
    SELECT s.number, s.account_id, s.code, s.object_id, s.stores FROM trueup.findings_seen s
    WHERE s.healed_at IS NULL AND {{within}} AND s.last_seen_at <= :as_of
      AND NOT EXISTS (SELECT FROM trueup_found f WHERE {_SAME})
"""
_UNREPORTED_COLUMNS: Final[dict[str, pl.DataType]] = {
    "number": pl.Int64(),
    **dict.fromkeys(_ID, pl.String()),
    "stores": pl.List(pl.String()),
}
_HEAL: Final = text("""
    UPDATE trueup.findings_seen SET healed_at = :as_of, healed_run_id = :run_id WHERE number = ANY (:numbers)
    RETURNING account_id, code, object_id, severity, owner, stores, first_seen_at, seen_count
""")
_SPELLS: Final = f"""
    SELECT f.account_id, f.code, f.object_id, s.first_seen_at, s.seen_count
    FROM trueup_found f JOIN trueup.findings_seen s ON {_SAME}
"""
# The stores that a run could not rely on, as text; empty where every store was read whole.
_BROKEN_OF: Final = """coalesce((
    SELECT string_agg(c.store || ' ' || c.detail, ', ' ORDER BY c.store) FROM trueup.run_checks c
    WHERE c.run_id = {run}.run_id AND c."check" = 'was_read_whole' AND NOT c.has_passed
), '')"""
_LATEST: Final = "SELECT run_id FROM trueup.audit_runs ORDER BY number DESC LIMIT :runs"
_OVER_TIME: Final = f"""
    SELECT h.run_id, r.number, h.as_of, r.scope, h.code, h.store_a, h.store_b, h.severity, h.owner, h.findings,
           h.accounts, h.settling, h.suppressed
    FROM trueup.disagreement_history h JOIN trueup.audit_runs r USING (run_id)
    WHERE h.run_id IN ({_LATEST}) ORDER BY r.number, h.code, h.store_a, h.store_b
"""
_RUNS: Final = f"""
    SELECT run_id, number, as_of, scope, scope_key, policy_version, accounts, accounts_disagreeing, findings,
           recorded_at, {_BROKEN_OF.format(run="r")} AS broken
    FROM trueup.audit_runs r WHERE run_id IN ({_LATEST}) ORDER BY number
"""
_LAST_COUNTS: Final = f"""
    SELECT "table", rows FROM trueup.source_counts
    WHERE run_id = (
        SELECT run_id FROM trueup.audit_runs r WHERE scope = 'fleet' AND {_BROKEN_OF.format(run="r")} = ''
        ORDER BY number DESC LIMIT 1
    )
"""
_OPEN: Final = """
    SELECT account_id, code, object_id, severity, owner, stores, first_seen_at, last_seen_at, seen_count
    FROM trueup.findings_seen WHERE healed_at IS NULL ORDER BY first_seen_at, account_id, code, object_id
"""
_OF_ACCOUNT: Final = {
    "spells": """
        SELECT code, object_id, severity, owner, first_seen_at, last_seen_at, seen_count, healed_at
        FROM trueup.findings_seen WHERE account_id = :account_id ORDER BY first_seen_at, code, object_id
    """,
    "entries": """
        SELECT number, at, actor, action, plan_id, "table", key, "column", before, after, event_ids, reconciled_at,
               detail
        FROM trueup.audit_log WHERE account_id = :account_id ORDER BY number
    """,
    "events": """
        SELECT sequence, event_id::text, type, data::text, occurred_at, published_at
        FROM trueup.outbox WHERE account_id = :account_id ORDER BY sequence
    """,
}
