"""Find: every rule run over the evidence, and its rows made findings.

Rules say what differs; this module says the rest, the same for all of them: severity and owner by code, which finding
is an account's root, the provider events behind each, the snapshot that each store was read at, and whether a finding
is settling or suppressed. To add a code: a function in the file of its category, its name in that file's RULES, and
its row in `codes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import polars as pl

from trueup.contract.schemas import FINDINGS, STORES
from trueup.drift.codes import CODES
from trueup.drift.evidence import Evidence
from trueup.drift.provenance import BROKEN, event_ids, recently_written
from trueup.drift.roots import with_roots
from trueup.drift.rules import dunning_state, entitlement, event, identity, money, retry, source, subscription
from trueup.engine.policy import Policy

if TYPE_CHECKING:
    from trueup.engine.engine import Judged

RULES: Final = {
    rule.__name__.upper(): rule
    for category in (source, identity, money, retry, subscription, dunning_state, entitlement, event)
    for rule in category.RULES
}
"""Code → its rule."""


def find(
    judged: Judged,
    policy: Policy,
    as_of: datetime,
    *,
    violations: pl.DataFrame | pl.LazyFrame,
    observed_at: Mapping[str, datetime],
    broken: Mapping[str, str] | None = None,
    settle_minutes: int = 5,
) -> pl.DataFrame:
    """Every disagreement of a run, as `schemas.FINDINGS`, sorted by account, code and object.

    Args:
        judged: the engine's answers and the facts that they come from.
        policy: the policy of the run.
        as_of: the instant that the run reasons about.
        violations: what `contract.sweep` found in the same snapshot.
        observed_at: store → the instant at which it was read.
        broken: store → "SRC_STALE" or "SRC_PARTIAL", for stores that were not read as they should be.
        settle_minutes: how long a row has to have been left alone before it counts.

    Returns:
        One row per account, code and object. `first_seen_at` and `seen_count` are null: the history fills them.
    """
    broken = broken or {}
    evidence = Evidence(judged, policy, as_of, violations.lazy())
    found = pl.collect_all([rule(evidence) for rule in RULES.values()])
    stacked = pl.concat(
        [rows.with_columns(code=pl.lit(code)) for code, rows in zip(RULES, found, strict=True)]
        + [source.broken_stores(broken)],
        how="diagonal_relaxed",
    )
    # Two rows about one thing (an invoice that is there twice, say) are one finding: whichever, but always the same.
    once = stacked.sort("account_id", "code", "object_id", "severity", "observed", nulls_last=True).unique(
        ["account_id", "code", "object_id"], keep="first", maintain_order=True
    )
    coded = _with_code_facts(event.reclassify_stuck_events(once))
    with_events = coded.join(event_ids(coded, evidence), on=_IDENTITY, how="left", nulls_equal=True, validate="1:1")
    judged_rows = with_events.with_columns(
        event_ids=pl.col("event_ids").fill_null([]),
        snapshot=_snapshots(with_events, observed_at),
        is_settling=_is_settling(with_events, evidence, observed_at, settle_minutes),
        is_suppressed=_is_suppressed(broken),
        first_seen_at=pl.lit(None),
        seen_count=pl.lit(None),
    )
    return (
        with_roots(judged_rows)
        .select(pl.col(name).cast(dtype) for name, dtype in FINDINGS.items())
        .sort("account_id", "code", "object_id", nulls_last=True)
    )


_IDENTITY: Final = ["account_id", "code", "object_id"]


def _with_code_facts(findings: pl.DataFrame) -> pl.DataFrame:
    """Severity, stores and owner by code, where the rule did not say otherwise."""
    facts = pl.DataFrame(
        {
            "code": list(CODES),
            "code_severity": [code.severity for code in CODES.values()],
            "code_stores": [list(code.stores) for code in CODES.values()],
            "code_owner": [code.owner for code in CODES.values()],
        },
        schema_overrides={"code_stores": pl.List(pl.String())},
    )
    return findings.join(facts, on="code", how="left", validate="m:1").with_columns(
        severity=pl.coalesce("severity", "code_severity"),
        stores=pl.coalesce("stores", "code_stores"),
        owner=pl.coalesce("owner", "code_owner"),
    )


def _snapshots(findings: pl.DataFrame, observed_at: Mapping[str, datetime]) -> pl.Series:
    """For each finding, a JSON object: store → the instant at which it was read."""
    read = {
        store: pl.when(pl.col("stores").list.contains(store)).then(pl.lit(at)).alias(store)
        for store, at in sorted(observed_at.items(), key=lambda item: STORES.index(item[0]))
    }
    if not read:
        return pl.Series("snapshot", ["{}"] * findings.height, dtype=pl.String())
    combinations = findings.select("stores").unique()
    texts = combinations.with_columns(
        snapshot=pl.struct(*read.values()).struct.json_encode().str.replace_all(_NULLS, "")
    )
    tidy = texts.with_columns(pl.col("snapshot").str.replace(r"\{,", "{"))
    return findings.select("stores").join(tidy, on="stores", how="left", maintain_order="left")["snapshot"]


_NULLS: Final = r',?"[a-z_]+":null'


def _is_settling(
    findings: pl.DataFrame, evidence: Evidence, observed_at: Mapping[str, datetime], settle_minutes: int
) -> pl.Series:
    """A row of its account, in a table that it is about, was written too shortly before it was read."""
    recent = recently_written(evidence, observed_at, timedelta(minutes=settle_minutes))
    tables = pl.DataFrame(
        [(code.code, table) for code in CODES.values() for table in code.tables],
        schema={"code": pl.String, "table": pl.String},
        orient="row",
    )
    numbered = findings.select(*_IDENTITY).with_row_index("row")
    about = numbered.join(tables, on="code", how="inner")
    is_event = pl.col("code").str.starts_with("EVT_")
    by_account = about.filter(~is_event).join(recent, on=["account_id", "table"], how="semi")
    by_object = about.filter(is_event).join(recent, on=["object_id", "table"], how="semi")
    broken = numbered.filter(pl.col("code") == "SRC_CONTRACT").join(
        recent.filter(pl.col("table") == BROKEN), on=["account_id", "object_id"], how="semi", nulls_equal=True
    )
    settling = pl.concat([rows["row"] for rows in (by_account, by_object, broken)]).unique()
    return numbered.select(is_settling=pl.col("row").is_in(settling.implode())).to_series()


def _is_suppressed(broken: Mapping[str, str]) -> pl.Expr:
    """It depends on a store that was not read as it should be. What says so is not suppressed itself."""
    blind = set(broken)
    codes = [code.code for code in CODES.values() if blind.intersection(code.needs)]
    depends = pl.col("code").is_in(codes) | pl.any_horizontal(
        pl.lit(value=False), *(pl.col("stores").list.contains(store) for store in sorted(blind))
    )
    return depends & ~pl.col("code").is_in(["SRC_STALE", "SRC_PARTIAL"])
