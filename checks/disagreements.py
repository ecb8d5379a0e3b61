"""Disagreements, one check for each group that a root can be in.

A group fails when some account's root finding is in it and counts; how many, and how many more than in the last whole
run of the fleet, is the first thing it says. The severity is a warning: a disagreement is what the auditor is there to
find, not a fault of the run. Where a store that the group depends on was not read whole, the check cannot tell.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from checks.judging import broken_stores, cannot_tell, named, run_of_check, run_to_check
from trueup.audit.run_folder import Run, read_frame, run_folder
from trueup.drift import AUDITED_CATEGORIES, CODES, is_counted
from trueup.stores.auditor.history import runs_over_time
from trueup.stores.errors import StoreError
from trueup.stores.settings import Settings

ACCOUNTS_NAMED = 10
HOW_TO_GO_ON = "`trueup explain ACCOUNT` shows why; the owner of each code is on the asset's page, under owners."


def group_check(category: str) -> dg.AssetChecksDefinition:
    """The check of one root group."""

    @dg.asset_check(
        asset="disagreements",
        name=f"no_root_is_in_{category.replace(' ', '_')}",
        description=f"No account's root disagreement is one of {category}. {HOW_TO_GO_ON}",
    )
    def no_root_is_in_group(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> dg.AssetCheckResult:
        run = run_to_check(context, settings)
        before = run_before(settings, run)
        return judge_group(
            run.read("findings"),
            category,
            broken=broken_stores(run),
            before=None if before is None else (roots_in(before[0], category).len(), before[1]),
            metadata=run_of_check(run),
        )

    return no_root_is_in_group


def judge_group(
    findings: pl.DataFrame,
    category: str,
    *,
    broken: Mapping[str, str] | None = None,
    before: tuple[int, datetime] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """Whether the group is clear, the accounts whose root is in it, and its findings by code.

    Args:
        findings: schemas.FINDINGS of the run.
        category: the group.
        broken: stores that the run could not rely on.
        before: how many accounts the last whole run of the fleet had here, and its instant.
        metadata: what else the result says.
    """
    needed = {store: code for store, code in (broken or {}).items() if store in stores_of(category)}
    if needed:
        return cannot_tell(f"{named(needed)}", metadata)
    codes = codes_of(category)
    mine = findings.filter(pl.col("code").is_in(codes))
    by_code = dict(mine.group_by("code").len().iter_rows())
    roots = roots_in(findings, category)
    return dg.AssetCheckResult(
        passed=mine.filter(is_counted(), "is_root").is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=in_words(roots.len(), before),
        metadata={
            "root_accounts": roots.len(),
            "findings": mine.height,
            "accounts": ", ".join(roots.head(ACCOUNTS_NAMED)),
            **{code: by_code.get(code, 0) for code in codes},
            **(metadata or {}),
        },
    )


def roots_in(findings: pl.DataFrame, category: str) -> pl.Series:
    """The accounts whose root is in a group, sorted."""
    roots = findings.filter(is_counted(), "is_root", pl.col("code").is_in(codes_of(category)))
    return roots.get_column("account_id").drop_nulls().unique().sort()


def codes_of(category: str) -> list[str]:
    """The codes of a group."""
    return [name for name, code in CODES.items() if code.category == category]


def stores_of(category: str) -> frozenset[str]:
    """The stores without which nobody can say whether a finding of the group holds."""
    return frozenset(store for name in codes_of(category) for store in CODES[name].needs)


def run_before(settings: Settings, run: Run) -> tuple[pl.DataFrame, datetime] | None:
    """The findings of the whole run of the fleet before this one, and its instant; none where its files are gone."""
    try:
        runs = runs_over_time(settings)
    except StoreError:
        return None
    if runs.is_empty():
        return None
    earlier = runs.filter((pl.col("scope") == "fleet") & (pl.col("broken") == "") & (pl.col("as_of") < run.as_of))
    for row in reversed(earlier.select("run_id", "as_of").rows()):
        path = run_folder(settings, row[0]) / "findings.parquet"
        if path.exists():
            return read_frame(path), row[1]
    return None


def in_words(now: int, before: tuple[int, datetime] | None) -> str:
    """`220 accounts, +3 since 2026-11-19 03:00Z`."""
    noun = "account" if now == 1 else "accounts"
    if before is None:
        return f"{now:,} {noun}; there is no earlier run to compare with"
    change = now - before[0]
    return f"{now:,} {noun}, {f'{change:+,}' if change else 'no change'} since {before[1]:%Y-%m-%d %H:%M}Z"


GROUP_CHECKS = [group_check(category) for category in AUDITED_CATEGORIES]
