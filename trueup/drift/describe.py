"""Described codes: what each finding code means, for whoever reads a report.

A code's meaning is the first sentence of its rule's docstring, so that it is said once; the few codes that no rule of
an audit gives are described here. Everything else about a code is in `codes`.
"""

from __future__ import annotations

from typing import Any, Final

from trueup.drift.codes import CODES
from trueup.drift.find import RULES

WITHOUT_RULE: Final[dict[str, str]] = {
    "SRC_STALE": "A store was read longer ago than its limit.",
    "SRC_PARTIAL": "A store could not be read whole.",
    "MIRROR_DRIFT": "A full proof differs from what reading by changes believes.",
    "EVT_STUCK_MOOT": "A stuck event of an account that needs nothing any more: it can be resolved.",
    "EVT_GAP": "Numbers of an event stream were given up and never came.",
    "EVT_CONFLICT": "One event number, or one event id, came with two contents.",
    "EVT_HORIZON": "The cursor of Stripe's events lay more than 30 days back, so that events may have been lost.",
}
"""Codes that come from elsewhere than a rule: what each means."""


def described_codes() -> list[dict[str, Any]]:
    """Every code, in order: code, category, severity, owner, is_corrected (by a plan), stores, meaning."""
    return [
        {
            "code": code.code,
            "category": code.category,
            "severity": code.severity,
            "owner": code.owner,
            "is_corrected": code.corrects is not None,
            "stores": list(code.stores),
            "meaning": meaning(code.code),
        }
        for code in CODES.values()
    ]


def meaning(code: str) -> str:
    """What a code means, in one sentence."""
    if code in WITHOUT_RULE:
        return WITHOUT_RULE[code]
    story = " ".join((RULES[code].__doc__ or "").split())
    first, dot, _ = story.partition(". ")
    return f"{first}." if dot else story
