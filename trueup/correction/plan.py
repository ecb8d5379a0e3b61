"""A plan: sorted changes and a manifest, one immutable value, named by the hash of its content.

What is to change is decided in `corrections.py`, and whether it may in `gate.py`. This file says what a plan *is*:
what its id covers, what the manifest counts, and how the one value is shown to people, to programs and to Dagster.
Equal inputs give equal ids: the id covers the changes and what they were reasoned from (instant, policy, scope, size
of the fleet), and leaves out when and by which run that happened to be worked out. An approver signs both
(`manifest_hash`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

import polars as pl

from trueup.contract.schemas import CHANGES

LIFE: Final = timedelta(hours=24)  # a plan older than this describes a world that has moved on
AHEAD_MAX: Final = timedelta(seconds=300)  # how far its instant may lie after its reading: clocks differ
AGE_MAX: Final = timedelta(hours=1)  # how far its instant may lie before its reading

WITHOUT_ACCESS: Final = ("suspended", "bad_debt")
COUNTED_COLUMNS: Final = ("state", "bad_debt", "status")  # columns whose transitions the manifest counts
SHOWN_MAX: Final = 50  # how many changes a rendering for people lists

_ORDER: Final = ("account_id", "table", "key", "column")


@dataclass(frozen=True)
class PlanScope:
    """Whose rows the plan was made from: accounts by id, buckets by number, or, with neither, the fleet."""

    label: str = "fleet"
    accounts: tuple[str, ...] | None = None
    buckets: tuple[int, ...] | None = None
    bucket_count: int = 16

    def as_dict(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "accounts": None if self.accounts is None else sorted(self.accounts),
            "buckets": None if self.buckets is None else sorted(self.buckets),
            "bucket_count": self.bucket_count,
        }


@dataclass(frozen=True)
class BlastRadius:
    """How far a plan reaches, in accounts."""

    accounts_changed: int
    share: float  # of the fleet
    newly_suspended: int
    newly_bad_debt: int
    losing_access: int  # from a state with access, or none, to one without


@dataclass(frozen=True)
class Plan:
    """Sorted changes (schemas.CHANGES) and what they were reasoned from. Instants are UTC."""

    as_of: datetime
    policy_version: str
    run_id: str
    scope: PlanScope
    snapshot: Mapping[str, datetime]  # store → the instant it was read
    fleet_accounts: int  # of cf_prod, whatever the scope: what the share is a share of
    changes: pl.DataFrame = field(repr=False)
    created_at: datetime
    expires_at: datetime
    maker: str = ""  # the login or service identity that made it, which may not approve it
    origin: str = "plan"  # plan: made by `trueup plan`; work: by the worker of events
    age_max: timedelta = AGE_MAX

    @property
    def read_at(self) -> datetime:
        """When the first of its stores was read; without any, when it was made."""
        return min(self.snapshot.values(), default=self.created_at)

    @property
    def is_for_looking(self) -> bool:
        """Its instant is not that of its reading, so it can be read and never applied; it supersedes nothing."""
        return self.as_of > self.read_at + AHEAD_MAX or self.as_of < self.read_at - self.age_max

    @cached_property
    def plan_id(self) -> str:
        """SHA-256 of the content. A stored plan whose content gives another id has been tampered with."""
        head = {
            "as_of": _text(self.as_of),
            "policy_version": self.policy_version,
            "scope": self.scope.as_dict(),
            "fleet_accounts": self.fleet_accounts,
        }
        digest = hashlib.sha256(_canonical(head))
        digest.update(self.changes.write_ndjson().encode())
        return digest.hexdigest()

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Everything but the changes, as JSON holds it."""
        blast = self.blast_radius
        return {
            "plan_id": self.plan_id,
            "as_of": _text(self.as_of),
            "policy_version": self.policy_version,
            "scope": self.scope.as_dict(),
            "run_id": self.run_id,
            "maker": self.maker,
            "origin": self.origin,
            "is_for_looking": self.is_for_looking,
            "age_max_seconds": int(self.age_max.total_seconds()),
            "snapshot": {store: _text(at) for store, at in sorted(self.snapshot.items())},
            "fleet_accounts": self.fleet_accounts,
            "changes": self.changes.height,
            "tables": {row["table"]: row["rows"] for row in self.per_table.iter_rows(named=True)},
            "transitions": self.transitions.to_dicts(),
            "blast_radius": {
                "accounts_changed": blast.accounts_changed,
                "share": blast.share,
                "newly_suspended": blast.newly_suspended,
                "newly_bad_debt": blast.newly_bad_debt,
                "losing_access": blast.losing_access,
            },
            "created_at": _text(self.created_at),
            "expires_at": _text(self.expires_at),
        }

    @cached_property
    def manifest_json(self) -> str:
        return _canonical(self.manifest).decode()

    @property
    def manifest_hash(self) -> str:
        """SHA-256 of the manifest: what an approver signs beside the id, so that no date can be moved afterwards."""
        return hashlib.sha256(self.manifest_json.encode()).hexdigest()

    @property
    def is_empty(self) -> bool:
        return self.changes.is_empty()

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts that it changes."""
        return frozenset(self.changes["account_id"].drop_nulls())

    @cached_property
    def per_table(self) -> pl.DataFrame:
        """table, rows, columns: how many rows and how many of their columns are to change."""
        return self.changes.group_by("table").agg(rows=pl.col("key").n_unique(), columns=pl.len()).sort("table")

    @cached_property
    def counted(self) -> pl.DataFrame:
        """The changes that the manifest counts, with before and after decoded: what is counted is what is written."""
        return _decoded(self.changes.filter(pl.col("column").is_in(COUNTED_COLUMNS)))

    @cached_property
    def transitions(self) -> pl.DataFrame:
        """table, column, from, to, rows: what turns into what, the most frequent first."""
        return (
            self.counted.select("table", "column", pl.col("before").alias("from"), pl.col("after").alias("to"))
            .group_by("table", "column", "from", "to")
            .agg(rows=pl.len())
            .sort("table", "column", "rows", "from", "to", descending=[False, False, True, False, False])
        )

    @cached_property
    def blast_radius(self) -> BlastRadius:
        states = self.counted.filter(pl.col("table") == "subs_dunning", pl.col("column") == "state")
        before, after = pl.col("before"), pl.col("after")
        had_access = ~before.is_in(WITHOUT_ACCESS)
        flagged = self.counted.filter(
            pl.col("table") == "subs_account", pl.col("column") == "bad_debt", after == "true", before != "true"
        )
        written_off = pl.concat(
            [
                states.filter(after == "bad_debt", before != "bad_debt").select("account_id"),
                flagged.select("account_id"),
            ]
        )
        changed = self.changes["account_id"].drop_nulls().n_unique()
        return BlastRadius(
            accounts_changed=changed,
            share=share_of(changed, self.fleet_accounts),
            newly_suspended=states.filter(after == "suspended", had_access).height,
            newly_bad_debt=written_off["account_id"].n_unique(),
            losing_access=states.filter(after.is_in(WITHOUT_ACCESS), had_access).height,
        )

    def as_dict(self) -> dict[str, Any]:
        """The whole plan, for JSON."""
        return {"manifest": self.manifest, "changes": self.changes.to_dicts()}

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2)

    def rows(self, limit: int | None = SHOWN_MAX) -> list[tuple[str, ...]]:
        """The changes as `HEADERS` names them, for a table that people read."""
        shown = self.changes if limit is None else self.changes.head(limit)
        return [
            (
                account or "",
                f"{table}.{column}",
                key,
                before,
                after,
                "insert" if version is None else str(version),
                reason,
            )
            for account, table, column, key, before, after, version, reason in shown.select(
                "account_id", "table", "column", "key", "before", "after", "row_version", "reason"
            ).iter_rows()
        ]

    def summary(self) -> list[tuple[str, str]]:
        """What a reader wants to know first: (label, value)."""
        blast = self.blast_radius
        return [
            ("plan", self.plan_id),
            ("as of", _text(self.as_of)),
            ("policy", self.policy_version),
            ("scope", self.scope.label),
            ("made by", self.maker or "unknown"),
            *([("for looking only", LOOKING_ONLY)] if self.is_for_looking else []),
            ("changes", f"{self.changes.height} columns of {int(self.per_table['rows'].sum())} rows"),
            ("accounts", f"{blast.accounts_changed} of {self.fleet_accounts} ({blast.share:.2%})"),
            ("newly suspended", str(blast.newly_suspended)),
            ("newly bad debt", str(blast.newly_bad_debt)),
            ("losing access", str(blast.losing_access)),
            ("expires", _text(self.expires_at)),
        ]

    def as_markdown(self, limit: int | None = SHOWN_MAX) -> str:
        """The plan for Dagster's pages: what counts, then its first changes."""
        if self.is_empty:
            return f"Plan `{self.plan_id}` is empty: everything that is ours to write is already right."
        parts = [
            _markdown(("", ""), self.summary()),
            _markdown(("table", "column", "from", "to", "rows"), self.transitions.iter_rows()),
            _markdown(HEADERS, self.rows(limit)),
        ]
        left_out = self.changes.height - min(limit or self.changes.height, self.changes.height)
        return "\n\n".join(parts) + (f"\n\n… and {left_out} more changes." if left_out else "")


