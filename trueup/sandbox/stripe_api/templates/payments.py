"""What pays: payment methods, mandates, invoice payments, payment intents, charges, refunds, disputes, and events."""

from __future__ import annotations

from typing import Final

import orjson
import polars as pl

from trueup.sandbox.stripe_api.shapes import Served, Slot, column, derived, json, optional, path, text_of

_NO_ADDRESS: Final = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))

_NOBODY: Final = {"address": _NO_ADDRESS, "email": None, "name": None, "phone": None, "tax_id": None}

_CARD: Final = {
    "brand": "visa",
    "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
    "country": "US",
    "display_brand": "visa",
    "exp_month": column("exp_month"),
    "exp_year": column("exp_year"),
    "fingerprint": None,
    "funding": "credit",
    "generated_from": None,
    "last4": "4242",
    "networks": {"available": ["visa"], "preferred": None},
    "regulated_status": None,
    "three_d_secure_usage": {"supported": True},
    "wallet": None,
}

PAYMENT_METHOD: Final = {
    "id": column("payment_method_id"),
    "object": "payment_method",
    "allow_redisplay": "unspecified",
    "billing_details": _NOBODY,
    "card": optional("card", pl.col("type") == "card", _CARD),
    "created": column("created_at"),
    "customer": column("customer_id", expands="customers"),
    "customer_account": None,
    "livemode": column("livemode"),
    "metadata": {},
    "type": column("type"),
}


_TYPED: Final = {"type": column("payment_type")}

_CHARGED_CARD: Final = {
    "amount_authorized": None,
    "authorization_code": None,
    "brand": "visa",
    "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
    "country": "US",
    "exp_month": 12,
    "exp_year": 2030,
    "extended_authorization": {"status": "disabled"},
    "fingerprint": None,
    "funding": "credit",
    "incremental_authorization": {"status": "unavailable"},
    "installments": None,
    "last4": "4242",
    "mandate": None,
    "multicapture": {"status": "unavailable"},
    "network": "visa",
    "network_token": {"used": False},
    "network_transaction_id": None,
    "overcapture": {"maximum_amount_capturable": 0, "status": "unavailable"},
    "regulated_status": None,
    "three_d_secure": None,
    "transaction_link_id": None,
    "wallet": None,
}


def _details(*known: tuple[str, object]) -> Slot:
    """`payment_method_details`: the type, and under the type's own name what is known of it."""
    kind = pl.col("payment_method_type")
    any_type = pl.concat_str(pl.lit("{"), json(kind), pl.lit(':{},"type":'), json(kind), pl.lit("}"))
    text = pl.when(kind.is_null()).then(pl.lit("null")).otherwise(any_type)
    for name, shape in known:
        text = pl.when(kind == name).then(text_of({name: shape, "type": name})).otherwise(text)
    return Slot("payment_method_details", text)


def _charged_with(kind: bytes) -> bytes:
    """The same for a charge, made when it is served: what is said of a card is long and always the same."""
    if kind == b"null":
        return kind
    return b'{%b:%b,"type":%b}' % (kind, _CARD_TEXT if kind == b'"card"' else b"{}", kind)


_CARD_TEXT: Final = orjson.dumps(_CHARGED_CARD)

_BACS: Final = {
    "display_name": None,
    "network_status": column("network_status"),
    "reference": "",
    "revocation_reason": None,
    "service_user_number": None,
    "url": "",
}

INVOICE_PAYMENT: Final = {
    "id": column("invoice_payment_id"),
    "object": "invoice_payment",
    "amount_paid": column("amount_paid"),
    "amount_requested": column("amount_requested"),
    "created": column("created_at"),
    "currency": column("currency"),
    "invoice": column("invoice_id", expands="invoices"),
    "is_default": True,
    "livemode": column("livemode"),
    "payment": Slot(
        "payment",
        pl.when(pl.col("charge_id").is_not_null() & pl.col("payment_intent_id").is_not_null())
        .then(text_of({"charge": column("charge_id"), "payment_intent": column("payment_intent_id"), **_TYPED}))
        .when(pl.col("charge_id").is_not_null())
        .then(text_of({"charge": column("charge_id"), **_TYPED}))
        .when(pl.col("payment_intent_id").is_not_null())
        .then(text_of({"payment_intent": column("payment_intent_id"), **_TYPED}))
        .otherwise(text_of(_TYPED)),
    ),
    "status": column("status"),
    "status_transitions": {"canceled_at": column("canceled_at"), "paid_at": column("paid_at")},
}

