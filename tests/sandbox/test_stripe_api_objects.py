"""The sandbox's objects: Stripe's keys and types, made from flat records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.sandbox.stripe_api import builders, objects
from trueup.sandbox.stripe_api.packing import pack, pack_full, unpack

CLASSES: dict[str, Any] = {
    "customers": stripe.Customer,
    "payment_methods": stripe.PaymentMethod,
    "subscriptions": stripe.Subscription,
    "invoices": stripe.Invoice,
    "invoice_payments": stripe.InvoicePayment,
    "payment_intents": stripe.PaymentIntent,
    "charges": stripe.Charge,
    "refunds": stripe.Refund,
    "disputes": stripe.Dispute,
    "credit_notes": stripe.CreditNote,
    "mandates": stripe.Mandate,
    "events": stripe.Event,
}


@pytest.mark.parametrize("kind", objects.KINDS)
def test_an_object_has_no_key_that_the_sdk_does_not_know(kind: str) -> None:
    made = builders.build(kind, {objects.ID_OF[kind]: "x"})

    assert made.keys() - set(CLASSES[kind].__annotations__) == set()
    assert made["object"] == objects.OBJECT_OF[kind]


def test_keys_that_stripe_dropped_are_absent() -> None:
    made = builders.invoice(invoice_id="in_1", subscription_id="sub_1")

    assert made.keys().isdisjoint({"charge", "paid", "payment_intent", "subscription"})
    assert "invoice" not in builders.charge(charge_id="ch_1")
    assert "invoice" not in builders.payment_intent(payment_intent_id="pi_1")


def test_an_invoice_says_where_its_subscription_is_and_why_it_is_uncollectible() -> None:
    made = builders.invoice(
        invoice_id="in_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        status="uncollectible",
        uncollectible_reason="user_forgiven",
        uncollectible_at=datetime(2026, 3, 1, tzinfo=UTC),
        amount_due=900,
        metadata_invoice_id="i-1",
    )

    assert made["parent"]["subscription_details"]["subscription"] == "sub_1"
    assert made["status_details"] == {"uncollectible": {"reason": "user_forgiven"}}
    assert made["status_transitions"]["marked_uncollectible_at"] == 1_772_323_200
    assert (made["amount_due"], made["amount_remaining"], made["total"]) == (900, 900, 900)
    assert made["metadata"] == {"invoice_id": "i-1"}
    assert made["lines"]["url"] == "/v1/invoices/in_1/lines"


def test_a_subscription_has_one_item_for_each_price() -> None:
    made = builders.subscription(subscription_id="sub_1", price_ids=["a", "b"], current_period_end_at=7, currency="eur")

    prices = [(item["price"]["id"], item["price"]["currency"]) for item in made["items"]["data"]]
    assert prices == [("a", "eur"), ("b", "eur")]
    assert {item["current_period_end"] for item in made["items"]["data"]} == {7}
    assert builders.subscription(subscription_id="sub_1", price_ids=[])["items"]["data"] == []


def test_payments_name_what_paid_and_disputes_when_money_moved() -> None:
    payment = builders.invoice_payment(invoice_payment_id="inpay_1", payment_type="charge", charge_id="ch_1")
    dispute = builders.dispute(dispute_id="dp_1", balance_transaction_ats=[datetime(2026, 1, 1, tzinfo=UTC), 5])

    assert payment["payment"] == {"charge": "ch_1", "type": "charge"}
    assert [each["created"] for each in dispute["balance_transactions"]] == [1_767_225_600, 5]


def test_details_of_payment_methods_stand_under_the_name_of_their_type() -> None:
    card = builders.charge(charge_id="ch_1", payment_method_type="card")["payment_method_details"]
    debit = builders.charge(charge_id="ch_1", payment_method_type="sepa_debit")["payment_method_details"]
    bacs = builders.mandate(mandate_id="m", payment_method_type="bacs_debit", network_status="accepted")

    assert (card["type"], card["card"]["brand"]) == ("card", "visa")
    assert debit == {"sepa_debit": {}, "type": "sepa_debit"}
    assert bacs["payment_method_details"]["bacs_debit"]["network_status"] == "accepted"
    assert builders.charge(charge_id="ch_1")["payment_method_details"] is None


def test_an_event_tells_what_it_is_about_from_its_type() -> None:
    about = {
        each: builders.event(event_id="evt_1", type=each, object_id="x")["data"]["object"]["object"]
        for each in ("charge.dispute.closed", "customer.subscription.updated", "customer.updated", "invoice.paid")
    }

    assert list(about.values()) == ["dispute", "subscription", "customer", "invoice"]


def test_a_deleted_customer_is_nothing_but_deleted() -> None:
    made = builders.customer(customer_id="cus_1", is_deleted=True, email="someone@example.com")

    assert made == {"id": "cus_1", "object": "customer", "deleted": True}


@settings(deadline=None)
@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text_comes_out_of_packing_as_it_went_in(text: str) -> None:
    made = builders.invoice(invoice_id=f"in_{text}", metadata_invoice_id=text, status=text)

    assert (made["id"], made["metadata"]["invoice_id"], made["status"]) == (f"in_{text}", text, text)
    assert made["lines"]["data"][0]["id"] == f"il_in_{text}"


def test_a_column_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="charges have no column invoice_id; they have charge_id"):
        builders.charge(charge_id="ch_1", invoice_id="in_1")
    with pytest.raises(ValueError, match="needs its charge_id"):
        pack("charges", pl.DataFrame({"amount": [1]}))


def test_a_full_object_is_kept_as_it_is() -> None:
    packed = pack_full({"object": "charge", "id": 7, "created": "yesterday"})

    assert unpack("charges", packed.body) == b'{"object":"charge","id":7,"created":"yesterday"}'
    assert packed.created == 0
