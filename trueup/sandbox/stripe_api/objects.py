"""The compact form of Stripe's objects: one flat record per object, full objects when they are served.

A fleet of a million objects does not fit in memory as Stripe writes them (2 to 4 kB each), so the sandbox is loaded
with *flat records* and merges each onto its kind's template (`templates/`) when it is requested. The flat record
of a kind has the very columns of the reader's table `stripe_<kind>` in `trueup/contract/schemas.py`, so that what a fleet puts in
is what a sound reader gets out, plus the few in `EXTRAS` that no reader may store or needs. So a Polars frame, a Parquet
file or NDJSON lines with these columns load as they are:

| kind | columns (those of `stripe_<kind>`) and, after the plus, extras |
|---|---|
| customers | customer_id, created_at, livemode, is_deleted, metadata_account_id, default_payment_method_id, default_source_id + email, delinquent |
| payment_methods | payment_method_id, customer_id, type, created_at, exp_month, exp_year + livemode |
| subscriptions | subscription_id, customer_id, status, created_at, ended_at, canceled_at, livemode, collection_method, pause_collection (its behavior), default_payment_method_id, default_source_id, price_ids (list) + currency, current_period_start_at, current_period_end_at, latest_invoice_id |
| invoices | invoice_id, customer_id, subscription_id, status, billing_reason, collection_method, currency, amount_due, amount_paid, amount_remaining, attempt_count, attempted, auto_advance, created_at, due_at, effective_at, finalized_at, paid_at, voided_at, uncollectible_at, uncollectible_reason, next_payment_attempt_at, default_payment_method_id, default_source_id, livemode, metadata_invoice_id, billed_periods (list of `subscription item @ second it begins`) |
| invoice_payments | invoice_payment_id, invoice_id, status, amount_paid, amount_requested, currency, created_at, paid_at, canceled_at, payment_type, payment_intent_id, charge_id, livemode |
| payment_intents | payment_intent_id, customer_id, status, amount, currency, created_at, latest_charge_id, payment_method_id, payment_method_type (null: two types), livemode |
| charges | charge_id, customer_id, payment_intent_id, status, amount, amount_refunded, currency, created_at, payment_method_id, payment_method_type, failure_code, decline_code (outcome.reason), advice_code, network_advice_code, livemode |
| refunds | refund_id, charge_id, payment_intent_id, status, amount, currency, created_at |
| disputes | dispute_id, charge_id, payment_intent_id, status, amount, currency, created_at, balance_transaction_ats (list of instants), livemode + reason |
| credit_notes | credit_note_id, invoice_id, customer_id, status, amount, post_payment_amount, pre_payment_amount, currency, created_at, effective_at, voided_at, livemode |
| mandates | mandate_id, payment_method_id, payment_method_type, status, network_status, accepted_at, livemode |
| events | event_id, type, created_at, object_id, customer_id, livemode + object_type (else from the type: `charge.dispute.closed` is about a dispute) |

Instants are Datetime columns (any unit, UTC) or whole epoch seconds; money is integer minor units. A column that is left
out, or null where Stripe has no null, takes its value from `DEFAULTS`; the id is never defaulted. A column that nobody
knows is refused. Anything a flat record cannot say (a malformed object, above all) is given as a full object: a
dict with an `object` key is kept and served exactly as it is. `builders.py` makes full objects from flat
arguments.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from trueup.contract.schemas import COUNT, FLAG, INSTANT, TABLES, TEXT

KINDS: Final = tuple(name.removeprefix("stripe_") for name in TABLES if name.startswith("stripe_"))

OBJECT_OF: Final = {kind: kind.removesuffix("s") for kind in KINDS}
KIND_OF: Final = {name: kind for kind, name in OBJECT_OF.items()}

ID_OF: Final = {kind: TABLES[f"stripe_{kind}"].key[0] for kind in KINDS}


def _columns(table: str) -> dict[str, pl.DataType]:
    """The columns of the reader's table that are Stripe's; what the reader adds of itself is not."""
    return {name: dtype for name, dtype in TABLES[table].columns.items() if name != "unreadable"}


EXTRAS: Final[dict[str, dict[str, pl.DataType]]] = {
    "customers": {"email": TEXT, "delinquent": FLAG},
    "payment_methods": {"livemode": FLAG},
    "subscriptions": {
        "currency": TEXT,
        "current_period_start_at": INSTANT,
        "current_period_end_at": INSTANT,
        "latest_invoice_id": TEXT,
    },
    "disputes": {"reason": TEXT},
    "events": {"object_type": TEXT},
}

FLAT: Final[dict[str, dict[str, pl.DataType]]] = {
    kind: {**_columns(f"stripe_{kind}"), **EXTRAS.get(kind, {})} for kind in KINDS
}

_EVERYWHERE: Final[dict[str, object]] = {"livemode": True, "currency": "usd", "created_at": 1_760_000_000}

_OF_KIND: Final[dict[str, dict[str, object]]] = {
    "customers": {"is_deleted": False, "delinquent": False},
    "payment_methods": {"type": "card"},
    "subscriptions": {"status": "active", "collection_method": "charge_automatically", "price_ids": ["price_1"]},
    "invoices": {
        "status": "draft",
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "amount_due": 0,
        "amount_paid": 0,
        "attempt_count": 0,
        "attempted": False,
    },
    "invoice_payments": {"status": "open", "amount_requested": 0, "payment_type": "payment_intent"},
    "payment_intents": {"status": "succeeded", "amount": 0},
    "charges": {"status": "succeeded", "amount": 0, "amount_refunded": 0},
    "refunds": {"status": "succeeded", "amount": 0},
    "disputes": {"status": "needs_response", "amount": 0, "reason": "general", "balance_transaction_ats": []},
    "credit_notes": {"status": "issued", "post_payment_amount": 0, "pre_payment_amount": 0},
    "mandates": {"status": "active", "payment_method_type": "card"},
    "events": {"type": "invoice.updated"},
}

DEFAULTS: Final[dict[str, dict[str, object]]] = {
    kind: {column: value for column, value in {**_EVERYWHERE, **_OF_KIND[kind]}.items() if column in FLAT[kind]}
    for kind in KINDS
}


def as_frame(kind: str, records: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Flat records as a frame; columns that no record has are left to `complete`.

    Raises:
        ValueError: a record has a column that the kind does not.
    """
    names = {column: None for record in records for column in record}
    _refuse_unknown(kind, names)
    rows = [{name: _seconds(record.get(name)) for name in names} for record in records]
    schema = {name: _loose(FLAT[kind][name]) for name in names}
    return pl.DataFrame(rows, schema=schema, orient="row")


