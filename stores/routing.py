"""Routing: in which buckets of the lake a row is needed, so that each bucket can be computed by itself.

An account's bucket is a hash of its id, but its result depends on more than its own rows: on its parent, on accounts
that it shares a customer with, and on what hangs on the same Stripe objects. Such rows are kept in every bucket that
needs them; nearly all rows are needed in one. Stripe's objects carry no account: they find theirs through customer and
mapping, and payments through the invoice or charge they belong to. This is `stores.closure`, for all buckets at once.

The buckets of a row are the bits of one integer: bit b for bucket b, and the bit after the last for bucket -1, which
holds what belongs to no account: customers without a mapping, rows without an account. Union is a bitwise or.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from dunning.schemas import TABLES, Snapshot
from stores.scope import NO_BUCKET, bucket_expr

MASK: Final = "_buckets"
_ID: Final = "_id"

# Where an event's object may be, and under which key.
_OBJECTS: Final = {
    "stripe_invoices": "invoice_id",
    "stripe_charges": "charge_id",
    "stripe_payment_intents": "payment_intent_id",
    "stripe_disputes": "dispute_id",
    "stripe_refunds": "refund_id",
    "stripe_subscriptions": "subscription_id",
    "stripe_credit_notes": "credit_note_id",
    "stripe_invoice_payments": "invoice_payment_id",
    "stripe_payment_methods": "payment_method_id",
    "stripe_mandates": "mandate_id",
}
_NAMES_A_PAYMENT_METHOD: Final = ("stripe_customers", "stripe_subscriptions", "stripe_invoices")


def route(snapshot: Snapshot, bucket_count: int) -> dict[str, pl.LazyFrame]:
    """Every table with a column more, `MASK`: the buckets in which each row is needed (Int64, never 0).

    Args:
        snapshot: all tables of one look; scanned several times, so better files than queries.
        bucket_count: at most `stores.scope.BUCKETS_MAX`.
    """
    own = account_buckets(snapshot, bucket_count).with_columns(_bit(pl.col("bucket"), bucket_count).alias(MASK))
    accounts, customers = _accounts_and_customers(snapshot, own.select(pl.col("account_id").alias(_ID), MASK).lazy())
    customers = _with_orphans(snapshot, customers, bucket_count)
    routed = _stripe(snapshot, accounts, customers) | _databases_of_accounts(snapshot, accounts)
    routed |= _ledger(snapshot, accounts, routed)
    routed["subs_customer"] = _routed(
        snapshot["subs_customer"], {"account_id": accounts, "stripe_customer_id": customers}
    )
    routed["subs_mandate"] = _routed(
        snapshot["subs_mandate"],
        {
            "account_id": accounts,
            "stripe_payment_method_id": _masks(routed["stripe_payment_methods"], "payment_method_id"),
        },
    )
    everywhere = (1 << (bucket_count + 1)) - 1
    routed["products"] = snapshot["products"].with_columns(pl.lit(everywhere, pl.Int64).alias(MASK))
    return {name: _homeless_last(name, frame, bucket_count) for name, frame in routed.items()}


def account_buckets(snapshot: Snapshot, bucket_count: int) -> pl.DataFrame:
    """Every account that a database names anywhere, with its bucket: account_id, bucket (Int32)."""
    frames = [snapshot[name] for name, table in TABLES.items() if "account_id" in table.columns]
    parents = snapshot["accounts"].select(pl.col("parent_account_id").alias("account_id"))
    ids = pl.concat([parents, *(frame.select("account_id") for frame in frames)]).drop_nulls().unique()
    return ids.with_columns(bucket_expr(pl.col("account_id"), bucket_count).alias("bucket")).collect(engine="streaming")


def spread(routed: pl.LazyFrame, bucket_count: int) -> pl.LazyFrame:
    """One row for each bucket that a routed row is needed in, which a column `bucket` (Int32) names."""
    lowest, end = pl.col(MASK).bitwise_trailing_zeros(), 64 - pl.col(MASK).bitwise_leading_zeros()
    bits = routed.with_columns(pl.int_ranges(lowest, end).alias("bucket")).explode("bucket")  # of one bit, one
    is_set = (pl.col(MASK) & pl.lit(2, pl.Int64).pow(pl.col("bucket"))) != 0
    return bits.filter(is_set).with_columns(bucket_of_bit(pl.col("bucket"), bucket_count).alias("bucket"))


def bucket_of_bit(bit: pl.Expr, bucket_count: int) -> pl.Expr:
    """The bucket that a bit stands for."""
    return pl.when(bit == bucket_count).then(NO_BUCKET).otherwise(bit).cast(pl.Int32)


def _bit(bucket: pl.Expr, bucket_count: int) -> pl.Expr:
    place = pl.when(bucket == NO_BUCKET).then(bucket_count).otherwise(bucket)
    return pl.lit(2, pl.Int64).pow(place.cast(pl.UInt32))


def _accounts_and_customers(snapshot: Snapshot, own: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Which buckets need an account's rows, and which a customer's: id, mask."""
    with_children = _or([own, _through(snapshot["accounts"], "account_id", own, "parent_account_id")])
    mapping = snapshot["subs_customer"]
    mapped = _or([_through(mapping, "account_id", with_children, "stripe_customer_id")])
    accounts = _or([with_children, _through(mapping, "stripe_customer_id", mapped, "account_id")])
    tied = _tied(snapshot, with_children)
    return accounts, _or([mapped, tied])


