"""Identity: each test spoils one thing about who is whose, and finds that and nothing else."""

from __future__ import annotations

import pytest

from tests.drift.world import LONG_AGO, NOW, World, days_ago, make_world


def test_a_consistent_fleet_has_no_finding() -> None:
    assert make_world().found() == []


def test_invoices_in_stripe_without_a_mapping_are_missing_one() -> None:
    world = make_world()
    world.drop("subs_customer", account_id="paid")
    world.drop("stripe_subscriptions", customer_id="cus_paid")

    assert world.found() == [("paid", "MAP_MISSING", None)]


def test_a_mapping_in_the_other_mode_is_no_mapping() -> None:
    world = make_world()
    world.row("subs_customer", "paid")["livemode"] = False
    world.drop("stripe_subscriptions", customer_id="cus_paid")

    assert world.found() == [("paid", "MAP_MISSING", None)]


def test_void_invoices_and_invoices_outside_stripe_need_no_mapping() -> None:
    world = make_world()
    world.account("bank")
    world.outside_invoice("bank", "bank_1", at=days_ago(1))
    world.account("void")
    world.invoice("void", "void_1", at=days_ago(3))
    world.row("invoices", "inv_void_1").update(status="void", voided_at=days_ago(2))
    world.row("stripe_invoices", "in_void_1").update(status="void", voided_at=days_ago(2))

    assert world.found() == []


def test_a_mapping_that_cannot_be_read_is_not_a_missing_one() -> None:
    world = make_world()
    world.row("subs_customer", "paid")["stripe_customer_id"] = None

    codes = [code for _, code, _ in world.found()]

    assert "MAP_MISSING" not in codes
    assert "SRC_CONTRACT" in codes


@pytest.mark.parametrize("how", ["deleted", "absent"])
def test_a_mapped_customer_that_is_gone_dangles(how: str) -> None:
    world = make_world()
    world.drop("stripe_subscriptions", customer_id="cus_paid")
    if how == "deleted":
        world.row("stripe_customers", "cus_paid").update(is_deleted=True, metadata_account_id=None)
    else:
        world.drop("stripe_customers", customer_id="cus_paid")

    assert world.found() == [("paid", "MAP_DANGLING", "cus_paid")]


@pytest.mark.parametrize(("is_live", "severity"), [(True, "S1"), (False, "S3")])
def test_two_customers_of_one_account_are_wrong_now_if_both_are_collected_from(is_live: bool, severity: str) -> None:  # noqa: FBT001
    world = make_world()
    world.customer("paid", "cus_second")
    if is_live:
        world.subscription("cus_second", price="price_other")

    findings = world.findings()

    assert findings.select("account_id", "code", "object_id", "severity").rows() == [
        ("paid", "MAP_DUPLICATE_CUSTOMER", None, severity)
    ]


def test_the_same_customer_mapped_twice_is_one_customer() -> None:
    world = make_world()
    world.tables["subs_customer"].append({**world.row("subs_customer", "paid"), "id": 99, "created_by": "A2"})

    assert world.found() == []


def test_a_shared_customer_is_found_at_each_of_its_accounts() -> None:
    world = make_world()
    world.row("stripe_customers", "cus_paid")["metadata_account_id"] = None
    world.account("friend")
    world.tables["subs_customer"].append({**world.row("subs_customer", "paid"), "id": 99, "account_id": "friend"})

    assert world.found() == [
        ("friend", "MAP_SHARED_CUSTOMER", "cus_paid"),
        ("paid", "MAP_SHARED_CUSTOMER", "cus_paid"),
    ]


@pytest.mark.parametrize("why", ["subscription", "invoice"])
def test_a_customer_whom_nobody_maps_to_is_an_orphan_if_collected_from(why: str) -> None:
    world = make_world()
    world.add("stripe_customers", customer_id="cus_lost", created_at=LONG_AGO, livemode=True, is_deleted=False)
    if why == "subscription":
        world.subscription("cus_lost")
    else:
        world.invoice("paid", "lost", at=days_ago(1), customer="cus_lost")
        world.drop("invoices", invoice_id="inv_lost")

    assert world.found() == [(None, "MAP_ORPHAN_CUSTOMER", "cus_lost")]


def test_an_orphan_that_owes_and_subscribes_nothing_is_left_alone() -> None:
    world = make_world()
    world.add("stripe_customers", customer_id="cus_lost", created_at=LONG_AGO, livemode=True, is_deleted=False)
    world.subscription("cus_lost", status="canceled")
    world.subscription("cus_lost", "sub_test", livemode=False)

    assert world.found() == []


@pytest.mark.parametrize(("named", "is_found"), [("late", True), (None, False), ("", False)])
def test_metadata_that_names_another_account_is_a_mismatch(named: str | None, is_found: bool) -> None:  # noqa: FBT001
    world = make_world()
    world.row("stripe_customers", "cus_paid")["metadata_account_id"] = named

    assert world.found() == ([("paid", "MAP_METADATA_MISMATCH", "cus_paid")] if is_found else [])


def test_a_closed_account_with_a_live_subscription_is_found() -> None:
    world = make_world()
    world.row("accounts", "paid")["status"] = "closed"

    assert world.found() == [("paid", "ACCT_CLOSED_ACTIVE_SUB", None)]


def test_a_mapped_account_that_cf_prod_does_not_know_is_found_if_it_subscribes() -> None:
    world = make_world()
    for table in ("accounts", "entitlements", "subs_account"):
        world.drop(table, account_id="paid")

    assert world.found() == [("paid", "ACCT_CLOSED_ACTIVE_SUB", None)]


def test_an_account_without_flags_has_no_flag_finding() -> None:
    world = make_world()
    world.drop("subs_account", account_id="paid")

    assert world.found() == [("paid", "ACCT_FLAGS_MISSING", None)]


def with_child(world: World, **values: object) -> World:
    world.account("child", parent_account_id="paid", **values)
    return world


def test_a_child_takes_its_parents_result_and_agrees() -> None:
    world = make_world()
    world.account("child", parent_account_id="late")

    assert world.settle().found() == []
    assert world.row("subs_dunning", "child")["driver_invoice_id"] == "in_late_2"


def test_a_childs_own_debt_is_found_and_does_not_count() -> None:
    world = with_child(make_world())
    world.outside_invoice("child", "child_1", at=days_ago(30))

    assert world.found() == [("child", "ACCT_CHILD_HAS_DEBT", "inv_child_1")]


def test_a_childs_invoice_that_is_not_late_is_left_alone() -> None:
    world = with_child(make_world())
    world.outside_invoice("child", "child_1", at=NOW)

    assert world.found() == []
