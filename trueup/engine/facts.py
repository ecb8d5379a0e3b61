"""Facts: what one computation knows, as one value.

The stores' rows as they were read, the policy and the instant; and, worked out once, what several rules ask of them:
the rows as they were known at the instant, whose customer is whose, which payments are whose. `Facts` is itself a
snapshot (table → rows known at `as_of`), so a rule reads `facts["charges"]`; what lies after the instant is in
`snapshot`. What any of it means for an account is decided by the modules that take it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import polars as pl

from trueup.contract.as_of import known_at
from trueup.contract.schemas import Snapshot
from trueup.engine.policy import Policy


@dataclass(frozen=True, eq=False)
class Facts(Mapping[str, pl.LazyFrame]):
    """A swept snapshot, the policy and the instant of a run; and, by table, the rows known at that instant."""

    snapshot: Snapshot
    policy: Policy
    as_of: datetime

    @cached_property
    def known(self) -> dict[str, pl.LazyFrame]:
        """Table → its rows as of `as_of`."""
        return known_at(self.snapshot, self.as_of)

    def __getitem__(self, table: str) -> pl.LazyFrame:
        return self.known[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)

    @cached_property
    def mapping(self) -> pl.LazyFrame:
        """account_id, customer_id: each pair of subs_customer in the policy's livemode once."""
        return materialize(
            self["subs_customer"]
            .filter(pl.col("livemode") == self.policy.livemode)
            .select("account_id", customer_id="stripe_customer_id")
            .drop_nulls()
            .unique()
        )

    @cached_property
    def stripe_links(self) -> pl.LazyFrame:
        """invoice_id, charge_id: which charges were made for which Stripe invoice, each pair once."""
        payments = self["stripe_invoice_payments"].filter(pl.col("invoice_id").is_not_null())
        direct = payments.select("invoice_id", "charge_id").drop_nulls()
        through_intent = (
            payments.select("invoice_id", "payment_intent_id")
            .drop_nulls()
            .unique()
            .join(
                self["stripe_charges"].select("payment_intent_id", "charge_id").drop_nulls(),
                on="payment_intent_id",
                how="inner",
            )
            .select("invoice_id", "charge_id")
        )
        return materialize(pl.concat([direct, through_intent]).unique())

    @cached_property
    def internal_charges(self) -> pl.LazyFrame:
        """billing_prod's charges, one per invoice and provider id: of several, the smallest charge_id."""
        return materialize(
            self["charges"]
            .with_columns(provider_id=pl.coalesce("stripe_charge_id", "charge_id"))
            .sort("charge_id")
            .unique(["invoice_id", "provider_id"], keep="first", maintain_order=True)
        )

    def with_charge(self, objects: pl.LazyFrame) -> pl.LazyFrame:
        """Refunds or disputes with the charge they are about: the one they name, else their intent's succeeded one."""
        by_intent = (
            self["stripe_charges"]
            .filter((pl.col("status") == "succeeded") & pl.col("payment_intent_id").is_not_null())
            .group_by("payment_intent_id")
            .agg(intent_charge_id=pl.col("charge_id").min())
        )
        return objects.join(by_intent, on="payment_intent_id", how="left", validate="m:1").with_columns(
            charge_id=pl.coalesce("charge_id", "intent_charge_id")
        )


def materialize(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Work a frame out once, where several steps read it."""
    return frame.collect(engine="streaming").lazy()
