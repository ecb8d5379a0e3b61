"""What is billed: customers, subscriptions, invoices and credit notes, as templates."""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.sandbox.stripe_api.shapes import Served, Slot, column, derived, json, optional, path, text_of

_PAYMENT_METHOD_OPTIONS: Final = {
    "acss_debit": {},
    "bancontact": {"preferred_language": "en"},
    "card": {"network": None, "request_three_d_secure": None},
    "customer_balance": {"funding_type": None},
    "konbini": {},
    "sepa_debit": {},
    "us_bank_account": {},
    "payto": {},
    "pix": {},
    "upi": {},
}

_SELF: Final = {"type": "self"}


def _metadata(key: str, name: str) -> Slot:
    return optional(f"{name} in metadata", pl.col(name).is_not_null(), {key: column(name)}, otherwise={})


def _list(url: Served, data: object) -> dict[str, object]:
    return {"object": "list", "data": data, "has_more": False, "url": url}


CUSTOMER: Final = {
    "id": column("customer_id"),
    "object": "customer",
    "address": None,
    "balance": 0,
    "created": column("created_at"),
    "currency": "usd",
    "customer_account": None,
    "default_source": column("default_source_id"),
    "delinquent": column("delinquent"),
    "description": None,
    "discount": None,
    "email": column("email"),
    "invoice_prefix": "TRUEUP",
    "invoice_settings": {
        "custom_fields": None,
        "default_payment_method": column("default_payment_method_id", expands="payment_methods"),
        "footer": None,
        "rendering_options": None,
    },
    "livemode": column("livemode"),
    "metadata": _metadata("account_id", "metadata_account_id"),
    "name": None,
    "next_invoice_sequence": 2,
    "phone": None,
    "preferred_locales": [],
    "shipping": None,
    "tax_exempt": "none",
    "test_clock": None,
}

DELETED_CUSTOMER: Final = {"id": column("customer_id"), "object": "customer", "deleted": True}

