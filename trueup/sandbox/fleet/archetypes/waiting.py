"""Accounts whose time stands still, was given back, or never ran: flights, holds, disputes, exemptions."""

from __future__ import annotations

from typing import Final

from trueup.sandbox.fleet.archetype import CARD_ONLY, DEBIT_ONLY, Archetype, Bill, Charge, Dispute
from trueup.sandbox.fleet.archetypes.attempts import FIRST, FOURTH, SECOND, THIRD

WAITING: Final = (
    Archetype(
        "in_flight",
        2_000,
        "grace",
        (5, 12),
        (Bill((Charge(0, "pending", None, "initial"),)),),
        clock_after=3,
        instrument=DEBIT_ONLY,
    ),
    Archetype(
        "in_flight_fresh",
        2_000,
        days=(1, 1),
        bills=(Bill((Charge(0, "pending", None, "initial"),)),),
        instrument=DEBIT_ONLY,
    ),
    Archetype(
        "in_flight_again",
        500,
        "retrying",
        (6, 14),
        (Bill((FIRST, Charge(3, "pending", None))),),
        attempt_count=1,
        instrument=DEBIT_ONLY,
    ),
    Archetype("held", 500, "retrying", (30, 50), (Bill((FIRST, SECOND)),), attempt_count=2, hold=(5, None)),
    Archetype(
        "hold_over",
        500,
        "final_notice",
        (14, 18),
        (Bill((FIRST, SECOND, Charge(13)), retry_after=20),),
        attempt_count=3,
        is_waiting=True,
        hold=(4, 12),
    ),
    Archetype(
        "hold_to_come",
        300,
        "retrying",
        (4, 6),
        (Bill((FIRST, SECOND), retry_after=8),),
        attempt_count=2,
        is_waiting=True,
        hold=(40, None),
    ),
    Archetype(
        "disputed_in_part",
        500,
        "retrying",
        (8, 60),
        (
            Bill(
                (
                    FIRST,
                    Charge(1, "succeeded", None, "manual", share=0.4, intent=1, dispute=Dispute(4, "under_review")),
                    SECOND,
                )
            ),
        ),
        attempt_count=2,
        instrument=CARD_ONLY,
    ),
    Archetype(
        "dispute_over_in_part",
        300,
        "final_notice",
        (21, 25),
        (
            Bill(
                (
                    FIRST,
                    Charge(1, "succeeded", None, "manual", share=0.4, intent=1, dispute=Dispute(4, "won", 19)),
                    SECOND,
                    Charge(20),
                ),
                retry_after=27,
            ),
        ),
        attempt_count=3,
        is_waiting=True,
        instrument=CARD_ONLY,
    ),
    Archetype("exempt", 1_000, bills=(Bill((FIRST, SECOND, THIRD, FOURTH)),), days=(16, 200), is_exempt=True),
    Archetype("exempt_and_clean", 500, is_exempt=True),
)