def complete(kind: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with every column of the kind, of its type, defaults filled in and instants as epoch seconds.

    Raises:
        ValueError: an unknown column, or a record without its id.
    """
    _refuse_unknown(kind, frame.columns)
    if ID_OF[kind] not in frame.columns or frame[ID_OF[kind]].has_nulls():
        raise ValueError(f"every flat record of {kind} needs its {ID_OF[kind]}")
    return frame.select(_completed(kind, name, dtype, frame.schema.get(name)) for name, dtype in FLAT[kind].items())


def _completed(kind: str, name: str, dtype: pl.DataType, given: pl.DataType | None) -> pl.Expr:
    loose = _loose(dtype)
    value = pl.lit(None, dtype=loose) if given is None else _epoch(pl.col(name), given).cast(loose)
    default = DEFAULTS[kind].get(name)
    return (value if default is None else value.fill_null(pl.lit(default, dtype=loose))).alias(name)


def _epoch(column: pl.Expr, given: pl.DataType) -> pl.Expr:
    if isinstance(given, pl.Datetime):
        return column.dt.epoch("s")
    if isinstance(given, pl.List) and isinstance(given.inner, pl.Datetime):
        return column.list.eval(pl.element().dt.epoch("s"))
    return column


def _loose(dtype: pl.DataType) -> pl.DataType:
    """The type a column has on its way to JSON: instants are epoch seconds there."""
    if dtype == INSTANT:
        return COUNT
    return pl.List(COUNT) if dtype == pl.List(INSTANT) else dtype


def _seconds(value: object) -> object:
    if isinstance(value, list):
        return [_seconds(each) for each in value]
    timestamp = getattr(value, "timestamp", None)
    return int(timestamp()) if timestamp is not None else value


def _refuse_unknown(kind: str, names: Mapping[str, object] | Sequence[str]) -> None:
    unknown = sorted(set(names) - FLAT[kind].keys())
    if unknown:
        raise ValueError(
            f"flat records of {kind} have no column {', '.join(unknown)}; they have {', '.join(FLAT[kind])}"
        )
