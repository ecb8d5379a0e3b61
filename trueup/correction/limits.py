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


def _tighter(ours: N, theirs: N | None) -> N:
    return ours if theirs is None else min(ours, theirs)
