"""Confirming: one answer out of two readings.

An account that was read twice takes its second answer, and of its findings those that both readings saw. Everybody
else keeps the first. Findings of no account are confirmed by what they are about where the recheck covered that,
and kept as they are where it could not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import polars as pl

from trueup.audit.gather import ScopeReading
from trueup.audit.judge import StoredJudgement
from trueup.audit.partitions import stored_judgement
from trueup.audit.run_folder import Run, read_json
from trueup.correction.changes import changes
from trueup.drift import confirm
from trueup.drift.healing import Sight
from trueup.engine.policy import Policy


@dataclass(frozen=True)
class Confirmed:
    """Two readings at one scope, and what they say together."""

    first: StoredJudgement
    second: StoredJudgement | None  # none: nothing seemed to disagree, so nothing was read again
    is_reported: pl.Expr  # over account_id: whether the run's scope holds the account
    read_again: pl.Expr  # over account_id and object_id: whether the recheck covered the row

    @classmethod
    def of(cls, run: Run) -> Self:
        """What both readings of a run left in its folder."""
        first = stored_judgement(ScopeReading.at(run.initial))
        second = stored_judgement(ScopeReading.at(run.recheck)) if run.recheck.exists() else None
        is_reported = run.scope.reports_on(pl.col("account_id"), run.manifest.bucket_count)
        again = read_json(run.folder / "recheck.json")
        if again["is_whole_scope"]:
            return cls(first, second, is_reported, pl.lit(True))
        read_again = pl.col("account_id").is_in(again["accounts"]).fill_null(False) | (
            pl.col("account_id").is_null() & pl.col("object_id").is_in(again["customers"])
        ).fill_null(False)
        return cls(first, second, is_reported, read_again)

    @property
    def desired(self) -> pl.LazyFrame:
        return self._latest(*(reading.desired for reading in self._judgements))

    @property
    def implied(self) -> pl.LazyFrame:
        return self._latest(*(reading.implied for reading in self._judgements))

    @property
    def findings(self) -> pl.DataFrame:
        first = self.first.findings.filter(self.is_reported)
        if self.second is None:
            return first
        is_read_again = self.read_again | pl.col("account_id").is_null()
        second = self.second.findings.filter(self.is_reported & self.read_again)
        confirmed = confirm(first.filter(is_read_again), second)
        return pl.concat([confirmed, first.filter(~is_read_again)]).sort(
            "account_id", "code", "object_id", nulls_last=True
        )

    def sight(self, violations: pl.DataFrame, broken_stores: Collection[str]) -> Sight:
        """What the two readings could not see, and what either of them found; `violations` are those of both."""
        indeterminate = [
            judgement.desired.filter(self.is_reported, pl.col("quality") == "indeterminate").select("account_id")
            for judgement in self._judgements
        ]
        sighted = [
            judgement.findings.filter(self.is_reported).select("account_id", "code", "object_id")
            for judgement in self._judgements
        ]
        return Sight(
            indeterminate=pl.concat(indeterminate).unique().collect(),
            violations=violations,
            broken_stores=broken_stores,
            sighted=pl.concat(sighted).unique(),
        )

    def changes(self, findings: pl.DataFrame, policy: Policy, as_of: datetime) -> pl.DataFrame:
        """What is to change about these findings; each side's rows come from the reading that saw them last."""
        if self.second is None:
            return self._changes(self.first, findings, policy, as_of)
        return pl.concat(
            [
                self._changes(self.second, findings.filter(self.read_again), policy, as_of),
                self._changes(self.first, findings.filter(~self.read_again), policy, as_of),
            ]
        )

    @staticmethod
    def _changes(reading: StoredJudgement, findings: pl.DataFrame, policy: Policy, as_of: datetime) -> pl.DataFrame:
        return changes(findings, reading.desired, reading.facts, policy, as_of)

    @property
    def _judgements(self) -> list[StoredJudgement]:
        return [reading for reading in (self.first, self.second) if reading is not None]

    def _latest(self, first: pl.LazyFrame, again: pl.LazyFrame | None = None) -> pl.LazyFrame:
        """One row per account of the scope, from the reading that saw it last; sorted, if judged at once."""
        first = first.filter(self.is_reported)
        if again is None:
            return first
        about_accounts = pl.lit(None, dtype=pl.String()).alias("object_id")
        again = again.filter(self.is_reported).with_columns(about_accounts).filter(self.read_again).drop("object_id")
        latest = pl.concat([first.join(again, on="account_id", how="anti", maintain_order="left"), again])
        return latest.sort("account_id") if self.first.partitions == 1 else latest
