"""The fleet editor: the stores' frames, and the few ways in which a planted fault may change them.

A fault gets the accounts reserved for it (`chosen`, one row each, with every id it may need) and changes rows of these
accounts and no others. It returns the findings that it causes; those that follow from its root are marked as
consequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from trueup.contract.schemas import TABLES
from trueup.sandbox.fleet.identify import Known
from trueup.sandbox.fleet.ids import Ints

PLANTED: Final = pl.Schema(
    {
        "account_id": pl.String(),
        "code": pl.String(),
        "object_id": pl.String(),
        "is_consequence": pl.Boolean(),
        "fault": pl.String(),
    }
)


Alter = Callable[["FleetEditor", pl.DataFrame], list[pl.DataFrame]]


@dataclass(frozen=True)
class PlantedFault:
    """One way in which the stores of an account can disagree.

    Attributes:
        name: a code of docs/contract/FINDINGS.md, or the name of a scenario with several codes.
        weight: how common it is in the default mix.
        alter: changes rows of the chosen accounts and returns the planted findings.
        bases: archetypes to start from, in turn.
        is_counted: the accounts disagree (S1 to S3) by it; hygiene and what is about no account is not counted.
        is_group: every planting takes one account of each base.
    """

    name: str
    weight: int
    alter: Alter
    bases: tuple[str, ...] = ("good_monthly",)
    is_counted: bool = True
    is_group: bool = False

    @property
    def size(self) -> int:
        """Accounts that one planting takes."""
        return len(self.bases) if self.is_group else 1

    def archetypes(self, accounts: int) -> list[str]:
        """The archetypes of so many accounts, in the order in which `alter` will see them."""
        return [self.bases[n % len(self.bases)] for n in range(accounts)]


class FleetEditor:
    """The frames while they are being disturbed, and the list of what was planted."""

    def __init__(
        self, frames: dict[str, pl.DataFrame], known: Known, as_of: datetime, rng: np.random.Generator
    ) -> None:
        self.frames = frames
        self.rng = rng
        self.as_of = as_of
        self._known = known
        self._planted: list[pl.DataFrame] = []
        self._latest: pl.DataFrame | None = None

    def apply(self, fault: PlantedFault, account_ns: Ints) -> None:
        """Plant one fault on these accounts."""
        if len(account_ns):
            chosen = self._chosen(account_ns)
            self._planted += [
                rows.with_columns(fault=pl.lit(fault.name)).select(PLANTED.names()).cast(PLANTED)
                for rows in fault.alter(self, chosen)
            ]

    def planted(self) -> pl.DataFrame:
        """What was planted: account_id, code, object_id, is_consequence, fault."""
        return pl.concat([PLANTED.to_frame(), *self._planted]).unique(maintain_order=True)

    def set(self, table: str, where: pl.Expr, **values: object) -> None:
        """Other values in some columns of the rows where it holds; values are expressions or plain."""
        new = {
            column: pl.when(where)
            .then(value if isinstance(value, pl.Expr) else pl.lit(value))
            .otherwise(pl.col(column))
            for column, value in values.items()
        }
        columns = TABLES[table].columns
        self.frames[table] = self.frames[table].with_columns(
            expression.cast(columns[column]).alias(column) for column, expression in new.items()
        )

    def set_each(self, table: str, key: str, rows: pl.DataFrame) -> None:
        """Other values, row by row: `rows` has the key and the columns to change."""
        columns = TABLES[table].columns
        changed = rows.select(pl.col(column).cast(columns[column]) for column in rows.columns)
        is_listed = pl.col(key).is_in(changed[key].implode())
        rows_before = self.frames[table]
        altered = rows_before.filter(is_listed).drop([column for column in changed.columns if column != key])
        joined = altered.join(changed, on=key, how="left", validate="m:1", maintain_order="left").select(
            rows_before.columns
        )
        self.frames[table] = pl.concat([rows_before.filter(~is_listed.fill_null(value=False)), joined])

    def drop(self, table: str, where: pl.Expr) -> None:
        """Without the rows where it holds."""
        self.frames[table] = self.frames[table].filter(~where.fill_null(value=False))

    def add(self, table: str, rows: pl.DataFrame) -> None:
        """More rows; columns they do not have are null."""
        columns = TABLES[table].columns
        whole = rows.with_columns(
            pl.lit(None, kind).alias(column) for column, kind in columns.items() if column not in rows.columns
        )
        whole = whole.select(pl.col(column).cast(kind) for column, kind in columns.items())
        self.frames[table] = pl.concat([self.frames[table], whole])

    def _chosen(self, account_ns: Ints) -> pl.DataFrame:
        """The accounts in the order given, each with its latest bill and charge."""
        accounts = self._known.accounts[account_ns]
        if self._latest is None:
            self._latest = _latest_bills(self._known)
        return accounts.join(self._latest, on="account_n", how="left", validate="1:1", maintain_order="left")


def of(chosen: pl.DataFrame, column: str = "account_id", name: str | None = None) -> pl.Expr:
    """The rows whose `column` is one of the chosen accounts' (by default, its namesake among their columns)."""
    values = chosen[name or column].drop_nulls()
    return pl.col(column).is_in(values.implode()).fill_null(value=False)


def found(
    chosen: pl.DataFrame, code: str, about: str | None = None, *, is_consequence: bool = False, account: bool = True
) -> pl.DataFrame:
    """What was planted on each chosen account: the code, about the object that a column names."""
    return chosen.select(
        account_id=pl.col("account_id") if account else pl.lit(None, pl.String),
        code=pl.lit(code),
        object_id=pl.col(about) if about else pl.lit(None, pl.String),
        is_consequence=pl.lit(is_consequence),
    )


def apportion(total: int, weights: Mapping[str, int], least: int = 1) -> dict[str, int]:
    """Whole shares of a total in proportion to weights, `least` for each as far as it goes (largest remainders)."""
    names = sorted(weights, key=lambda name: (-weights[name], name))
    floor = {name: (least if rank < total // max(least, 1) else 0) for rank, name in enumerate(names)}
    rest = total - sum(floor.values())
    whole = sum(weights.values())
    exact = {name: rest * weights[name] / whole for name in names}
    share = {name: floor[name] + int(exact[name]) for name in names}
    left = total - sum(share.values())
    by_remainder: Sequence[str] = sorted(names, key=lambda name: (int(exact[name]) - exact[name], name))
    for name in by_remainder[:left]:
        share[name] += 1
    return share


def _latest_bills(known: Known) -> pl.DataFrame:
    """Each account's latest bill and that bill's last charge, under names that begin with `bill_` and `charge_`."""
    bills = known.bills.sort("account_n", "at_s", "ordinal").unique("account_n", keep="last", maintain_order=True)
    charges = known.charges.sort("account_n", "ordinal", "at_s").unique(
        ["account_n", "ordinal"], keep="last", maintain_order=True
    )
    last = bills.select(
        "account_n",
        "ordinal",
        bill_id="invoice_id",
        stripe_invoice_id="stripe_invoice_id",
        bill_at="at_at",
        bill_amount="amount_due",
        bill_currency="currency",
        bill_paid_at="paid_at",
        bill_retry_at="retry_at",
    )
    tried = charges.select(
        "account_n",
        "ordinal",
        "charge_id",
        "stripe_charge_id",
        "payment_intent_id",
        charge_at="at_at",
        charge_k="k",
        refunded="refund_amount",
    )
    return last.join(tried, on=["account_n", "ordinal"], how="left", validate="1:1").drop("ordinal")
