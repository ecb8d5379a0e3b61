"""Who may write what: the ownership table of docs/contract/STORES.md, as data.

It lives once. The gate refuses a plan that leaves it (`WriteNotOwned`), and `init-db` turns it into column grants, so
that the database refuses as well. All of it is in database subs_api; a disagreement anywhere else is a finding with
an owner, never a write of ours.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Owned(NamedTuple):
    """What the recompute may write in one table."""

    store: str
    key: str
    columns: tuple[str, ...]
    may_insert: bool
    why: str


OWNED: Final[dict[str, Owned]] = {
    "subs_dunning": Owned(
        "subs_dunning",
        "account_id",
        (
            "account_id",
            "state",
            "attempt_count",
            "clock_started_on",
            "next_retry_at",
            "driver_invoice_id",
            "reason",
            "policy_version",
            "final_notice_sent_at",
            "computed_at",
            "updated_at",
            "version",
        ),
        may_insert=True,
        why="A3 is its only writer",
    ),
    "subs_account": Owned(
        "subs_account",
        "account_id",
        ("bad_debt", "updated_by", "updated_at", "version"),
        may_insert=False,
        why="A3 owns the flag alone",
    ),
    "subs_mandate": Owned(
        "subs_dunning",
        "mandate_id",
        ("status", "network_status", "updated_at", "version"),
        may_insert=False,
        why="A3 recompute",
    ),
    "subs_stuck_events": Owned(
        "subs_dunning",
        "event_id",
        ("status", "resolved_at", "last_error", "updated_at", "version"),
        may_insert=False,
        why="A3 recompute",
    ),
}


def is_owned(table: str, column: str) -> bool:
    """Whether the recompute may write the column."""
    return table in OWNED and column in OWNED[table].columns
