"""The rows of a random fleet, kept by column, and the ages around which its dates are drawn."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from trueup.contract.schemas import TABLES, Snapshot
from trueup.engine.policy import Policy


class Fleet:
    """Rows by table, kept by column, and the spans around which ages are drawn."""

    def __init__(self, policy: Policy, as_of: datetime, tag: int) -> None:
        self.policy = policy
        self.as_of = as_of
        self.tag = tag  # keeps the ids of two worlds apart
        self.columns: dict[str, dict[str, list[Any]]] = {
            name: {column: [] for column in table.columns} for name, table in TABLES.items()
        }
        self.serial = 0
        self.customers: list[str] = []  # mapped, in the order they came
        self.made: set[str] = set()  # those that Stripe knows
        self.edges = self._edges()

    def put(self, table: str, **values: Any) -> None:
        """One row; what is not given is null."""
        for name, column in self.columns[table].items():
            column.append(values.get(name))

    def next_serial(self) -> int:
        self.serial += 1
        return 1_000_000 * self.tag + self.serial

    def snapshot(self) -> Snapshot:
        return {
            name: pl.DataFrame(columns, schema=TABLES[name].schema).lazy() for name, columns in self.columns.items()
        }

    def _edges(self) -> list[int]:
        """Ages at which something changes under this policy."""
        policy = self.policy
        spans = {
            0, 1, policy.grace_days, policy.no_attempt_days, policy.no_attempt_days + policy.grace_days,
            policy.final_notice_days, policy.suspend_min_days, policy.bad_debt_days, *policy.cumulative_offsets_days,
        }  # fmt: skip
        return sorted(spans)
