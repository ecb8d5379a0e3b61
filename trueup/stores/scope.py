"""Scope: whose rows a run reads.

A scope is the whole fleet, some buckets of it, or a list of accounts. Its *dependencies* (parents, the mapping of
shared customers, rows that other stores tie to its own) are read as well, because an account's result depends on them;
`trueup.stores.dependencies` declares which. Results are reported for the scope's own accounts only.

An account's bucket is a hash of its id, so it never moves: the same four bytes of MD5 in Python, Polars and SQL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import polars as pl

NO_BUCKET: Final = -1  # rows that lead to no account: orphan customers, events without an account
BUCKETS_MAX: Final = 62  # the lake stores the set of a row's buckets as the bits of an Int64


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows: `accounts` by id, or `buckets` by number, or, with neither, the fleet.

    The other three expand what is read, never what is reported; `trueup.stores.postgres.dependencies` fills them.
    `related` are accounts that the scope's depend on: parents, and those that share a customer with one of them.
    `customers` are their Stripe customers. `stripe_ids` are Stripe invoices, charges and payment methods that tie rows
    of the ledger and of subs_mandate to them, under whatever account these rows were filed.
    """

    accounts: frozenset[str] | None = None
    buckets: tuple[int, ...] | None = None
    related: frozenset[str] = field(default=frozenset())
    customers: frozenset[str] = field(default=frozenset())
    stripe_ids: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        if self.accounts is not None and self.buckets is not None:
            raise ValueError("a scope is a list of accounts or a list of buckets, not both")
        if self.accounts is not None and not self.accounts and not self.customers:
            raise ValueError("a scope of no accounts reads nothing; leave it out for the fleet")
        if self.buckets is not None and not self.buckets:
            raise ValueError("a scope of no buckets reads nothing; leave it out for the fleet")

    @classmethod
    def fleet(cls) -> Scope:
        return cls()

    @classmethod
    def of_accounts(cls, accounts: Iterable[str]) -> Scope:
        return cls(accounts=frozenset(accounts))

    @classmethod
    def of_buckets(cls, buckets: Iterable[int]) -> Scope:
        return cls(buckets=tuple(sorted(set(buckets))))

    @property
    def is_fleet(self) -> bool:
        return self.accounts is None and self.buckets is None

    @property
    def label(self) -> str:
        """The scope in a few words, for manifests and people."""
        if self.accounts is not None:
            return f"accounts:{len(self.accounts)}"
        if self.buckets is not None:
            return "buckets:" + ",".join(str(bucket) for bucket in self.buckets)
        return "fleet"

    def holds(self, account_id: str, bucket_count: int) -> bool:
        """Whether the account is one that this scope reports on."""
        if self.accounts is not None:
            return account_id in self.accounts
        return self.buckets is None or bucket_of(account_id, bucket_count) in self.buckets

    def reports_on(self, account_id: pl.Expr, bucket_count: int) -> pl.Expr:
        """`holds` over a column. No account (an orphan customer, say) belongs to the fleet and to bucket -1 only."""
        if self.accounts is not None:
            return account_id.is_in(sorted(self.accounts)).fill_null(False)
        if self.buckets is not None:
            return bucket_expr(account_id, bucket_count).is_in(list(self.buckets))
        return pl.lit(True)


def bucket_of(account_id: str, bucket_count: int) -> int:
    """The account's bucket: the first four bytes of the MD5 of its id, modulo the number of buckets."""
    digest = hashlib.md5(account_id.encode(), usedforsecurity=False).hexdigest()
    return int(digest[:8], 16) % bucket_count


def bucket_expr(account_id: pl.Expr, bucket_count: int) -> pl.Expr:
    """`bucket_of` over a column; -1 where it is null.

    Polars has no MD5, so this hashes in Python, half a microsecond a row: for results. Facts get their bucket in SQL.
    """

    def hashed(ids: pl.Series) -> pl.Series:
        buckets = [NO_BUCKET if i is None else bucket_of(i, bucket_count) for i in ids]
        return pl.Series(ids.name, buckets, dtype=pl.Int32)

    return account_id.map_batches(hashed, return_dtype=pl.Int32(), is_elementwise=True)


def bucket_sql(account_id: str, bucket_count: int) -> str:
    """`bucket_of` as a PostgreSQL expression over the named column; -1 where it is null."""
    return f"coalesce(('x' || substr(md5({account_id}), 1, 8))::bit(32)::bigint % {int(bucket_count)}, {NO_BUCKET})"
