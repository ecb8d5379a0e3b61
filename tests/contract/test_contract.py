"""The sweep finds every broken row by its key, keeps what can be used, and crashes on nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.anything import NOON, any_snapshot, snapshot_of
from trueup.contract import VIOLATIONS, sweep
from trueup.contract.masking import describe_value
from trueup.contract.schemas import TABLES, Snapshot

FUTURE = NOON + timedelta(days=2)

INVOICE = {
    "invoice_id": "inv_1",
    "account_id": "acct_1",
    "stripe_invoice_id": "in_1",
    "billing_reason": "subscription_cycle",
    "status": "open",
    "collection_method": "charge_automatically",
    "currency": "usd",
    "amount_due": 1000,
    "amount_paid": 0,
    "attempt_count": 1,
    "effective_at": NOON - timedelta(days=9),
    "finalized_at": NOON - timedelta(days=9),
}
ACCOUNT = {"account_id": "acct_1", "currency": "usd", "timezone": "Europe/Paris", "status": "active"}
FLAGS = {"account_id": "acct_1", "bad_debt": False, "dunning_exempt": False, "updated_by": "A1"}
MAPPING = {
    "id": 1,
    "account_id": "acct_1",
    "stripe_customer_id": "cus_1",
    "livemode": True,
    "created_by": "A1",
}
STRIPE_INVOICE = {
    "invoice_id": "in_1",
    "customer_id": "cus_1",
    "status": "open",
    "collection_method": "charge_automatically",
    "currency": "usd",
    "amount_due": 1000,
    "amount_paid": 0,
    "amount_remaining": 1000,
    "livemode": True,
}


def snapshot(**rows: list[dict[str, Any]]) -> Snapshot:
    return snapshot_of(rows)


def violations_of(**rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    violations = sweep(snapshot(**rows), as_of=NOON).violations
    return violations.select("table", "key", "account_id", "column", "observed").rows()


def test_a_sound_snapshot_has_no_violation_and_loses_no_row() -> None:
    given_rows = snapshot(
        accounts=[ACCOUNT],
        subs_account=[FLAGS],
        subs_customer=[MAPPING],
        invoices=[INVOICE],
        stripe_invoices=[STRIPE_INVOICE],
    )

    swept = sweep(given_rows, as_of=NOON)

    assert swept.violations.is_empty()
    assert dict(swept.violations.schema) == VIOLATIONS
    for name, frame in swept.frames.items():
        assert frame.collect().equals(given_rows[name].collect()), name


def test_an_empty_snapshot_is_sound() -> None:
    assert sweep(snapshot()).violations.is_empty()


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "observed"),
    [
        ("invoices", INVOICE, "status", "opened", describe_value("opened")),
        ("invoices", INVOICE, "status", None, None),
        ("invoices", INVOICE, "billing_reason", "whim", describe_value("whim")),
        ("invoices", INVOICE, "uncollectible_reason", "bored", describe_value("bored")),
        ("invoices", INVOICE, "collection_method", "pigeon", describe_value("pigeon")),
        ("invoices", INVOICE, "currency", "xxz", describe_value("xxz")),
        ("invoices", INVOICE, "currency", "USD", describe_value("USD")),
        ("invoices", INVOICE, "amount_due", -1, "-1"),
        ("invoices", INVOICE, "amount_paid", -(2**63), str(-(2**63))),
        ("invoices", INVOICE, "amount_due", 2**63 - 1, str(2**63 - 1)),
        ("invoices", INVOICE, "account_id", None, None),
        ("invoices", INVOICE, "finalized_at", datetime(1969, 12, 31, tzinfo=UTC), None),
        ("invoices", INVOICE, "due_at", datetime(2999, 1, 1, tzinfo=UTC), None),
        ("accounts", ACCOUNT, "timezone", "Mars/Olympus", describe_value("Mars/Olympus")),
        ("accounts", ACCOUNT, "timezone", "Factory", describe_value("Factory")),
        ("accounts", ACCOUNT, "currency", "zzz", describe_value("zzz")),
        ("accounts", ACCOUNT, "status", "asleep", describe_value("asleep")),
        ("subs_account", FLAGS, "updated_by", "A9", describe_value("A9")),
        ("subs_account", FLAGS, "bad_debt", None, None),
        ("subs_account", FLAGS, "hold_until", datetime(9999, 12, 31, tzinfo=UTC), None),
        ("subs_customer", MAPPING, "created_by", "B2", describe_value("B2")),
        ("stripe_invoices", STRIPE_INVOICE, "status", "deleted", describe_value("deleted")),
        ("stripe_invoices", STRIPE_INVOICE, "amount_remaining", -5, "-5"),
    ],
)
def test_each_broken_value_is_one_violation_named_by_key_and_column(
    table: str, row: dict[str, Any], column: str, value: object, observed: str | None
) -> None:
    rows: dict[str, list[dict[str, Any]]] = {"subs_customer": [MAPPING]}
    rows[table] = [{**row, column: value}]

    found = violations_of(**rows)

    ((found_table, key, account, found_column, shown),) = found
    assert (found_table, found_column) == (table, column)
    assert key == str(row[TABLES[table].key[0]])
    assert account == (None if column == "account_id" else "acct_1")
    if observed is not None:
        assert shown == observed


def test_a_broken_invoice_leaves_its_sound_neighbour_in() -> None:
    rows = [INVOICE, {**INVOICE, "invoice_id": "inv_2", "amount_due": -3}]

    swept = sweep(snapshot(invoices=rows), as_of=NOON)

    assert swept.frames["invoices"].collect()["invoice_id"].to_list() == ["inv_1"]
    assert swept.violations["key"].to_list() == ["inv_2"]


def test_an_account_with_a_bad_timezone_stays_without_it() -> None:
    swept = sweep(snapshot(accounts=[{**ACCOUNT, "timezone": "Mars/Olympus"}]), as_of=NOON)

    assert swept.frames["accounts"].select("account_id", "timezone", "status").collect().rows() == [
        ("acct_1", None, "active")
    ]


def test_a_mapping_outlives_a_misspelt_writer() -> None:
    swept = sweep(snapshot(subs_customer=[{**MAPPING, "created_by": "a1"}]), as_of=NOON)

    assert swept.frames["subs_customer"].select("stripe_customer_id", "created_by").collect().rows() == [
        ("cus_1", None)
    ]


def test_a_row_without_key_is_a_fault_and_goes() -> None:
    swept = sweep(snapshot(accounts=[{**ACCOUNT, "account_id": None}, ACCOUNT]), as_of=NOON)

    assert swept.frames["accounts"].collect()["account_id"].to_list() == ["acct_1"]
    assert swept.violations.select("table", "key", "rule").rows() == [("accounts", None, "key_missing")]


@pytest.mark.parametrize("status", ["open", "uncollectible"])
def test_a_sent_invoice_without_due_date_is_a_fault_and_stays(status: str) -> None:
    row = {
        **STRIPE_INVOICE,
        "status": status,
        "collection_method": "send_invoice",
        "finalized_at": NOON - timedelta(days=3),
    }
    row |= {"uncollectible_at": NOON - timedelta(days=1)} if status == "uncollectible" else {}

    swept = sweep(snapshot(stripe_invoices=[row], subs_customer=[MAPPING]), as_of=NOON)

    assert swept.violations.select("key", "account_id", "column", "is_needed").rows() == [
        ("in_1", "acct_1", "due_at", True)
    ]
    assert swept.frames["stripe_invoices"].collect().height == 1


def test_a_sent_invoice_needs_no_due_date_until_it_is_finalized() -> None:
    row = {**STRIPE_INVOICE, "collection_method": "send_invoice", "finalized_at": FUTURE}

    assert sweep(snapshot(stripe_invoices=[row]), as_of=NOON).violations.is_empty()
    assert sweep(snapshot(stripe_invoices=[row]), as_of=FUTURE).violations.height == 1


def test_equal_rows_of_one_key_leave_one_and_differing_ones_leave_none() -> None:
    counterpart = {**INVOICE, "version": 7}
    other = {**INVOICE, "invoice_id": "inv_2"}

    swept = sweep(snapshot(invoices=[INVOICE, counterpart, other, {**other, "amount_due": 5}]), as_of=NOON)

    assert swept.frames["invoices"].collect()["invoice_id"].to_list() == ["inv_1"]
    assert swept.violations.select("key", "rule").unique().sort("key").rows() == [
        ("inv_1", "duplicate_key"),
        ("inv_2", "duplicate_key"),
    ]


def test_an_account_that_is_there_twice_stays_with_what_its_rows_agree_on() -> None:
    swept = sweep(snapshot(accounts=[ACCOUNT, {**ACCOUNT, "status": "closed"}]), as_of=NOON)

    assert swept.frames["accounts"].select("account_id", "currency", "status").collect().rows() == [
        ("acct_1", "usd", None)
    ]


def test_the_same_event_twice_is_no_fault_and_is_read_once() -> None:
    event = {"event_id": "evt_1", "type": "invoice.paid", "created_at": NOON}

    swept = sweep(snapshot(stripe_events=[event, event]), as_of=NOON)

    assert swept.violations.is_empty()
    assert swept.frames["stripe_events"].collect().height == 1


def test_an_unreadable_value_is_named_by_its_column() -> None:
    swept = sweep(snapshot(subs_account=[{**FLAGS, "unreadable": "hold_until,hold_from"}]), as_of=NOON)

    assert swept.violations["column"].to_list() == ["hold_from", "hold_until"]
    assert swept.frames["subs_account"].collect().height == 1


def test_a_row_that_came_later_is_not_a_fault_yet() -> None:
    row = {**INVOICE, "status": "opened", "effective_at": FUTURE}

    assert sweep(snapshot(invoices=[row]), as_of=NOON).violations.is_empty()
    assert sweep(snapshot(invoices=[row])).violations.height == 1


def test_a_value_that_its_column_may_not_hold_leaves_as_a_class_and_a_hash() -> None:
    found = violations_of(
        invoices=[
            {**INVOICE, "status": "jo@example.com"},
            {**INVOICE, "invoice_id": "inv_2", "status": "4242 4242 4242 4242"},
            {**INVOICE, "invoice_id": "inv_3", "status": "x" * 500},
        ]
    )

    assert [row[-1] for row in found] == [
        "(an e-mail address, 14 characters, #f4e19d)",
        "(a card-like number, 19 characters, #9219e0)",
        "(a text, 500 characters, #c38c2b)",
    ]


def test_a_stripe_object_is_attributed_to_every_account_of_its_customer_in_the_policys_mode() -> None:
    mappings = [
        MAPPING,
        {**MAPPING, "id": 2, "account_id": "acct_2"},
        {**MAPPING, "id": 3, "account_id": "acct_test", "livemode": False},
    ]

    found = violations_of(subs_customer=mappings, stripe_invoices=[{**STRIPE_INVOICE, "currency": "xxz"}])

    assert [row[2] for row in found] == ["acct_1", "acct_2"]


def test_violations_find_their_account_and_invoice_through_what_they_belong_to() -> None:
    payment = {"invoice_payment_id": "inpay_1", "invoice_id": "in_1", "status": "lost"}
    charge = {
        "charge_id": "ch_1",
        "customer_id": "cus_1",
        "status": "succeeded",
        "amount": 5,
        "currency": "usd",
        "created_at": NOON,
    }
    refund = {"refund_id": "re_1", "charge_id": "ch_1", "status": "succeeded", "amount": -5, "created_at": NOON}
    note = {"credit_note_id": "cn_1", "invoice_id": "inv_1", "amount": -1}

    violations = sweep(
        snapshot(
            subs_customer=[MAPPING],
            invoices=[INVOICE],
            stripe_invoices=[STRIPE_INVOICE],
            stripe_invoice_payments=[payment],
            stripe_charges=[charge],
            stripe_refunds=[refund],
            credit_notes=[note],
        ),
        as_of=NOON,
    ).violations

    assert violations.select("table", "account_id", "object_id", "invoice_id", "is_needed").rows() == [
        ("credit_notes", "acct_1", "cn_1", "in_1", False),
        ("stripe_invoice_payments", "acct_1", "inpay_1", "in_1", True),
        ("stripe_refunds", "acct_1", "re_1", None, True),
    ]


@pytest.mark.parametrize(("stripe_invoice_id", "is_needed"), [("in_1", False), (None, True)])
def test_a_bad_ledger_row_is_needed_only_where_stripe_does_not_collect(
    stripe_invoice_id: str | None,
    is_needed: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    row = {**INVOICE, "stripe_invoice_id": stripe_invoice_id, "amount_due": -1}

    violations = sweep(snapshot(invoices=[row]), as_of=NOON).violations

    assert violations.select("object_id", "is_needed").rows() == [(stripe_invoice_id or "inv_1", is_needed)]


# Anything at all ----------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(any_snapshot(), st.sampled_from([None, NOON]))
def test_no_row_whatever_it_holds_stops_the_sweep_and_what_is_left_is_sound(
    given_rows: Snapshot, as_of: datetime | None
) -> None:
    swept = sweep(given_rows, as_of=as_of)

    again = sweep(swept.frames, as_of=as_of)
    for name, frame in swept.frames.items():
        left = frame.collect()
        assert dict(left.schema) == dict(TABLES[name].schema)
        assert left.select(TABLES[name].key).drop_nulls().is_unique().all()
        assert left.height == left.select(TABLES[name].key).drop_nulls().height
    remaining = again.violations.filter(
        ~pl.col("rule").is_in(["value_missing", "unreadable_value", "unknown_value"]),
        pl.col("column") != "due_at",
    )
    assert remaining.is_empty()
    assert dict(swept.violations.schema) == VIOLATIONS