PAYMENT_INTENT: Final = {
    "id": column("payment_intent_id"),
    "object": "payment_intent",
    "amount": column("amount"),
    "amount_capturable": 0,
    "amount_details": {"tip": {}},
    "amount_received": derived(
        "amount_received", pl.when(pl.col("status") == "succeeded").then("amount").otherwise(pl.lit(0, dtype=pl.Int64))
    ),
    "application": None,
    "application_fee_amount": None,
    "automatic_payment_methods": None,
    "canceled_at": derived("canceled_at", pl.when(pl.col("status") == "canceled").then("created_at")),
    "cancellation_reason": None,
    "capture_method": "automatic",
    "client_secret": None,
    "confirmation_method": "automatic",
    "created": column("created_at"),
    "currency": column("currency"),
    "customer": column("customer_id", expands="customers"),
    "customer_account": None,
    "description": None,
    "excluded_payment_method_types": None,
    "last_payment_error": None,
    "latest_charge": column("latest_charge_id", expands="charges"),
    "livemode": column("livemode"),
    "managed_payments": {"enabled": False},
    "metadata": {},
    "next_action": None,
    "on_behalf_of": None,
    "payment_method": column("payment_method_id", expands="payment_methods"),
    "payment_method_configuration_details": None,
    "payment_method_options": {},
    "payment_method_types": optional(
        "payment_method_types",
        pl.col("payment_method_type").is_not_null(),
        [column("payment_method_type")],
        otherwise=["card", "link"],
    ),
    "processing": None,
    "receipt_email": None,
    "review": None,
    "setup_future_usage": None,
    "shipping": None,
    "source": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "status": column("status"),
    "transfer_data": None,
    "transfer_group": None,
}

_HAS_FAILED: Final = pl.col("status") == "failed"
_HAS_SUCCEEDED: Final = pl.col("status") == "succeeded"

CHARGE: Final = {
    "id": column("charge_id"),
    "object": "charge",
    "amount": column("amount"),
    "amount_captured": derived(
        "amount_captured", pl.when(_HAS_SUCCEEDED).then("amount").otherwise(pl.lit(0, dtype=pl.Int64))
    ),
    "amount_refunded": column("amount_refunded"),
    "application": None,
    "application_fee": None,
    "application_fee_amount": None,
    "balance_transaction": None,
    "billing_details": _NOBODY,
    "calculated_statement_descriptor": None,
    "captured": derived("captured", _HAS_SUCCEEDED),
    "created": column("created_at"),
    "currency": column("currency"),
    "customer": column("customer_id", expands="customers"),
    "description": None,
    "disputed": False,
    "failure_balance_transaction": None,
    "failure_code": column("failure_code"),
    "failure_message": None,
    "fraud_details": {},
    "livemode": column("livemode"),
    "metadata": {},
    "on_behalf_of": None,
    "outcome": {
        "advice_code": column("advice_code"),
        "network_advice_code": column("network_advice_code"),
        "network_decline_code": None,
        "network_status": derived(
            "network_status",
            pl.when(_HAS_FAILED).then(pl.lit("declined_by_network")).otherwise(pl.lit("approved_by_network")),
        ),
        "reason": column("decline_code"),
        "seller_message": None,
        "type": derived(
            "outcome type", pl.when(_HAS_FAILED).then(pl.lit("issuer_declined")).otherwise(pl.lit("authorized"))
        ),
    },
    "paid": derived("paid", _HAS_SUCCEEDED),
    "payment_intent": column("payment_intent_id", expands="payment_intents"),
    "payment_method": column("payment_method_id", expands="payment_methods"),
    "payment_method_details": Served(column("payment_method_type"), _charged_with),
    "receipt_email": None,
    "receipt_number": None,
    "receipt_url": None,
    "refunded": derived("refunded", (pl.col("amount_refunded") > 0) & (pl.col("amount_refunded") >= pl.col("amount"))),
    "refunds": {
        "object": "list",
        "data": [],
        "has_more": derived("has refunds", pl.col("amount_refunded") > 0),
        "url": path(column("charge_id"), "/v1/charges/", "/refunds"),
    },
    "review": None,
    "shipping": None,
    "source": None,
    "source_transfer": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "status": column("status"),
    "transfer_data": None,
    "transfer_group": None,
}

