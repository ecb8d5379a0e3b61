"""Accounts that faults start from and no undisturbed fleet has.

Some are ordinary accounts that a planted fault needs one of; in others something was not done that should have
been, though the stores agree about it: their archetype is the fault.
"""

from __future__ import annotations

from typing import Final

from trueup.sandbox.fleet.archetype import CARD_ONLY, DEBIT_ONLY, Archetype, Bill, Charge, Dispute
from trueup.sandbox.fleet.archetypes.attempts import FIRST, FOURTH, HARD, PAID, SECOND, THIRD

PAID_AT_ONCE: Final = Bill((PAID,), "paid", paid_after=0)

ONLY_PLANTED: Final = (
    Archetype(
        "stalled", 0, "retrying", (11, 13), (Bill((FIRST, SECOND), retry_after=8),), attempt_count=2, is_waiting=True
    ),
    Archetype(
        "retried_after_hard_decline",
        0,
        "final_notice",
        (5, 13),
        (Bill((HARD, Charge(3, decline="hard"))),),
        attempt_count=2,
    ),
    Archetype("never_tried", 0, "retrying", (8, 18), (Bill(),), clock_after=3),
    Archetype(
        "unknown_decline",
        0,
        "retrying",
        (4, 6),
        (Bill((FIRST, Charge(3, decline="unknown")), retry_after=8),),
        attempt_count=2,
        is_waiting=True,
    ),
    Archetype(
        "dispute_lost_lately",  # so lately that Stripe still has the event that says so
        0,
        bills=(
            Bill(
                (Charge(0, "succeeded", None, "initial", dispute=Dispute(5, "lost", 30, has_credit_note=True)),),
                "paid",
                paid_after=0,
            ),
        ),
        days=(33, 55),
        instrument=CARD_ONLY,
    ),
    Archetype("good_monthly", 0, bills=(PAID_AT_ONCE,), days=(3, 27)),
    Archetype("good_with_mandate", 0, bills=(PAID_AT_ONCE,), days=(5, 27), instrument=DEBIT_ONLY),
    Archetype(
        "paid_while_retrying",
        0,
        bills=(Bill((FIRST, SECOND, Charge(5, "succeeded", None, "payment_method_update")), "paid", paid_after=5),),
        days=(7, 7),
    ),
    Archetype(
        "paid_after_suspension",
        0,
        bills=(Bill((FIRST, SECOND, THIRD, FOURTH, Charge(20, "succeeded", None, "manual")), "paid", paid_after=20),),
        days=(22, 40),
    ),
    Archetype(
        "paid_after_bad_debt",
        0,
        bills=(Bill((FIRST, SECOND, THIRD, FOURTH, Charge(70, "succeeded", None, "manual")), "paid", paid_after=70),),
        days=(73, 90),
    ),
    Archetype(
        "canceled_paid",
        0,
        bills=(PAID_AT_ONCE,),
        days=(5, 60),
        sub_status="canceled",
        sub_ended_after=3,
        has_access=False,
    ),
)