# One subscription item, from the column that names its price to what all items of the subscription share.
_ITEM_OF_PRICE: Final[dict[str, object]] = {
    "object": "subscription_item",
    "billing_thresholds": None,
    "created": 1_760_000_000,
    "discounts": [],
    "metadata": {},
    "plan": None,
    "quantity": 1,
    "tax_rates": [],
    "id": Slot("item id", pl.concat_str(pl.lit('"si_'), json(pl.element()).str.slice(1))),
    "price": {
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": 1_760_000_000,
        "custom_unit_amount": None,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": "prod_1",
        "recurring": {
            "interval": "month",
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": 2000,
        "unit_amount_decimal": "2000",
        "id": Slot("price id", json(pl.element())),
    },
}

_ITEM_OF_SUBSCRIPTION: Final = {
    "subscription": column("subscription_id"),
    "current_period_start": column("current_period_start_at"),
    "current_period_end": column("current_period_end_at"),
}


def _items() -> Slot:
    """The items of a subscription: one per price, each with what they share in front and behind."""
    front = text_of(_ITEM_OF_SUBSCRIPTION).str.head(-1) + ","
    price = pl.col("price_ids").list.eval(text_of(_ITEM_OF_PRICE).str.slice(1).str.head(-2))
    behind = pl.concat_str(
        pl.lit(',"currency":'), json(pl.col("currency")), pl.lit(',"livemode":'), json(pl.col("livemode")), pl.lit("}}")
    )
    inside = front + price.list.join(behind + "," + front) + behind
    has_items = pl.col("price_ids").list.len() > 0
    return Slot("items", pl.concat_str(pl.lit("["), pl.when(has_items).then(inside).otherwise(pl.lit("")), pl.lit("]")))


SUBSCRIPTION: Final = {
    "id": column("subscription_id"),
    "object": "subscription",
    "application": None,
    "application_fee_percent": None,
    "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
    "billing_cycle_anchor": column("created_at"),
    "billing_cycle_anchor_config": None,
    "billing_mode": {"flexible": None, "type": "classic"},
    "billing_schedules": [],
    "billing_thresholds": None,
    "cancel_at": None,
    "cancel_at_period_end": False,
    "canceled_at": column("canceled_at"),
    "cancellation_details": {"comment": None, "feedback": None, "reason": None},
    "collection_method": column("collection_method"),
    "created": column("created_at"),
    "currency": column("currency"),
    "customer": column("customer_id", expands="customers"),
    "customer_account": None,
    "days_until_due": derived(
        "days_until_due", pl.when(pl.col("collection_method") == "send_invoice").then(pl.lit(30, dtype=pl.Int64))
    ),
    "default_payment_method": column("default_payment_method_id", expands="payment_methods"),
    "default_source": column("default_source_id"),
    "default_tax_rates": [],
    "description": None,
    "discounts": [],
    "ended_at": column("ended_at"),
    "invoice_settings": {
        "account_tax_ids": None,
        "custom_fields": None,
        "description": None,
        "footer": None,
        "issuer": _SELF,
    },
    "items": _list(path(column("subscription_id"), "/v1/subscription_items?subscription=", ""), _items()),
    "latest_invoice": column("latest_invoice_id", expands="invoices"),
    "livemode": column("livemode"),
    "managed_payments": {"enabled": False},
    "metadata": {},
    "next_pending_invoice_item_invoice": None,
    "on_behalf_of": None,
    "pause_collection": optional(
        "pause",
        pl.col("pause_collection").is_not_null(),
        {"behavior": column("pause_collection"), "resumes_at": None},
    ),
    "payment_settings": {
        "payment_method_options": _PAYMENT_METHOD_OPTIONS,
        "payment_method_types": None,
        "save_default_payment_method": None,
    },
    "pending_invoice_item_interval": None,
    "pending_setup_intent": None,
    "pending_update": None,
    "schedule": None,
    "start_date": column("created_at"),
    "status": column("status"),
    "test_clock": None,
    "transfer_data": None,
    "trial_end": None,
    "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    "trial_start": None,
}

_LINE: Final = {
    "object": "line_item",
    "amount": column("amount_due"),
    "currency": column("currency"),
    "description": "One plan",
    "discount_amounts": [],
    "discountable": True,
    "discounts": [],
    "invoice": column("invoice_id"),
    "livemode": column("livemode"),
    "metadata": {},
    "pretax_credit_amounts": [],
    "pricing": None,
    "quantity": 1,
    "quantity_decimal": "1",
    "subscription": column("subscription_id"),
    "subtotal": column("amount_due"),
    "taxes": [],
}

_OF_NO_PERIOD: Final = {
    "id": Slot("line id", pl.concat_str(pl.lit('"il_'), json(pl.col("invoice_id")).str.slice(1))),
    "parent": None,
    "period": {"end": column("created_at"), "start": column("created_at")},
}

# From an element of billed_periods, `subscription item @ second it begins`.
_PERIOD: Final = pl.element().str.split_exact("@", 1)
_BEGINS: Final = Slot("line start", _PERIOD.struct.field("field_1"))

_OF_PERIOD: Final = {
    "id": Slot("line id", pl.concat_str(pl.lit('"il_'), json(pl.element().str.replace("@", "_")).str.slice(1))),
    "parent": {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": False,
            "proration_details": None,
            "subscription": None,
            "subscription_item": Slot("line item", json(_PERIOD.struct.field("field_0"))),
        },
        "type": "subscription_item_details",
    },
    "period": {"end": _BEGINS, "start": _BEGINS},
}


def _lines() -> Slot:
    """The lines of an invoice: one per billed period, or one of no period where none is given."""
    front = text_of(_LINE).str.head(-1) + ","
    periods = pl.col("billed_periods").list.eval(text_of(_OF_PERIOD).str.slice(1))
    inside = front + periods.list.join("," + front)
    alone = front + text_of(_OF_NO_PERIOD).str.slice(1)
    has_periods = (pl.col("billed_periods").list.len() > 0).fill_null(value=False)
    return Slot("lines", pl.concat_str(pl.lit("["), pl.when(has_periods).then(inside).otherwise(alone), pl.lit("]")))


_REMAINING: Final = pl.col("amount_remaining").fill_null(
    pl.when(pl.col("status").is_in(["open", "uncollectible", "draft"]))
    .then(pl.col("amount_due") - pl.col("amount_paid"))
    .otherwise(pl.lit(0, dtype=pl.Int64))
)

