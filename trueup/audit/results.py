"""Results: what a run left in its folder, read for people and for programs.

The four files that `trueup audit --out DIR` delivers are an interface that others read; here they are only copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import polars as pl

from trueup.audit.run_folder import read_json, run_folder
from trueup.drift import by_code, disagreeing_accounts, store_matrix
from trueup.stores.settings import Settings

DELIVERED: Final = ("desired.parquet", "findings.parquet", "changes.parquet", "manifest.json")


@dataclass(frozen=True)
class Result:
    """One audit, as it was left."""

    folder: Path

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        manifest: Mapping[str, Any] = read_json(self.folder / "manifest.json")
        return manifest

    @cached_property
    def findings(self) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "findings.parquet")

    @cached_property
    def states(self) -> dict[str, int]:
        """State → accounts of which it is desired."""
        return dict(self._answers.group_by("state").agg(pl.col("accounts").sum()).sort("state").iter_rows())

    @property
    def accounts(self) -> int:
        return sum(self.states.values())

    @cached_property
    def indeterminate(self) -> int:
        """How many accounts we cannot tell of."""
        return int(self._answers.filter(pl.col("quality") == "indeterminate")["accounts"].sum())

    @cached_property
    def _answers(self) -> pl.DataFrame:
        answers = pl.scan_parquet(self.folder / "desired.parquet").group_by("state", "quality").agg(accounts=pl.len())
        return answers.collect(engine="streaming")

    @cached_property
    def changes(self) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "changes.parquet")

    @property
    def run_id(self) -> str:
        return str(self.manifest["run_id"])

    @cached_property
    def disagreeing(self) -> int:
        """How many accounts disagree: the number that is tracked over time."""
        return disagreeing_accounts(self.findings)

    @property
    def broken(self) -> dict[str, str]:
        """Store → SRC_PARTIAL or SRC_STALE, for those that could not be relied on."""
        return {name: store["broken"] for name, store in self.manifest["stores"].items() if store["broken"]}

    @property
    def faults(self) -> list[str]:
        return [store["fault"] for store in self.manifest["stores"].values() if store["fault"]]

    @cached_property
    def by_code(self) -> pl.DataFrame:
        """code, severity, owner, findings, accounts: the gravest first."""
        return by_code(self.findings)

    @cached_property
    def matrix(self) -> pl.DataFrame:
        return store_matrix(pl.scan_parquet(self.folder / "implied.parquet"))

    @property
    def plan_id(self) -> str | None:
        """The plan that was made of it, if one was."""
        path = self.folder / "plan.json"
        return str(read_json(path)["plan_id"]) if path.exists() else None

    def summary(self) -> dict[str, Any]:
        """The audit in JSON: what the files hold, counted."""
        return {
            "run_id": self.run_id,
            "as_of": self.manifest["as_of"],
            "scope": self.manifest["scope"],
            "wholeness": self.manifest["wholeness"],
            "policy_version": self.manifest["policy_version"],
            "accounts": self.accounts,
            "accounts_disagreeing": self.disagreeing,
            "indeterminate": self.indeterminate,
            "findings": self.findings.height,
            "by_code": self.by_code.to_dicts(),
            "states": self.states,
            "changes": self.changes.height,
            "stores": self.manifest["stores"],
            "matrix": self.matrix.to_dicts(),
            "history": self.manifest["history"],
            "plan_id": self.plan_id,
        }


def open_result(settings: Settings, run_id: str) -> Result:
    """The result of the run of this id."""
    return Result(run_folder(settings, run_id))


def deliver(result: Result, folder: Path) -> None:
    """Copy the four files of an audit to a folder of the caller's."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in DELIVERED:
        shutil.copyfile(result.folder / name, folder / name)
