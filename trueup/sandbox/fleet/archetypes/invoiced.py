"""Accounts that are sent invoices, are billed outside Stripe, or were written off; and children, billed to others."""

from __future__ import annotations

from typing import Final

from trueup.sandbox.fleet.archetype import Archetype, Bill, Charge
from trueup.sandbox.fleet.archetypes.attempts import FIRST, FOURTH, HARD, PAID, SECOND, THIRD

SENT: Final = Bill(method="send_invoice", due_after=30)
WIRED: Final = Bill(method="send_invoice", due_after=30, is_outside=True)

INVOICED: Final = (
    Archetype("invoiced", 8_000, days=(1, 27), bills=(SENT,)),
    Archetype("invoiced_late", 1_500, "grace", (31, 31), (SENT,), clock_after=30),
    Archetype("invoiced_later", 2_000, "final_notice", (33, 43), (SENT,), clock_after=30),
    Archetype("invoiced_suspended", 1_500, "suspended", (45, 88), (SENT,), clock_after=30),
    Archetype("invoiced_bad_debt", 1_000, "bad_debt", (90, 300), (SENT,), clock_after=30),
    Archetype("wired", 6_000, days=(1, 27), bills=(WIRED,), is_in_stripe=False, sub_status=None),
    Archetype(
        "wired_late", 1_500, "final_notice", (33, 43), (WIRED,), clock_after=30, is_in_stripe=False, sub_status=None
    ),
    Archetype(
        "wired_suspended", 1_000, "suspended", (45, 88), (WIRED,), clock_after=30, is_in_stripe=False, sub_status=None
    ),
    Archetype(
        "outside_retrying",
        800,
        "retrying",
        (4, 6),
        (Bill((FIRST, SECOND), is_outside=True, retry_after=8),),
        attempt_count=2,
        is_waiting=True,
        is_in_stripe=False,
        sub_status=None,
    ),
    Archetype(
        "outside_hard_decline",
        400,
        "final_notice",
        (3, 13),
        (Bill((HARD,), is_outside=True),),
        attempt_count=1,
        is_in_stripe=False,
        sub_status=None,
    ),
    Archetype(
        "outside_beside_stripe",
        800,
        "suspended",
        (16, 58),
        (Bill((FIRST, SECOND, THIRD, FOURTH), is_outside=True), Bill((PAID,), "paid", paid_after=0)),
        attempt_count=4,
    ),
)

WRITTEN_OFF: Final = (
    Archetype(
        "charged_off",
        2_500,
        "bad_debt",
        (22, 400),
        (
            Bill(
                (FIRST, SECOND, THIRD, FOURTH),
                "uncollectible",
                uncollectible_after=20,
                uncollectible_reason="max_payment_attempts",
            ),
        ),
        attempt_count=4,
        sub_status="canceled",
        sub_ended_after=20,
    ),
    Archetype(
        "charged_off_invoiced",
        800,
        "bad_debt",
        (102, 400),
        (
            Bill(
                method="send_invoice",
                due_after=30,
                status="uncollectible",
                uncollectible_after=100,
                uncollectible_reason="payment_not_received",
            ),
        ),
        clock_after=30,
        sub_status="unpaid",
    ),
    Archetype(
        "forgiven",
        1_000,
        days=(22, 200),
        bills=(
            Bill(
                (FIRST, SECOND, THIRD, FOURTH),
                "uncollectible",
                uncollectible_after=20,
                uncollectible_reason="user_forgiven",
            ),
        ),
    ),
    Archetype(
        "paid_after_write_off",
        500,
        days=(33, 300),
        bills=(
            Bill(
                (FIRST, SECOND, THIRD, FOURTH, Charge(30, "succeeded", None, "manual")),
                "paid",
                uncollectible_after=20,
                uncollectible_reason="max_payment_attempts",
                paid_after=30,
            ),
        ),
    ),
    Archetype(
        "paused_and_written_off",
        500,
        days=(5, 100),
        bills=(Bill(status="uncollectible", uncollectible_after=1, uncollectible_reason="subscription_paused"),),
        pause_collection="mark_uncollectible",
    ),
)

CHILDREN: Final = (Archetype("child", 15_000, is_child=True, is_in_stripe=False, sub_status=None, history=False),)
