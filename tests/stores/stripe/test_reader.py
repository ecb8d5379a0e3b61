"""The reader of Stripe, through the real SDK over HTTP to the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stores.stripe.stripe_world import START, Flat, read, settings_of, world
from trueup.contract.schemas import TABLES
from trueup.sandbox.stripe_api import Fault, StripeSandbox
from trueup.stores.errors import StoreNotWhole, StoreUnreachable
from trueup.stores.parquet_writer import arrow_schema
from trueup.stores.stripe import STRIPE_TABLES, RetryPolicy, read_malformed

WORLD: Flat = world()


@pytest.fixture(scope="module")
def running() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        sandbox.load(WORLD)
        yield sandbox


@pytest.fixture
def sandbox(running: StripeSandbox) -> Iterator[StripeSandbox]:
    yield running
    running.faults.clear()


@pytest.fixture
def empty() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


def test_the_whole_of_stripe_comes_home(sandbox: StripeSandbox, tmp_path: Path) -> None:
    found = read(sandbox, tmp_path, mandate_ids=["mandate_1", "mandate_none"])

    expected = {f"stripe_{kind}": len(records) for kind, records in WORLD.items()}
    assert {name: frame.height for name, frame in found.items()} == expected
    assert {name: frame[TABLES[name].key[0]].n_unique() for name, frame in found.items()} == expected


def test_what_is_put_in_is_what_comes_home(sandbox: StripeSandbox, tmp_path: Path) -> None:
    found = read(sandbox, tmp_path)

    for kind, records in WORLD.items():
        if kind not in {"mandates", "payment_methods"}:
            frame, key = found[f"stripe_{kind}"], TABLES[f"stripe_{kind}"].key[0]
            columns = [name for name in records[0] if name in frame.columns]
            given = pl.DataFrame([{name: each[name] for name in columns} for each in records])
            instants = [name for name in columns if name.endswith("_at")]
            told = frame.select(columns).with_columns(pl.col(instants).dt.epoch("s"))
            assert told.sort(key).equals(given.sort(key)), kind


def test_files_have_exactly_the_columns_of_the_schema(sandbox: StripeSandbox, tmp_path: Path) -> None:
    read(sandbox, tmp_path)

    for name in STRIPE_TABLES:
        assert pq.read_schema(tmp_path / f"{name}.parquet").equals(arrow_schema(name)), name
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.suffix != ".parquet") == []


def test_no_personal_data_is_kept(sandbox: StripeSandbox, tmp_path: Path) -> None:
    read(sandbox, tmp_path, frozenset({"cus_001"}))
    read(sandbox, tmp_path / "whole")

    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(b"example.com" not in path.read_bytes() for path in written)
    frames = [pl.read_parquet(path) for path in written]
    assert "@" not in str([frame.rows() for frame in frames])


def test_expanded_payment_methods_come_once_each(sandbox: StripeSandbox, tmp_path: Path) -> None:
    found = read(sandbox, tmp_path)["stripe_payment_methods"]

    assert found.row(7, named=True) == {
        "payment_method_id": "pm_007",
        "customer_id": "cus_007",
        "type": "card",
        "created_at": datetime.fromtimestamp(START, UTC),
        "exp_month": 3,
        "exp_year": 2031,
    }


def test_a_payment_method_that_is_not_expanded_has_only_its_id(empty: StripeSandbox, tmp_path: Path) -> None:
    empty.load({"customers": [{"customer_id": "cus_1", "default_payment_method_id": "pm_gone"}]})
    found = read(empty, tmp_path)["stripe_payment_methods"]

    assert found["payment_method_id"].to_list() == ["pm_gone"]
    assert found.drop("payment_method_id").null_count().row(0) == (1,) * 5


def test_deleted_mapped_customers_have_a_row_and_unknown_ones_have_none(empty: StripeSandbox, tmp_path: Path) -> None:
    empty.load({"customers": [{"customer_id": "cus_here"}, {"customer_id": "cus_gone", "is_deleted": True}]})
    mapped = ["cus_here", "cus_gone", "cus_never", "", "..", "cus/odd?x=1"]
    found = read(empty, tmp_path, mapped_customer_ids=mapped)["stripe_customers"]

    assert found.select("customer_id", "is_deleted").rows() == [("cus_gone", True), ("cus_here", False)]


def test_progress_tells_every_row(sandbox: StripeSandbox, tmp_path: Path) -> None:
    told: dict[str, int] = {}

    def on_progress(table: str, rows: int) -> None:
        told[table] = told.get(table, 0) + rows

    found = read(sandbox, tmp_path, on_progress=on_progress)
    assert {name: told.get(name, 0) for name in ("stripe_charges", "stripe_refunds")} == {
        name: found[name].height for name in ("stripe_charges", "stripe_refunds")
    }


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_windows_put_together_are_the_list_however_dates_lie(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    spread = data.draw(st.sampled_from([0, 1, 30, 10_000_000]))
    start = data.draw(st.sampled_from([1, 1_262_304_000, START, 4_000_000_000]))
    dates = data.draw(st.lists(st.integers(0, spread), min_size=250, max_size=520))
    with StripeSandbox() as sandbox:
        sandbox.load({"charges": [{"charge_id": f"ch_{n}", "created_at": start + at} for n, at in enumerate(dates)]})
        found = read(sandbox, tmp_path_factory.mktemp("windows"), settings=settings_of(sandbox))["stripe_charges"]

    assert found["charge_id"].n_unique() == found.height == len(dates)


def test_no_more_than_twice_the_pages_are_asked_for(empty: StripeSandbox, tmp_path: Path) -> None:
    empty.load({"charges": [{"charge_id": f"ch_{n}", "created_at": START + n} for n in range(3_000)]})
    asked: list[int] = []
    read(empty, tmp_path, on_progress=lambda table, _: asked.append(1) if table == "stripe_charges" else None)

    assert len(asked) <= 60


def test_objects_that_arrive_or_vanish_during_the_reading_cost_no_other(empty: StripeSandbox, tmp_path: Path) -> None:
    empty.load({"charges": [{"charge_id": f"ch_{n:04}", "created_at": START + n // 7} for n in range(1_500)]})
    pages = 0

    def disturb(table: str, _: int) -> None:
        nonlocal pages
        if table == "stripe_charges":
            pages += 1
            empty.put("charges", {"charge_id": f"ch_new_{pages}", "created_at": 2_000_000_000 + pages})
            for last in range(1_399, 1_500, 100):
                empty.drop("charges", f"ch_{1_499 - last + pages:04}")

    found = read(empty, tmp_path, on_progress=disturb)["stripe_charges"]["charge_id"]
    stayed = {name for name in (f"ch_{n:04}" for n in range(1_500)) if empty.objects.collections["charges"].get(name)}
    assert found.n_unique() == len(found)
    assert stayed <= set(found)


def test_a_list_goes_on_behind_an_object_that_was_deleted_meanwhile(empty: StripeSandbox, tmp_path: Path) -> None:
    empty.load({"charges": [{"charge_id": f"ch_{n:04}", "created_at": START + n // 150} for n in range(450)]})
    first = True

    def drop_the_last_read(table: str, _: int) -> None:
        nonlocal first
        if table == "stripe_charges" and first:
            first = False
            empty.drop("charges", "ch_0350")

    found = read(
        empty,
        tmp_path,
        settings=settings_of(empty).model_copy(update={"stripe_concurrency": 1}),
        on_progress=drop_the_last_read,
    )["stripe_charges"]["charge_id"]
    assert sorted(found) == [f"ch_{n:04}" for n in range(450)]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", times=1),
        Fault("error", path="/v1/charges", after=1, times=2, status=503),
        Fault("drop", path="/v1/invoices", after=1, times=2),
        Fault("rate_limit", after=5, times=12, retry_after=0.01),
        Fault("slow", times=3, seconds=0.05),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_passing_trouble_is_lived_through(sandbox: StripeSandbox, tmp_path: Path, fault: Fault) -> None:
    sandbox.faults.add(fault)
    patient = RetryPolicy(attempts=20, wait_first_seconds=0.01, wait_max_seconds=0.02, timeout_seconds=20)
    found = read(sandbox, tmp_path, retry_policy=patient)

    assert found["stripe_charges"].height == len(WORLD["charges"])
    assert sandbox.faults.as_dicts()[0]["times_matched"] == fault.times


def test_a_server_that_says_when_to_come_back_is_obeyed(sandbox: StripeSandbox, tmp_path: Path) -> None:
    sandbox.faults.add(Fault("rate_limit", path="/v1/refunds", times=1, retry_after=0.4))
    began = datetime.now(UTC)
    read(sandbox, tmp_path)

    assert (datetime.now(UTC) - began).total_seconds() >= 0.4


@pytest.mark.parametrize("kind", ["error", "drop", "rate_limit"])
def test_a_list_that_breaks_off_in_the_middle_is_no_list(sandbox: StripeSandbox, tmp_path: Path, kind: str) -> None:
    sandbox.faults.add(Fault(kind, path="/v1/charges", after=1, times=None, retry_after=0.01))  # type: ignore[arg-type]

    with pytest.raises(StoreNotWhole) as broken:
        read(sandbox, tmp_path)
    assert (broken.value.store, broken.value.table, broken.value.exit_code) == ("stripe", "charges", 4)
    assert "stripe.charges: the list broke off in the window created" in broken.value.message
    assert "after 1 pages of the list" in broken.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_mandate_that_cannot_be_asked_for_fails_the_reading(sandbox: StripeSandbox, tmp_path: Path) -> None:
    sandbox.faults.add(Fault("error", path="/v1/mandates", times=None))

    with pytest.raises(StoreNotWhole, match="/v1/mandates/mandate_1 could not be read: HTTP 500"):
        read(sandbox, tmp_path, mandate_ids=["mandate_1"])


def test_a_wrong_key_is_told_without_the_key(sandbox: StripeSandbox, tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable) as refused:
        read(sandbox, tmp_path, settings=settings_of(sandbox, key="sk_live_very_secret_indeed"))

    told = f"{refused.value}{refused.value!r}{refused.value.__cause__!r}"
    assert "the key is not taken (HTTP 401)" in told
    assert "secret" not in told


def test_nothing_that_answers_is_told_with_the_address(tmp_path: Path) -> None:
    with StripeSandbox() as gone:
        pass

    with pytest.raises(StoreUnreachable, match=f"nothing answers at {gone.base_url}"):
        read(gone, tmp_path)


def test_the_reader_asks_for_the_pinned_version(sandbox: StripeSandbox, tmp_path: Path) -> None:
    read(sandbox, tmp_path, frozenset({"cus_001"}))
    counts = httpx.get(f"{sandbox.base_url}/_sandbox/counts", auth=(sandbox.api_key, "")).json()

    assert list(counts["versions"]) == ["2026-10-28.endive"]


def test_malformed_objects_become_nulls_that_are_told(empty: StripeSandbox, tmp_path: Path) -> None:
    whole = {"object": "charge", "created": START, "livemode": True}
    empty.put(
        "charges",
        {**whole, "id": "ch_sound", "amount": 5},
        {**whole, "id": "ch_amount", "amount": "five", "livemode": 1, "outcome": "declined"},
        {**whole, "id": "ch_instant", "created": -4},
        {**whole, "id": "ch_far", "created": 10**15, "amount": 2**64 - 1},
        {**whole, "id": "ch_text", "currency": ["usd"], "customer": {"id": 7}},
        {**whole, "amount": 6},
    )
    empty.put("disputes", {"object": "dispute", "id": "dp_1", "balance_transactions": [{"created": "soon"}]})
    found = read(empty, tmp_path)

    amounts = dict(found["stripe_charges"].select("charge_id", "amount").rows())
    assert amounts == {"ch_sound": 5, "ch_amount": None, "ch_instant": None, "ch_far": None, "ch_text": None, None: 6}
    assert read_malformed(tmp_path).sort("key", "column").rows() == [
        ("stripe_charges", None, "charge_id", "has no id"),
        ("stripe_charges", "ch_amount", "advice_code", "is not a text"),
        ("stripe_charges", "ch_amount", "amount", "is not a whole number"),
        ("stripe_charges", "ch_amount", "decline_code", "is not a text"),
        ("stripe_charges", "ch_amount", "livemode", "is not true or false"),
        ("stripe_charges", "ch_amount", "network_advice_code", "is not a text"),
        ("stripe_charges", "ch_far", "amount", "is not a whole number"),
        ("stripe_charges", "ch_far", "created_at", "is not an instant"),
        ("stripe_charges", "ch_instant", "created_at", "is not an instant"),
        ("stripe_charges", "ch_text", "currency", "is not a text"),
        ("stripe_charges", "ch_text", "customer_id", "is not an id or an object with an id"),
        ("stripe_disputes", "dp_1", "balance_transaction_ats", "is not a list of instants"),
    ]