def _tied(snapshot: Snapshot, accounts: pl.LazyFrame) -> pl.LazyFrame:
    """Customers whose invoices or charges the ledger files under these accounts: id, mask."""
    pairs = (("invoices", "stripe_invoices", "invoice_id"), ("charges", "stripe_charges", "charge_id"))
    ties = []
    for ledger, stripe, key in pairs:
        objects = _through(snapshot[ledger], "account_id", accounts, f"stripe_{key}")
        owners = snapshot[stripe].select(pl.col(key).alias(_ID), "customer_id").drop_nulls()
        ties.append(owners.join(objects, on=_ID).select(pl.col("customer_id").alias(_ID), MASK))
    return pl.concat(ties)


def _with_orphans(snapshot: Snapshot, customers: pl.LazyFrame, bucket_count: int) -> pl.LazyFrame:
    """Customers that no mapping of their own mode names belong to bucket -1 as well, whoever else needs them."""
    mapping = snapshot["subs_customer"].select(pl.col("stripe_customer_id").alias("customer_id"), "livemode")
    known = snapshot["stripe_customers"].select("customer_id", "livemode")
    orphans = known.join(mapping, on=["customer_id", "livemode"], how="anti")
    homeless = orphans.select(pl.col("customer_id").alias(_ID), pl.lit(1 << bucket_count, pl.Int64).alias(MASK))
    return _or([customers, homeless])


