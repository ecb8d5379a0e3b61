"""Confirming: one answer out of two looks.

An account that was looked at twice takes its second answer, and of its findings those that both looks saw. Everybody
else keeps the first. Findings of no account are confirmed by what they are about where the second look covered that,
and kept as they are where it could not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

import polars as pl

from trueup.audit.gather import Look
from trueup.audit.judge import Kept
from trueup.audit.partitions import kept
from trueup.audit.run_folder import Run, read_json
from trueup.correction.changes import changes
from trueup.drift import confirm
from trueup.engine.policy import Policy
from trueup.stores.settings import Settings


@dataclass(frozen=True)
class Confirmed:
    """Two looks at one scope, and what they say together."""

    first: Kept
    second: Kept | None  # none: nothing seemed to disagree, so nothing was looked at again
    is_reported: pl.Expr  # over account_id: whether the run's scope holds the account
    read_again: pl.Expr  # over account_id and object_id: whether the second look covered the row

    @classmethod
    def of(cls, run: Run, settings: Settings) -> Self:
        """What both looks of a run left in its folder."""
        first = kept(Look.at(run.first))
        second = kept(Look.at(run.second)) if run.second.exists() else None
        is_reported = run.scope.reports_on(pl.col("account_id"), settings.bucket_count)
        again = read_json(run.folder / "second_look.json")
        if again["is_whole_scope"]:
            return cls(first, second, is_reported, pl.lit(True))
        read_again = pl.col("account_id").is_in(again["accounts"]).fill_null(False) | (
            pl.col("account_id").is_null() & pl.col("object_id").is_in(again["customers"])
        ).fill_null(False)
        return cls(first, second, is_reported, read_again)

    @property
    def desired(self) -> pl.LazyFrame:
        return self._latest(*(look.desired for look in self._looks))

    @property
    def implied(self) -> pl.LazyFrame:
        return self._latest(*(look.implied for look in self._looks))

    @property
    def findings(self) -> pl.DataFrame:
        first = self.first.findings.filter(self.is_reported)
        if self.second is None:
            return first
        is_looked_at = self.read_again | pl.col("account_id").is_null()
        second = self.second.findings.filter(self.is_reported & self.read_again)
        confirmed = confirm(first.filter(is_looked_at), second)
        return pl.concat([confirmed, first.filter(~is_looked_at)]).sort(
            "account_id", "code", "object_id", nulls_last=True
        )

    def changes(self, findings: pl.DataFrame, policy: Policy, as_of: datetime) -> pl.DataFrame:
        """What is to change about these findings; each side's rows come from the look that saw them last."""
        if self.second is None:
            return self._changes(self.first, findings, policy, as_of)
        return pl.concat(
            [
                self._changes(self.second, findings.filter(self.read_again), policy, as_of),
                self._changes(self.first, findings.filter(~self.read_again), policy, as_of),
            ]
        )

    @staticmethod
    def _changes(look: Kept, findings: pl.DataFrame, policy: Policy, as_of: datetime) -> pl.DataFrame:
        return changes(findings, look.desired, look.facts, policy, as_of)

    @property
    def _looks(self) -> list[Kept]:
        return [look for look in (self.first, self.second) if look is not None]

    def _latest(self, first: pl.LazyFrame, again: pl.LazyFrame | None = None) -> pl.LazyFrame:
        """One row per account of the scope, from the look that saw it last; in order, if the first look was whole."""
        first = first.filter(self.is_reported)
        if again is None:
            return first
        about_accounts = pl.lit(None, dtype=pl.String()).alias("object_id")
        again = again.filter(self.is_reported).with_columns(about_accounts).filter(self.read_again).drop("object_id")
        latest = pl.concat([first.join(again, on="account_id", how="anti", maintain_order="left"), again])
        return latest.sort("account_id") if self.first.parts == 1 else latest
