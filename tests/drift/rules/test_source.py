"""Source: stores and rows that cannot be believed."""

from __future__ import annotations

from datetime import timedelta

from tests.drift.world import READ_AT, make_world


def test_a_broken_store_is_a_finding_of_no_account_and_no_weight() -> None:
    findings = make_world().findings(broken={"stripe": "SRC_PARTIAL", "cf_prod": "SRC_STALE"})

    assert findings.select("account_id", "code", "object_id", "severity", "stores", "owner").rows() == [
        (None, "SRC_PARTIAL", "stripe", "none", ["stripe"], "data-platform"),
        (None, "SRC_STALE", "cf_prod", "none", ["cf_prod"], "data-platform"),
    ]


def test_a_broken_row_is_the_root_of_what_follows_from_it() -> None:
    world = make_world()
    world.row("subs_account", "paid")["updated_by"] = "somebody"
    world.row("accounts", "paid")["status"] = "closed"

    assert world.findings().select("code", "is_root", "caused_by").rows() == [
        ("ACCT_CLOSED_ACTIVE_SUB", False, "SRC_CONTRACT"),
        ("SRC_CONTRACT", True, None),
    ]


def test_a_broken_row_of_no_account_is_named_by_its_key() -> None:
    world = make_world()
    world.row("products", "pro")["interval"] = "fortnight"

    assert world.found() == [(None, "SRC_CONTRACT", "pro")]


def test_an_invoice_sent_without_due_date_is_a_broken_row() -> None:
    world = make_world()
    world.outside_invoice("paid", "bank", at=world.row("invoices", "inv_paid_1")["finalized_at"], due_at=None)

    assert world.found() == [("paid", "SRC_CONTRACT", "inv_bank")]


def test_a_broken_row_that_was_written_a_moment_ago_is_settling() -> None:
    world = make_world()
    world.row("invoices", "inv_paid_1").update(
        currency="xxz", updated_at=READ_AT["billing_prod"] - timedelta(minutes=1)
    )
    world.row("subs_account", "late")["updated_by"] = "somebody"

    assert world.findings().select("account_id", "code", "is_settling").rows() == [
        ("late", "SRC_CONTRACT", False),
        ("paid", "SRC_CONTRACT", True),
    ]