REFUND: Final = {
    "id": column("refund_id"),
    "object": "refund",
    "amount": column("amount"),
    "balance_transaction": None,
    "charge": column("charge_id", expands="charges"),
    "created": column("created_at"),
    "currency": column("currency"),
    "customer": None,
    "customer_account": None,
    "destination_details": {"card": {"type": "reversal"}, "type": "card"},
    "metadata": {},
    "payment_intent": column("payment_intent_id", expands="payment_intents"),
    "payment_method": None,
    "reason": None,
    "receipt_number": None,
    "source_transfer_reversal": None,
    "status": column("status"),
    "transfer_reversal": None,
}

_MOVEMENT: Final = {
    "id": Slot("movement id", pl.format('"txn_{}_{}"', pl.element(), pl.int_range(pl.len()))),
    "object": "balance_transaction",
    "amount": 0,
    "available_on": Slot("movement available_on", json(pl.element())),
    "balance_type": "payments",
    "created": Slot("movement created", json(pl.element())),
    "currency": "usd",
    "description": None,
    "exchange_rate": None,
    "fee": 0,
    "fee_details": [],
    "net": 0,
    "reporting_category": "dispute",
    "source": None,
    "status": "available",
    "type": "adjustment",
}

_NO_EVIDENCE: Final = dict.fromkeys(
    (
        "access_activity_log",
        "billing_address",
        "cancellation_policy",
        "cancellation_policy_disclosure",
        "cancellation_rebuttal",
        "customer_communication",
        "customer_email_address",
        "customer_name",
        "customer_purchase_ip",
        "customer_signature",
        "duplicate_charge_documentation",
        "duplicate_charge_explanation",
        "duplicate_charge_id",
        "product_description",
        "receipt",
        "refund_policy",
        "refund_policy_disclosure",
        "refund_refusal_explanation",
        "service_date",
        "service_documentation",
        "shipping_address",
        "shipping_carrier",
        "shipping_date",
        "shipping_documentation",
        "shipping_tracking_number",
        "uncategorized_file",
        "uncategorized_text",
    )
)

DISPUTE: Final = {
    "id": column("dispute_id"),
    "object": "dispute",
    "amount": column("amount"),
    "balance_transactions": Slot(
        "balance_transactions",
        pl.concat_str(
            pl.lit("["),
            pl.col("balance_transaction_ats").list.eval(text_of(_MOVEMENT)).list.join(","),
            pl.lit("]"),
        ),
    ),
    "charge": column("charge_id", expands="charges"),
    "created": column("created_at"),
    "currency": column("currency"),
    "enhanced_eligibility_types": [],
    "evidence": {**_NO_EVIDENCE, "enhanced_evidence": {}},
    "evidence_details": {
        "due_by": None,
        "enhanced_eligibility": {},
        "has_evidence": False,
        "past_due": False,
        "submission_count": 0,
    },
    "is_charge_refundable": False,
    "livemode": column("livemode"),
    "metadata": {},
    "payment_intent": column("payment_intent_id", expands="payment_intents"),
    "payment_method_details": {
        "card": {"brand": "visa", "case_type": "chargeback", "network": "visa", "network_reason_code": "10.4"},
        "type": "card",
    },
    "reason": column("reason"),
    "status": column("status"),
}

MANDATE: Final = {
    "id": column("mandate_id"),
    "object": "mandate",
    "customer_acceptance": {"accepted_at": column("accepted_at"), "offline": {}, "type": "offline"},
    "livemode": column("livemode"),
    "multi_use": {},
    "payment_method": column("payment_method_id", expands="payment_methods"),
    "payment_method_details": _details(("bacs_debit", _BACS), ("sepa_debit", {"reference": "", "url": ""})),
    "status": column("status"),
    "type": "multi_use",
}

# What an event is about, where its type does not begin with the object's name.
_ABOUT: Final = {
    "charge.dispute": "dispute",
    "charge.refund": "refund",
    "customer.subscription": "subscription",
    "customer.source": "card",
}


def _about() -> pl.Expr:
    start = pl.col("type").str.extract(r"^([a-z_]+\.[a-z_]+)\.")
    first = pl.col("type").str.extract(r"^([a-z_]+)")
    return pl.coalesce("object_type", start.replace_strict(_ABOUT, default=None, return_dtype=pl.String), first)


EVENT: Final = {
    "id": column("event_id"),
    "object": "event",
    "api_version": "2026-10-28.endive",
    "created": column("created_at"),
    "data": {
        "object": {
            "id": column("object_id"),
            "object": derived("about", _about()),
            "customer": column("customer_id"),
            "livemode": column("livemode"),
        }
    },
    "livemode": column("livemode"),
    "pending_webhooks": 0,
    "request": {"id": None, "idempotency_key": None},
    "type": column("type"),
}
