"""Accounts whose payments fail while a machine may still try again: grace, retries, the last attempt, and beyond."""

from __future__ import annotations

from typing import Final

from trueup.sandbox.fleet.archetype import CARD_ONLY, Archetype, Bill, Charge
from trueup.sandbox.fleet.archetypes.attempts import FIRST, FOURTH, PARTLY_PAID, SECOND, THIRD

FAILING: Final = (
    Archetype("grace", 8_000, "grace", (1, 1), (Bill((FIRST,), retry_after=3),), attempt_count=1, is_waiting=True),
    Archetype(
        "retrying",
        14_000,
        "retrying",
        (4, 6),
        (Bill((FIRST, SECOND), retry_after=8),),
        attempt_count=2,
        is_waiting=True,
    ),
    Archetype(
        "final_notice",
        8_000,
        "final_notice",
        (9, 13),
        (Bill((FIRST, SECOND, THIRD), retry_after=15),),
        attempt_count=3,
        is_waiting=True,
    ),
    Archetype("suspended", 8_000, "suspended", (16, 58), (Bill((FIRST, SECOND, THIRD, FOURTH)),), attempt_count=4),
    Archetype("bad_debt", 6_000, "bad_debt", (61, 400), (Bill((FIRST, SECOND, THIRD, FOURTH)),), attempt_count=4),
    Archetype(
        "retrying_with_paused_collection",
        500,
        "retrying",
        (4, 6),
        (Bill((FIRST, SECOND), retry_after=8),),
        attempt_count=2,
        is_waiting=True,
        pause_collection="keep_as_draft",
    ),
    Archetype(
        "gateway_failed_first",
        500,
        "grace",
        (2, 2),
        (Bill((Charge(0, decline="gateway", trigger="initial"), Charge(1)), retry_after=4),),
        clock_after=1,
        attempt_count=1,
        is_waiting=True,
    ),
    Archetype(
        "tried_by_hand_as_well",
        500,
        "retrying",
        (4, 6),
        (Bill((FIRST, Charge(2, trigger="manual"), SECOND), retry_after=8),),
        attempt_count=2,
        is_waiting=True,
    ),
    Archetype(
        "partially_paid",
        2_000,
        "retrying",
        (4, 6),
        (Bill((FIRST, PARTLY_PAID, SECOND), retry_after=8),),
        attempt_count=2,
        is_waiting=True,
    ),
    Archetype(
        "two_past_due",
        2_000,
        "suspended",
        (9, 13),
        (Bill((FIRST, SECOND, THIRD), retry_after=15), Bill((FIRST, SECOND, THIRD, FOURTH), days_earlier=30)),
        driver=1,
        attempt_count=4,
    ),
    Archetype(
        "two_past_due_young",
        1_000,
        "retrying",
        (1, 2),
        (Bill((FIRST,), retry_after=3), Bill((FIRST, SECOND), days_earlier=4, retry_after=8)),
        driver=1,
        attempt_count=2,
        is_waiting=True,
    ),
    Archetype(
        "tiny_debt_elsewhere",
        500,
        "retrying",
        (4, 6),
        (
            Bill((FIRST, SECOND), retry_after=8),
            Bill((FIRST, SECOND, THIRD, FOURTH), days_earlier=40, is_tiny=True, currency="usd"),
        ),
        attempt_count=2,
        is_waiting=True,
        currencies=("eur", "gbp", "cad"),
        instrument=CARD_ONLY,
    ),
    Archetype(
        "tiny_debt",
        2_000,
        days=(16, 55),
        bills=(Bill((FIRST, SECOND, THIRD, FOURTH), is_tiny=True),),
        currencies=("usd", "eur", "gbp", "jpy"),
        instrument=CARD_ONLY,
    ),
)
