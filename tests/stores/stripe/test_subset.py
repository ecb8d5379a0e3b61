"""Reading what some customers depend on: the same rows as the whole, filtered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.stores.stripe.stripe_world import START, Flat, read, world
from trueup.sandbox.stripe_api import StripeSandbox
from trueup.stores.stripe.port import Page, StripePort

WORLD: Flat = world()
MINE = frozenset({"cus_000", "cus_007", "cus_020"})
HEEDED = ("created", "starting_after", "ending_before", "limit", "expand", "status")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as running:
        running.load(WORLD)
        yield running


def expected_of(whole: dict[str, pl.DataFrame], customers: frozenset[str]) -> dict[str, pl.DataFrame]:
    """The whole, filtered by what hangs on the customers."""
    mine = pl.col("customer_id").is_in(sorted(customers))
    invoices = whole["stripe_invoices"].filter(mine)
    charges = whole["stripe_charges"].filter(mine)
    by_invoice = pl.col("invoice_id").is_in(invoices["invoice_id"].implode())
    by_charge = pl.col("charge_id").is_in(charges["charge_id"].implode())
    disputes = whole["stripe_disputes"].filter(by_charge)
    closings = pl.col("object_id").is_in(disputes["dispute_id"].implode())
    filters = {
        "stripe_invoice_payments": by_invoice,
        "stripe_refunds": by_charge,
        "stripe_disputes": by_charge,
        "stripe_events": closings,
        "stripe_mandates": pl.lit(value=True),
    }
    return {name: frame.filter(filters.get(name, mine)) for name, frame in whole.items()}


@pytest.mark.parametrize("customers", [MINE, frozenset({"cus_003"}), frozenset(f"cus_{n:03}" for n in range(30))])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_subset_is_the_whole_filtered(
    sandbox: StripeSandbox, tmp_path: Path, customers: frozenset[str], *, is_known: bool
) -> None:
    whole = read(sandbox, tmp_path / "whole", mandate_ids=["mandate_1"])
    known = {name: frame.height * 1_000 for name, frame in whole.items()} if is_known else None
    subset = read(sandbox, tmp_path / "subset", customers, mandate_ids=["mandate_1"], rows_last_read=known)

    for name, frame in expected_of(whole, customers).items():
        assert subset[name].equals(frame), name


def test_a_subset_of_a_long_list_asks_little(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []
    with StripeSandbox() as sandbox:
        sandbox.load(world(customers=300, each=9))
        read(sandbox, tmp_path, frozenset({"cus_001"}), on_progress=lambda table, rows: asked.append((table, rows)))

    assert sum(rows for table, rows in asked if table == "stripe_charges") == 9
    assert len(asked) < 60


def test_what_our_ledger_ties_to_the_accounts_is_read_whosever_it_is(sandbox: StripeSandbox, tmp_path: Path) -> None:
    subset = read(sandbox, tmp_path, frozenset({"cus_000"}), stripe_ids=["in_005_1", "ch_006_2", "pm_001", "in_none"])

    assert "in_005_1" in subset["stripe_invoices"]["invoice_id"]
    assert "pi_005_1" in subset["stripe_payment_intents"]["payment_intent_id"]
    assert {"ch_005_1", "ch_006_2"} <= set(subset["stripe_charges"]["charge_id"])
    assert subset["stripe_customers"]["customer_id"].to_list() == ["cus_000", "cus_005", "cus_006"]
    assert "sub_005" in subset["stripe_subscriptions"]["subscription_id"]


def test_a_subset_without_customers_in_stripe_is_empty(sandbox: StripeSandbox, tmp_path: Path) -> None:
    subset = read(sandbox, tmp_path, frozenset({"cus_none"}))

    assert {name: frame.height for name, frame in subset.items() if frame.height} == {}


def test_a_mapped_customer_that_was_deleted_is_in_the_subset(tmp_path: Path) -> None:
    with StripeSandbox() as sandbox:
        sandbox.load({"customers": [{"customer_id": "cus_gone", "is_deleted": True, "created_at": START}]})
        found = read(sandbox, tmp_path, frozenset({"cus_gone"}))["stripe_customers"]

    assert found.select("customer_id", "is_deleted", "created_at").rows() == [("cus_gone", True, None)]


def test_a_server_that_heeds_no_filter_is_read_whole_and_not_once_for_every_value(
    sandbox: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(sandbox, tmp_path / "whole", mandate_ids=["mandate_1"])
    known = {name: frame.height * 1_000 for name, frame in whole.items()}
    asked: list[str] = []
    page = StripePort.page

    def heeding_no_filter(port: StripePort, path: str, params: dict[str, Any], **_: bool) -> Page:
        asked.append(path)
        return page(port, path, {name: value for name, value in params.items() if name in HEEDED})

    monkeypatch.setattr(StripePort, "page", heeding_no_filter)
    subset = read(sandbox, tmp_path / "subset", MINE, mandate_ids=["mandate_1"], rows_last_read=known)

    for name, frame in expected_of(whole, MINE).items():
        assert subset[name].equals(frame), name
    assert max(Counter(asked).values()) < 20