LOOKING_ONLY: Final = "its instant is not that of its reading; the gate refuses it"

HEADERS: Final = ("account", "column", "key", "before", "after", "row version", "reason")


def make_plan(
    changes: pl.DataFrame,
    *,
    as_of: datetime,
    policy_version: str,
    run_id: str,
    scope: PlanScope,
    snapshot: Mapping[str, datetime],
    fleet_accounts: int,
    created_at: datetime,
    life: timedelta = LIFE,
    maker: str = "",
    origin: str = "plan",
    age_max: timedelta = AGE_MAX,
) -> Plan:
    """A plan of these changes (schemas.CHANGES, in any order)."""
    return Plan(
        as_of=as_of,
        policy_version=policy_version,
        run_id=run_id,
        scope=scope,
        snapshot=dict(snapshot),
        fleet_accounts=fleet_accounts,
        changes=in_order(changes),
        created_at=created_at,
        expires_at=created_at + life,
        maker=maker,
        origin=origin,
        age_max=age_max,
    )


def in_order(changes: pl.DataFrame) -> pl.DataFrame:
    """Changes with the columns, types and order that a plan's id is taken over."""
    return changes.select(pl.col(name).cast(dtype) for name, dtype in CHANGES.items()).sort(*_ORDER, nulls_last=True)


def share_of(accounts: int, fleet_accounts: int) -> float:
    """The share of the fleet; of a fleet that counts nobody, anything is all of it."""
    if accounts == 0:
        return 0.0
    return accounts / fleet_accounts if fleet_accounts > 0 else 1.0


def _decoded(changes: pl.DataFrame) -> pl.DataFrame:
    """Changes with before and after as the text of their decoded value; null is the word null, a flag true or false.

    Text that is no JSON stays as it is: such a plan is refused as malformed (`wellformed`), and can still be shown.
    """
    values = pl.concat([changes["before"], changes["after"]]).drop_nulls().unique().to_list()
    plain = {value: _plain(value) for value in values}
    if not plain:
        return changes
    return changes.with_columns(
        pl.col("before", "after").replace_strict(
            list(plain), list(plain.values()), default=None, return_dtype=pl.String()
        )
    )


def _plain(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str) else json.dumps(value)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _markdown(headers: tuple[str, ...], rows: Any) -> str:  # noqa: ANN401 - any iterable of tuples
    lines = [headers, tuple("---" for _ in headers), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
