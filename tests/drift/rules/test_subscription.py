"""Subscriptions: what Stripe says of one against what its invoices say."""

from __future__ import annotations

import pytest

from tests.drift.world import days_ago, make_world


@pytest.mark.parametrize("status", ["past_due", "unpaid"])
def test_a_late_subscription_without_an_unsettled_invoice_is_a_mismatch(status: str) -> None:
    world = make_world()
    world.row("stripe_subscriptions", "sub_cus_paid")["status"] = status
    world.row("stripe_subscriptions", "sub_cus_late")["status"] = status

    assert world.found() == [("paid", "SUB_STATUS_MISMATCH", "sub_cus_paid")]


def test_an_invoice_without_due_date_hides_no_other_that_is_missing() -> None:
    world = make_world()
    world.row("stripe_subscriptions", "sub_cus_paid")["status"] = "unpaid"
    world.invoice("paid", "sent", at=days_ago(5)).update(collection_method="send_invoice", subscription_id=None)

    assert world.found() == [
        ("paid", "SRC_CONTRACT", "in_sent"),
        ("paid", "SUB_STATUS_MISMATCH", "sub_cus_paid"),
    ]


def test_an_active_subscription_with_an_exhausted_invoice_is_a_mismatch() -> None:
    world = make_world(retry_offsets_days=[1])

    assert world.settle().found() == [("late", "SUB_STATUS_MISMATCH", "sub_cus_late")]


def test_an_ended_subscription_whose_open_invoice_advances_still_collects() -> None:
    world = make_world()
    world.row("stripe_subscriptions", "sub_cus_late").update(status="canceled", ended_at=days_ago(1))
    assert world.settle().found() == [("late", "SUB_CANCELED_STILL_COLLECTING", "sub_cus_late")]

    world.row("stripe_invoices", "in_late_2")["auto_advance"] = False
    assert world.settle().found() == []


def test_two_live_subscriptions_to_one_price_are_one_too_many() -> None:
    world = make_world()
    world.subscription("cus_paid", "sub_again", status="trialing")

    assert world.found() == [("paid", "SUB_DUPLICATE_ACTIVE", "price_pro")]


@pytest.mark.parametrize(
    "change", [{"status": "canceled"}, {"status": "incomplete"}, {"price": "price_other"}, {"livemode": False}]
)
def test_a_second_subscription_that_is_over_or_to_another_price_is_fine(change: dict[str, object]) -> None:
    world = make_world()
    world.subscription("cus_paid", "sub_again", **change)

    assert world.found() == []
