"""Disagreements, one check for each group that a root can be in.

A group fails when some account's root finding is in it and counts; how many, per code, is told as numbers that Dagster
plots. The severity is a warning: a disagreement is what the auditor is there to find, not a fault of the run.
"""

import dagster as dg
import polars as pl

from trueup.audit.run_folder import read_frame, run_folder
from trueup.drift import AUDITED_CATEGORIES, CODES, is_counted
from trueup.stores.settings import Settings

ACCOUNTS_NAMED = 10


def group_check(category: str) -> dg.AssetChecksDefinition:
    """The check of one root group."""
    name = f"no_root_is_in_{category.replace(' ', '_')}"

    @dg.asset_check(
        asset="disagreements", name=name, description=f"No account's root disagreement is one of {category}."
    )
    def no_root_is_in_group(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> dg.AssetCheckResult:
        findings = read_frame(run_folder(settings, context.run.run_id) / "findings.parquet")
        return verdict(findings, category)

    return no_root_is_in_group


def verdict(findings: pl.DataFrame, category: str) -> dg.AssetCheckResult:
    """Whether the group is clear, the accounts whose root is in it, and its findings by code."""
    codes = [code for code, told in CODES.items() if told.category == category]
    mine = findings.filter(pl.col("code").is_in(codes))
    counting = mine.filter(is_counted())
    roots = counting.filter("is_root").get_column("account_id").drop_nulls().unique().sort()
    by_code = dict(mine.group_by("code").len().iter_rows())
    return dg.AssetCheckResult(
        passed=counting.filter("is_root").is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "root_accounts": roots.len(),
            "findings": mine.height,
            "accounts": ", ".join(roots.head(ACCOUNTS_NAMED)),
            **{code: by_code.get(code, 0) for code in codes},
        },
    )


GROUP_CHECKS = [group_check(category) for category in AUDITED_CATEGORIES]
