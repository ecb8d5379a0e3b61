"""Accounts that owe nothing: they pay, they left, they never began, or money went back to them."""

from __future__ import annotations

from typing import Final

from trueup.sandbox.fleet.archetype import CARD_ONLY, DEBIT_ONLY, Archetype, Bill, Charge, Dispute, Refund
from trueup.sandbox.fleet.archetypes.attempts import FIRST, PAID

CLEAN: Final = (
    Archetype("good", 690_000),
    Archetype("good_by_debit", 60_000, instrument=DEBIT_ONLY),
    Archetype("free_plan", 20_000, is_in_stripe=False, sub_status=None, is_free=True, history=False),
    Archetype("two_subscriptions", 4_000, has_second_subscription=True),
    Archetype(
        "trialing",
        12_000,
        bills=(Bill(status="paid", paid_after=0, is_zero=True),),
        sub_status="trialing",
        history=False,
    ),
    Archetype("canceled", 20_000, sub_status="canceled", sub_ended_after=0, has_access=False),
    Archetype("closed", 8_000, account_status="closed", sub_status="canceled", sub_ended_after=0, has_access=False),
    Archetype("paused", 3_000, sub_status="paused"),
    Archetype(
        "incomplete",
        3_000,
        bills=(Bill((FIRST,), is_first=True),),
        sub_status="incomplete",
        history=False,
        has_access=False,
    ),
    Archetype(
        "incomplete_expired",
        2_000,
        bills=(Bill((FIRST,), "void", voided_after=1, is_first=True),),
        days=(3, 60),
        sub_status="incomplete_expired",
        sub_ended_after=1,
        history=False,
        has_access=False,
    ),
    Archetype("draft", 6_000, bills=(Bill(status="draft"),), days=(1, 1)),
    Archetype("void", 6_000, bills=(Bill((FIRST,), "void", voided_after=2),), days=(4, 200)),
    Archetype(
        "recovered", 20_000, bills=(Bill((FIRST, Charge(3, "succeeded", None)), "paid", paid_after=3),), days=(5, 27)
    ),
    Archetype(
        "recovered_by_new_card",
        5_000,
        bills=(
            Bill(
                (
                    Charge(0, decline="hard", trigger="initial", is_old_instrument=True),
                    Charge(6, "succeeded", None, "payment_method_update"),
                ),
                "paid",
                paid_after=6,
            ),
        ),
        days=(8, 27),
        instrument=CARD_ONLY,
        instrument_after=6,
    ),
    Archetype("prepaid_credit", 3_000, bills=(Bill((PAID,), "paid", paid_after=0, prepaid_credit=300),)),
)


GIVEN_BACK: Final = (
    Archetype(
        "refunded",
        8_000,
        bills=(Bill((Charge(0, "succeeded", None, "initial", refund=Refund(4)),), "paid", paid_after=0),),
        days=(6, 300),
    ),
    Archetype(
        "partly_refunded",
        4_000,
        bills=(Bill((Charge(0, "succeeded", None, "initial", refund=Refund(4, 0.5)),), "paid", paid_after=0),),
        days=(6, 300),
    ),
    Archetype(
        "refund_failed",
        1_000,
        bills=(
            Bill(
                (Charge(0, "succeeded", None, "initial", refund=Refund(4, 1.0, "failed", has_credit_note=False)),),
                "paid",
                paid_after=0,
            ),
        ),
        days=(6, 300),
    ),
    Archetype(
        "overpaid_and_refunded",
        1_000,
        bills=(
            Bill(
                (
                    PAID,
                    Charge(2, "succeeded", None, "manual", intent=1, refund=Refund(3, has_credit_note=False)),
                ),
                "paid",
                paid_after=0,
            ),
        ),
        days=(5, 200),
    ),
    Archetype(
        "dispute_open",
        2_000,
        bills=(
            Bill(
                (Charge(0, "succeeded", None, "initial", dispute=Dispute(5, "needs_response")),), "paid", paid_after=0
            ),
        ),
        days=(8, 60),
        instrument=CARD_ONLY,
    ),
    Archetype(
        "dispute_won",
        2_000,
        bills=(Bill((Charge(0, "succeeded", None, "initial", dispute=Dispute(5, "won", 30)),), "paid", paid_after=0),),
        days=(33, 200),
        instrument=CARD_ONLY,
    ),
    Archetype(
        "dispute_lost",
        2_000,
        bills=(
            Bill(
                (Charge(0, "succeeded", None, "initial", dispute=Dispute(5, "lost", 30, has_credit_note=True)),),
                "paid",
                paid_after=0,
            ),
        ),
        days=(33, 200),
        instrument=CARD_ONLY,
    ),
    Archetype(
        "dispute_warning",
        500,
        bills=(
            Bill(
                (Charge(0, "succeeded", None, "initial", dispute=Dispute(5, "warning_needs_response")),),
                "paid",
                paid_after=0,
            ),
        ),
        days=(8, 60),
        instrument=CARD_ONLY,
    ),
)
