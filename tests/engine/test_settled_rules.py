"""Rules of docs/contract/DUNNING.md on which readers once parted: each claim is one sentence of the text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.drift.world import NOW, World, days_ago, make_world


def answer(world: World, account: str) -> dict[str, Any]:
    judged, _ = world.judged()
    [row] = judged.desired.filter(account_id=account).to_dicts()
    return row


def invoice(world: World, object_id: str, view: str) -> dict[str, Any]:
    judged, _ = world.judged()
    [row] = judged.invoices.filter(object_id=object_id, view=view).to_dicts()
    return row


@pytest.mark.parametrize("status", ["open", "uncollectible"])
def test_a_late_invoice_that_stripe_has_never_heard_of_makes_its_account_indeterminate(status: str) -> None:
    world = make_world()
    world.row("invoices", "inv_paid_1").update(
        status=status, stripe_invoice_id="in_unknown", paid_at=None, amount_paid=0, collection_method="send_invoice"
    )
    world.row("invoices", "inv_paid_1").update(due_at=days_ago(20), uncollectible_at=None)

    found = answer(world, "paid")

    assert (found["quality"], found["reasons"]) == ("indeterminate", ["unknown_to_stripe"])


def test_a_stripe_invoice_whose_row_is_broken_is_known_to_stripe() -> None:
    world = make_world()
    world.row("invoices", "inv_late_2").update(status="open")
    world.row("stripe_invoices", "in_late_2")["currency"] = "xxz"

    assert answer(world, "late")["reasons"] == ["contract_violation"]


def test_a_child_without_a_parent_to_ask_is_unresolved_and_nothing_else() -> None:
    world = make_world()
    world.row("accounts", "late").update(parent_account_id="nobody")
    world.row("subs_account", "late")["updated_by"] = "somebody"  # a broken row of its own

    assert answer(world, "late")["reasons"] == ["parent_unresolved"]


@pytest.mark.parametrize(
    ("codes", "is_usable"),
    [
        ({"decline_code": "expired_card"}, True),
        ({"advice_code": "confirm_card_data", "failure_code": "expired_card"}, True),  # any code, not the deciding one
        ({"decline_code": "expired_card", "failure_code": "lost_card"}, False),  # hard: no new date helps
        ({"decline_code": "incorrect_cvc"}, False),
    ],
)
def test_a_card_with_a_new_date_is_forgiven_what_any_code_says_of_its_expiry(
    codes: dict[str, str],
    is_usable: bool,  # noqa: FBT001
) -> None:
    world = make_world()
    world.tables["stripe_charges"][-1].update(
        {"decline_code": None, "failure_code": None, "advice_code": None, "network_advice_code": None, **codes}
    )

    assert invoice(world, "in_late_2", "stripe")["is_retryable"] is is_usable


def test_credit_notes_cover_refunds_that_reopen_nothing_before_they_cover_a_lost_dispute() -> None:
    world = make_world(reopen_on_refund="never", reopen_on_lost_dispute=True)
    world.refund("paid_1", 300, at=days_ago(35))  # with a credit note of as much
    world.dispute("paid_1", "lost", at=days_ago(30), closed_at=days_ago(20))
    world.tables["stripe_disputes"][0]["amount"] = 300

    assert invoice(world, "in_paid_1", "stripe")["outstanding"] == 300


def test_a_refund_of_a_payment_for_several_invoices_counts_on_the_smallest_id_in_our_books_too() -> None:
    world = make_world(reopen_on_refund="always")
    world.row("charges", "chg_paid_1")["amount_refunded"] = 400
    world.tables["invoices"].append(
        {**world.row("invoices", "inv_paid_1"), "invoice_id": "inv_0", "stripe_invoice_id": "in_a_smaller_id"}
    )
    world.tables["charges"].append(
        {**world.row("charges", "chg_paid_1"), "charge_id": "chg_other", "invoice_id": "inv_0"}
    )

    outstanding = {name: invoice(world, name, "internal")["outstanding"] for name in ("in_a_smaller_id", "in_paid_1")}

    assert outstanding == {"in_a_smaller_id": 400, "in_paid_1": 0}


def test_what_is_recorded_is_dated_by_stripes_refunds_until_it_is_used_up() -> None:
    world = make_world(reopen_on_refund="always")
    world.refund("paid_1", 700, at=days_ago(5), credited=False)
    world.refund("paid_1", 300, at=NOW + timedelta(days=1), credited=False)
    world.tables["stripe_refunds"][1]["refund_id"] = "re_later"
    world.row("charges", "chg_paid_1")["amount_refunded"] = 700

    assert invoice(world, "in_paid_1", "internal")["outstanding"] == 700