INVOICE: Final = {
    "id": column("invoice_id"),
    "object": "invoice",
    "account_country": "US",
    "account_name": None,
    "account_tax_ids": None,
    "amount_due": column("amount_due"),
    "amount_overpaid": 0,
    "amount_paid": column("amount_paid"),
    "amount_remaining": derived("amount_remaining", _REMAINING),
    "amount_shipping": 0,
    "application": None,
    "attempt_count": column("attempt_count"),
    "attempted": column("attempted"),
    "auto_advance": column("auto_advance"),
    "automatic_tax": {
        "disabled_reason": None,
        "enabled": False,
        "liability": None,
        "provider": None,
        "status": None,
    },
    "automatically_finalizes_at": None,
    "billing_reason": column("billing_reason"),
    "collection_method": column("collection_method"),
    "created": column("created_at"),
    "currency": column("currency"),
    "custom_fields": None,
    "customer": column("customer_id", expands="customers"),
    "customer_account": None,
    "customer_address": None,
    "customer_email": None,
    "customer_name": None,
    "customer_phone": None,
    "customer_shipping": None,
    "customer_tax_exempt": "none",
    "customer_tax_ids": [],
    "default_payment_method": column("default_payment_method_id", expands="payment_methods"),
    "default_source": column("default_source_id"),
    "default_tax_rates": [],
    "description": None,
    "discounts": [],
    "due_date": column("due_at"),
    "effective_at": column("effective_at"),
    "ending_balance": None,
    "footer": None,
    "from_invoice": None,
    "hosted_invoice_url": None,
    "invoice_pdf": None,
    "issuer": _SELF,
    "last_finalization_error": None,
    "latest_revision": None,
    "lines": _list(path(column("invoice_id"), "/v1/invoices/", "/lines"), _lines()),
    "livemode": column("livemode"),
    "metadata": _metadata("invoice_id", "metadata_invoice_id"),
    "next_payment_attempt": column("next_payment_attempt_at"),
    "number": None,
    "on_behalf_of": None,
    "parent": optional(
        "parent",
        pl.col("subscription_id").is_not_null(),
        {
            "quote_details": None,
            "subscription_details": {"metadata": None, "subscription": column("subscription_id")},
            "type": "subscription_details",
        },
    ),
    "payment_settings": {
        "default_mandate": None,
        "payment_method_options": _PAYMENT_METHOD_OPTIONS,
        "payment_method_types": None,
    },
    "period_end": column("created_at"),
    "period_start": column("created_at"),
    "post_payment_credit_notes_amount": 0,
    "pre_payment_credit_notes_amount": 0,
    "receipt_number": None,
    "rendering": None,
    "shipping_cost": None,
    "shipping_details": None,
    "starting_balance": 0,
    "statement_descriptor": None,
    "status": column("status"),
    "status_details": optional(
        "status_details",
        pl.col("uncollectible_reason").is_not_null(),
        {"uncollectible": {"reason": column("uncollectible_reason")}},
    ),
    "status_transitions": {
        "finalized_at": column("finalized_at"),
        "marked_uncollectible_at": column("uncollectible_at"),
        "paid_at": column("paid_at"),
        "voided_at": column("voided_at"),
    },
    "subtotal": column("amount_due"),
    "subtotal_excluding_tax": column("amount_due"),
    "test_clock": None,
    "total": column("amount_due"),
    "total_discount_amounts": [],
    "total_excluding_tax": column("amount_due"),
    "total_pretax_credit_amounts": [],
    "total_taxes": [],
    "webhooks_delivered_at": column("created_at"),
}

_NOTED: Final = pl.col("amount").fill_null(pl.col("post_payment_amount") + pl.col("pre_payment_amount"))

_NOTE_TYPE: Final = (
    pl.when((pl.col("post_payment_amount") > 0) & (pl.col("pre_payment_amount") > 0))
    .then(pl.lit("mixed"))
    .when(pl.col("post_payment_amount") > 0)
    .then(pl.lit("post_payment"))
    .otherwise(pl.lit("pre_payment"))
)

CREDIT_NOTE: Final = {
    "id": column("credit_note_id"),
    "object": "credit_note",
    "amount": derived("amount", _NOTED),
    "amount_shipping": 0,
    "created": column("created_at"),
    "currency": column("currency"),
    "customer": column("customer_id", expands="customers"),
    "customer_account": None,
    "customer_balance_transaction": None,
    "discount_amount": 0,
    "discount_amounts": [],
    "effective_at": column("effective_at"),
    "invoice": column("invoice_id", expands="invoices"),
    "lines": _list(path(column("credit_note_id"), "/v1/credit_notes/", "/lines"), []),
    "livemode": column("livemode"),
    "memo": None,
    "metadata": {},
    "number": column("credit_note_id"),
    "out_of_band_amount": None,
    "pdf": "",
    "post_payment_amount": column("post_payment_amount"),
    "pre_payment_amount": column("pre_payment_amount"),
    "pretax_credit_amounts": [],
    "reason": None,
    "refunds": [],
    "shipping_cost": None,
    "status": column("status"),
    "subtotal": derived("amount", _NOTED),
    "subtotal_excluding_tax": derived("amount", _NOTED),
    "total": derived("amount", _NOTED),
    "total_excluding_tax": derived("amount", _NOTED),
    "total_taxes": [],
    "type": derived("note type", _NOTE_TYPE),
    "voided_at": column("voided_at"),
}