def _stripe(snapshot: Snapshot, accounts: pl.LazyFrame, customers: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
    by_customer = {"customer_id": customers}
    routed = {name: _routed(snapshot[name], by_customer) for name in ("stripe_customers", "stripe_subscriptions")}
    routed["stripe_invoices"] = _routed(snapshot["stripe_invoices"], by_customer)
    invoices = _masks(routed["stripe_invoices"], "invoice_id")
    payments = _routed(snapshot["stripe_invoice_payments"], {"invoice_id": invoices})
    intents = _routed(
        snapshot["stripe_payment_intents"],
        by_customer | {"payment_intent_id": _masks(payments, "payment_intent_id")},
    )
    by_intent = {"payment_intent_id": _masks(intents, "payment_intent_id")}
    charges = _routed(
        snapshot["stripe_charges"], by_customer | by_intent | {"charge_id": _masks(payments, "charge_id")}
    )
    by_charge = by_intent | {"charge_id": _masks(charges, "charge_id")}
    routed |= {
        "stripe_invoice_payments": payments,
        "stripe_payment_intents": intents,
        "stripe_charges": charges,
        "stripe_refunds": _routed(snapshot["stripe_refunds"], by_charge),
        "stripe_disputes": _routed(snapshot["stripe_disputes"], by_charge),
        "stripe_credit_notes": _routed(snapshot["stripe_credit_notes"], by_customer | {"invoice_id": invoices}),
    }
    routed |= _instruments(snapshot, accounts, customers, routed)
    objects = pl.concat([routed[name].select(pl.col(key).alias(_ID), MASK) for name, key in _OBJECTS.items()])
    of_events = objects.join(snapshot["stripe_events"].select(pl.col("object_id").alias(_ID)), on=_ID, how="semi")
    routed["stripe_events"] = _routed(snapshot["stripe_events"], by_customer | {"object_id": _or([of_events])})
    return routed


def _instruments(
    snapshot: Snapshot, accounts: pl.LazyFrame, customers: pl.LazyFrame, routed: dict[str, pl.LazyFrame]
) -> dict[str, pl.LazyFrame]:
    """Payment methods, by whoever names them, and the mandates on them."""
    ours = snapshot["subs_mandate"]
    namers = [
        routed[name].select(pl.col(column).alias(_ID), MASK)
        for name in _NAMES_A_PAYMENT_METHOD
        for column in ("default_payment_method_id", "default_source_id")
    ]
    named = _or([*namers, _through(ours, "account_id", accounts, "stripe_payment_method_id")])
    methods = _routed(snapshot["stripe_payment_methods"], {"customer_id": customers, "payment_method_id": named})
    by_mandate = _or([_through(ours, "account_id", accounts, "stripe_mandate_id")])
    mandates = _routed(
        snapshot["stripe_mandates"],
        {"mandate_id": by_mandate, "payment_method_id": _masks(methods, "payment_method_id")},
    )
    return {"stripe_payment_methods": methods, "stripe_mandates": mandates}


def _databases_of_accounts(snapshot: Snapshot, accounts: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
    names = ("accounts", "entitlements", "dunning_states", "subs_account", "subs_dunning", "subs_stuck_events")
    return {name: _routed(snapshot[name], {"account_id": accounts}) for name in names}


def _ledger(snapshot: Snapshot, accounts: pl.LazyFrame, routed: dict[str, pl.LazyFrame]) -> dict[str, pl.LazyFrame]:
    by_account = {"account_id": accounts}
    stripe_invoices = _masks(routed["stripe_invoices"], "invoice_id")
    stripe_charges = _masks(routed["stripe_charges"], "charge_id")
    invoices = _routed(snapshot["invoices"], by_account | {"stripe_invoice_id": stripe_invoices})
    by_invoice = {"invoice_id": _masks(invoices, "invoice_id")}
    return {
        "invoices": invoices,
        "charges": _routed(snapshot["charges"], by_account | by_invoice | {"stripe_charge_id": stripe_charges}),
        "schedules": _routed(snapshot["schedules"], by_account | by_invoice),
        "credit_notes": _routed(snapshot["credit_notes"], by_invoice),
    }


def _routed(frame: pl.LazyFrame, by: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
    """The frame with the union of the masks that its columns lead to; 0 where they lead nowhere."""
    union: pl.Expr = pl.lit(0, pl.Int64)
    for number, (column, routes) in enumerate(by.items()):
        mask = f"{MASK}{number}"
        frame = frame.join(routes.rename({_ID: column, MASK: mask}), on=column, how="left", validate="m:1")
        union |= pl.col(mask).fill_null(0)
    return frame.with_columns(union.alias(MASK)).drop(f"{MASK}{number}" for number in range(len(by)))


def _through(frame: pl.LazyFrame, via: str, masks: pl.LazyFrame, to: str) -> pl.LazyFrame:
    """What the frame's column `to` inherits from the masks of its column `via`: id, mask."""
    pairs = frame.select(pl.col(via).alias("_via"), pl.col(to).alias(_ID)).drop_nulls()
    return pairs.join(masks.rename({_ID: "_via"}), on="_via").select(_ID, MASK)


def _masks(frame: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Id and mask by one column of a routed frame, one row per id."""
    return _or([frame.select(pl.col(column).alias(_ID), MASK)])


def _or(pairs: list[pl.LazyFrame]) -> pl.LazyFrame:
    """One row per id, with the union of its masks; worked out now, since several tables lean on it."""
    together = pl.concat(pairs).drop_nulls()
    return together.group_by(_ID).agg(pl.col(MASK).bitwise_or()).collect(engine="streaming").lazy()


def _homeless_last(name: str, frame: pl.LazyFrame, bucket_count: int) -> pl.LazyFrame:
    """A row that leads to no account, or ought to name one and does not, is reported from bucket -1."""
    homeless = pl.lit(1 << bucket_count, pl.Int64)
    is_homeless = pl.col(MASK) == 0
    if "account_id" in TABLES[name].columns:
        is_homeless |= pl.col("account_id").is_null()
    return frame.with_columns(pl.when(is_homeless).then(pl.col(MASK) | homeless).otherwise(MASK).alias(MASK))
