"""Limits: how much one plan may change, in pairs of a share and a count.

A share protects a small population and a count a large one, so a plan must keep below both. The settings give them for
everyone, and the approvers' file may tighten them for one approver. What is held against them is the gate's business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Limits:
    """Caps in pairs: a plan must keep below both the share and the count.

    Up to `small_plan_accounts` accounts the share is not asked: of a handful it says nothing. Policy keys (approvals
    that no person gave) are off unless `is_policy_key_allowed`, and then for small plans that take access from nobody.
    """

    max_share: float = 0.25
    max_accounts: int = 10_000
    max_suspensions_share: float = 0.05
    max_suspensions: int = 1_000
    small_plan_accounts: int = 25
    max_shrink_share: float = 0.20
    max_shrink_rows: int = 10
    is_policy_key_allowed: bool = False
    policy_key_max_share: float = 0.01
    policy_key_max_accounts: int = 100
    policy_key_max_accounts_per_hour: int = 1_000
    approvals_needed: int = 1
    two_keys_above_accounts: int | None = None  # above so many accounts two keys are needed; null: never
    as_of_age_max_hours: float = 1.0  # how long before its reading a plan's instant may lie

    def needed_for(self, accounts: int) -> int:
        """How many different keys and identities must approve a plan that changes so many accounts."""
        return max(self.approvals_needed, 2) if self.is_above_one_key(accounts) else self.approvals_needed

    def is_above_one_key(self, accounts: int) -> bool:
        """The plan is so large that two persons must approve it, and a policy key counts for nothing."""
        return self.two_keys_above_accounts is not None and accounts > self.two_keys_above_accounts

    def narrowed_to(self, pinned: Limits) -> Limits:
        """The tighter of two limits in each: what somebody's environment says never widens what was pinned."""
        return Limits(
            max_share=min(self.max_share, pinned.max_share),
            max_accounts=min(self.max_accounts, pinned.max_accounts),
            max_suspensions_share=min(self.max_suspensions_share, pinned.max_suspensions_share),
            max_suspensions=min(self.max_suspensions, pinned.max_suspensions),
            small_plan_accounts=min(self.small_plan_accounts, pinned.small_plan_accounts),
            max_shrink_share=min(self.max_shrink_share, pinned.max_shrink_share),
            max_shrink_rows=min(self.max_shrink_rows, pinned.max_shrink_rows),
            is_policy_key_allowed=self.is_policy_key_allowed and pinned.is_policy_key_allowed,
            policy_key_max_share=min(self.policy_key_max_share, pinned.policy_key_max_share),
            policy_key_max_accounts=min(self.policy_key_max_accounts, pinned.policy_key_max_accounts),
            policy_key_max_accounts_per_hour=min(
                self.policy_key_max_accounts_per_hour, pinned.policy_key_max_accounts_per_hour
            ),
            approvals_needed=max(self.approvals_needed, pinned.approvals_needed),
            two_keys_above_accounts=_tighter_or_none(self.two_keys_above_accounts, pinned.two_keys_above_accounts),
            as_of_age_max_hours=min(self.as_of_age_max_hours, pinned.as_of_age_max_hours),
        )

    def within(self, other: ApproverLimits) -> Limits:
        """These limits, tightened by an approver's own; an approver's limits never widen anything."""
        return replace(
            self,
            max_share=_tighter(self.max_share, other.max_share),
            max_accounts=_tighter(self.max_accounts, other.max_accounts),
            max_suspensions_share=_tighter(self.max_suspensions_share, other.max_suspensions_share),
            max_suspensions=_tighter(self.max_suspensions, other.max_suspensions),
        )


@dataclass(frozen=True)
class ApproverLimits:
    """What one approver may approve; null is no limit of their own."""

    max_share: float | None = None
    max_accounts: int | None = None
    max_suspensions_share: float | None = None
    max_suspensions: int | None = None


def _tighter_or_none(ours: int | None, theirs: int | None) -> int | None:
    given = [limit for limit in (ours, theirs) if limit is not None]
    return min(given) if given else None


def _tighter(ours: N, theirs: N | None) -> N:
    return ours if theirs is None else min(ours, theirs)
