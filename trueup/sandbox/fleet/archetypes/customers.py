"""Accounts that only the customer can mend: dead cards, revoked mandates, ended subscriptions."""

from __future__ import annotations

from typing import Final

from trueup.sandbox.fleet.archetype import CARD_ONLY, DEBIT_ONLY, Archetype, Bill, Charge
from trueup.sandbox.fleet.archetypes.attempts import AUTHENTICATION, EXPIRED, FIRST, HARD, SECOND

ONLY_THE_CUSTOMER: Final = (
    Archetype("hard_decline_young", 1_000, "grace", (1, 1), (Bill((HARD,)),), attempt_count=1),
    Archetype("hard_decline", 3_000, "final_notice", (3, 13), (Bill((HARD,)),), attempt_count=1),
    Archetype("hard_decline_suspended", 2_000, "suspended", (15, 58), (Bill((HARD,)),), attempt_count=1),
    Archetype("hard_decline_bad_debt", 1_500, "bad_debt", (60, 300), (Bill((HARD,)),), attempt_count=1),
    Archetype(
        "expired_card",
        3_000,
        "final_notice",
        (3, 13),
        (Bill((EXPIRED,)),),
        attempt_count=1,
        instrument=CARD_ONLY,
        is_expired=True,
    ),
    Archetype(
        "expired_card_suspended",
        2_000,
        "suspended",
        (15, 58),
        (Bill((EXPIRED,)),),
        attempt_count=1,
        instrument=CARD_ONLY,
        is_expired=True,
    ),
    Archetype(
        "expired_card_renewed",  # the network updated the card: the decline no longer counts against it
        1_000,
        "retrying",
        (4, 6),
        (Bill((EXPIRED, SECOND), retry_after=8),),
        attempt_count=2,
        is_waiting=True,
        instrument=CARD_ONLY,
    ),
    Archetype(
        "needs_authentication",
        1_500,
        "final_notice",
        (3, 13),
        (Bill((AUTHENTICATION,)),),
        attempt_count=1,
        instrument=CARD_ONLY,
    ),
    Archetype(
        "no_payment_method",
        1_000,
        "final_notice",
        (3, 13),
        (Bill((Charge(0, trigger="initial", is_old_instrument=True),)),),
        attempt_count=1,
        instrument=CARD_ONLY,
        has_instrument=False,
    ),
    Archetype(
        "new_card_in_time",
        2_000,
        "retrying",
        (6, 8),
        (Bill((Charge(0, decline="hard", trigger="initial", is_old_instrument=True), Charge(5)), retry_after=10),),
        attempt_count=2,
        is_waiting=True,
        instrument=CARD_ONLY,
        instrument_after=5,
    ),
    Archetype(
        "new_card_too_late",  # time used up the cycles before the card came
        1_000,
        "suspended",
        (30, 55),
        (
            Bill(
                (
                    Charge(0, decline="hard", trigger="initial", is_old_instrument=True),
                    Charge(25, trigger="payment_method_update"),
                )
            ),
        ),
        attempt_count=1,
        instrument=CARD_ONLY,
        instrument_after=25,
    ),
    Archetype(
        "mandate_revoked",
        800,
        "final_notice",
        (3, 13),
        (Bill((FIRST,)),),
        attempt_count=1,
        instrument=DEBIT_ONLY,
        mandate="inactive",
    ),
    Archetype(
        "mandate_revoked_long_ago",
        500,
        "suspended",
        (15, 58),
        (Bill((FIRST,)),),
        attempt_count=1,
        instrument=DEBIT_ONLY,
        mandate="inactive",
    ),
    Archetype(
        "subscription_ended",
        1_000,
        "final_notice",
        (6, 13),
        (Bill((FIRST, SECOND), has_auto_advance=False),),
        attempt_count=2,
        sub_status="canceled",
        sub_ended_after=5,
    ),
    Archetype(
        "subscription_paused", 500, "final_notice", (3, 13), (Bill((FIRST,)),), attempt_count=1, sub_status="paused"
    ),
    Archetype(
        "auto_advance_off", 500, "final_notice", (3, 13), (Bill((FIRST,), has_auto_advance=False),), attempt_count=1
    ),
)
