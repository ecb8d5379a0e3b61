"""The lake: every past run as it was, each bucket whole in itself, and no half of a run ever seen."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from trueup.contract.schemas import STORES, TABLES, Snapshot, empty
from trueup.stores.errors import StoreNotWhole, TrueupError
from trueup.stores.lake.tables import Lake, RunUnknown
from trueup.stores.scope import Scope, bucket_of

BUCKETS = 4
TUESDAY = datetime(2026, 3, 3, 12, tzinfo=UTC)


def snapshot(**tables: list[Mapping[str, Any]]) -> Snapshot:
    """All tables; those not given are empty, columns not given are null."""
    return {
        name: pl.DataFrame(tables[name], schema=table.schema).lazy() if name in tables else empty(name).lazy()
        for name, table in TABLES.items()
    }


def accounts(*ids: str, **columns: Any) -> list[dict[str, Any]]:
    return [{"account_id": account, **columns} for account in ids]


def observed(at: datetime) -> dict[str, datetime]:
    return dict.fromkeys(STORES, at)


def keep(lake: Lake, run_id: str, frames: Snapshot, scope: Scope | None = None, at: datetime = TUESDAY) -> None:
    lake.commit(run_id, frames, observed(at), scope or Scope.fleet(), BUCKETS, now=at)


def ids(frames: Snapshot, name: str) -> list[str]:
    return sorted(frames[name].select(TABLES[name].key[0]).collect().to_series().to_list())


def in_bucket(bucket: int, count: int = 1) -> list[str]:
    """Account ids whose home is this bucket."""
    named = (f"acct_{number}" for number in range(10_000))
    return [account for account in named if bucket_of(account, BUCKETS) == bucket][:count]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_a_run_is_read_back_as_it_was_kept(lake: Lake) -> None:
    far = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    frames = snapshot(
        accounts=[
            {"account_id": "a", "created_at": datetime(1, 1, 1, tzinfo=UTC), "version": 2**62},
            {"account_id": "ü☃'\"", "created_at": far, "unreadable": "updated_at"},
            {"account_id": None, "timezone": ""},
        ],
        products=[{"plan_code": "p", "amount": -(2**63), "features": ["a", None]}, {"plan_code": "q", "features": []}],
        stripe_disputes=[{"dispute_id": "du", "balance_transaction_ats": [TUESDAY, far]}],
    )
    keep(lake, "run", frames)

    for name, kept in lake.open("run").items():
        assert kept.collect_schema() == TABLES[name].schema
        assert_frame_equal(kept.collect(), frames[name].collect(), check_row_order=False)


def test_rows_that_are_twice_in_a_store_are_twice_in_the_lake(lake: Lake) -> None:
    keep(lake, "run", snapshot(stripe_invoices=[{"invoice_id": "in_1"}, {"invoice_id": "in_1"}, {"invoice_id": None}]))

    assert lake.open("run")["stripe_invoices"].collect().height == 3


def test_a_bucket_holds_its_accounts_and_what_they_depend_on_and_no_more(lake: Lake) -> None:
    child, other = in_bucket(0, 2)
    parent, sharer, stranger = in_bucket(1, 3)
    frames = snapshot(
        accounts=[*accounts(child, parent_account_id=parent), *accounts(other, parent, sharer, stranger)],
        invoices=[
            {"invoice_id": "of_parent", "account_id": parent},
            {"invoice_id": "of_sharer", "account_id": sharer},
            {"invoice_id": "of_stranger", "account_id": stranger},
            {"invoice_id": "misfiled", "account_id": stranger, "stripe_invoice_id": "in_shared"},
        ],
        charges=[{"charge_id": "of_misfiled", "account_id": None, "invoice_id": "misfiled"}],
        credit_notes=[{"credit_note_id": "of_misfiled", "invoice_id": "misfiled"}],
        subs_customer=[
            {"id": 1, "account_id": parent, "stripe_customer_id": "cus_shared"},
            {"id": 2, "account_id": sharer, "stripe_customer_id": "cus_shared"},
            {"id": 3, "account_id": stranger, "stripe_customer_id": "cus_stranger"},
        ],
        stripe_customers=[{"customer_id": "cus_shared"}, {"customer_id": "cus_stranger"}],
        stripe_invoices=[
            {"invoice_id": "in_shared", "customer_id": "cus_shared"},
            {"invoice_id": "in_stranger", "customer_id": "cus_stranger"},
        ],
    )
    keep(lake, "run", frames)
    mine = lake.open("run", [0])

    assert ids(mine, "accounts") == sorted([child, other, parent, sharer])
    assert ids(mine, "invoices") == ["misfiled", "of_parent", "of_sharer"]
    assert ids(mine, "charges") == ["of_misfiled"]
    assert ids(mine, "credit_notes") == ["of_misfiled"]
    assert ids(mine, "stripe_customers") == ["cus_shared"]
    assert ids(mine, "stripe_invoices") == ["in_shared"]
    assert lake.home_accounts("run", [0]).collect()["account_id"].sort().to_list() == sorted([child, other])


def test_payments_find_their_bucket_through_invoice_charge_and_intent(lake: Lake) -> None:
    (account,) = in_bucket(2)
    at = {"created_at": TUESDAY}
    frames = snapshot(
        accounts=accounts(account),
        subs_customer=[{"id": 1, "account_id": account, "stripe_customer_id": "cus", "livemode": True}],
        subs_mandate=[{"mandate_id": "m", "account_id": account, "stripe_mandate_id": "mandate_1"}],
        stripe_customers=[{"customer_id": "cus", "livemode": True, "default_payment_method_id": "pm_detached"}],
        stripe_invoices=[{"invoice_id": "in", "customer_id": "cus"}],
        stripe_invoice_payments=[
            {"invoice_payment_id": "inpay_1", "invoice_id": "in", "payment_intent_id": "pi_guest"},
            {"invoice_payment_id": "inpay_2", "invoice_id": "in", "charge_id": "ch_guest"},
        ],
        stripe_payment_intents=[{"payment_intent_id": "pi_guest"}],
        stripe_charges=[{"charge_id": "ch_guest"}, {"charge_id": "ch_of_intent", "payment_intent_id": "pi_guest"}],
        stripe_refunds=[
            {"refund_id": "re_1", "charge_id": "ch_guest"},
            {"refund_id": "re_2", "payment_intent_id": "pi_guest"},
        ],
        stripe_disputes=[{"dispute_id": "du", "charge_id": "ch_of_intent"}],
        stripe_credit_notes=[{"credit_note_id": "cn", "invoice_id": "in"}],
        stripe_payment_methods=[{"payment_method_id": "pm_detached"}],
        stripe_mandates=[{"mandate_id": "mandate_1"}],
        stripe_events=[
            {"event_id": "evt_1", "object_id": "du", **at},
            {"event_id": "evt_2", "object_id": "elsewhere", **at},
        ],
    )
    keep(lake, "run", frames)
    mine, nobodys = lake.open("run", [2]), lake.open("run", [-1])

    for name in (name for name, table in TABLES.items() if table.store == "stripe" and name != "stripe_events"):
        assert ids(mine, name) == ids(frames, name)
        assert ids(nobodys, name) == []
    assert ids(mine, "stripe_events") == ["evt_1"]
    assert ids(nobodys, "stripe_events") == ["evt_2"]


def test_what_belongs_to_no_account_is_in_bucket_minus_one(lake: Lake) -> None:
    (account,) = in_bucket(0)
    frames = snapshot(
        accounts=accounts(account),
        invoices=[{"invoice_id": "1", "account_id": account, "stripe_invoice_id": "in_1"}],
        subs_customer=[{"id": 1, "account_id": account, "stripe_customer_id": "cus_test_mode", "livemode": False}],
        subs_stuck_events=[{"event_id": "evt", "account_id": None}],
        stripe_customers=[
            {"customer_id": "cus_orphan", "livemode": True},
            {"customer_id": "cus_test_mode", "livemode": True},
        ],
        stripe_invoices=[{"invoice_id": "in_1", "customer_id": "cus_orphan", "status": "open"}],
    )
    keep(lake, "run", frames)
    nobodys = lake.open("run", [-1])

    assert ids(nobodys, "accounts") == []
    assert ids(nobodys, "subs_stuck_events") == ["evt"]
    assert ids(nobodys, "stripe_customers") == ["cus_orphan", "cus_test_mode"]
    assert ids(nobodys, "stripe_invoices") == ["in_1"]
    assert ids(lake.open("run", [0]), "stripe_invoices") == ["in_1"]


def test_several_buckets_have_every_row_once(lake: Lake) -> None:
    (child_0,), (child_1,), (parent,) = in_bucket(0), in_bucket(1), in_bucket(2)
    frames = snapshot(accounts=[*accounts(child_0, child_1, parent_account_id=parent), *accounts(parent)])
    keep(lake, "run", frames)

    assert ids(lake.open("run", [0, 1]), "accounts") == sorted([child_0, child_1, parent])
    assert ids(lake.open("run", [1, 3]), "accounts") == sorted([child_1, parent])
    assert ids(lake.open("run"), "accounts") == sorted([child_0, child_1, parent])


def test_a_bucket_is_replaced_and_its_neighbours_stay(lake: Lake) -> None:
    (a,), (b,) = in_bucket(0), in_bucket(1)
    keep(lake, "monday", snapshot(accounts=accounts(a, b, status="active")), at=TUESDAY - timedelta(days=1))
    keep(lake, "tuesday", snapshot(accounts=accounts(a, status="closed")), Scope.of_buckets([0]))

    assert lake.open("tuesday")["accounts"].collect()["status"].to_list() == ["closed"]
    assert lake.open("monday")["accounts"].collect()["status"].to_list() == ["active", "active"]
    current = pl.read_delta(f"{lake.uri}/accounts")
    assert dict(current.select("account_id", "status").iter_rows()) == {a: "closed", b: "active"}


def test_runs_at_one_time_each_replace_their_own_bucket(lake: Lake) -> None:
    keep(lake, "fleet", snapshot(accounts=accounts(*(in_bucket(bucket)[0] for bucket in range(BUCKETS)))))

    def replace(bucket: int) -> None:
        rows = accounts(*in_bucket(bucket), status=f"of run {bucket}")
        keep(lake, f"run_{bucket}", snapshot(accounts=rows), Scope.of_buckets([bucket]))

    with ThreadPoolExecutor(BUCKETS) as threads:
        list(threads.map(replace, range(BUCKETS)))

    for bucket in range(BUCKETS):
        kept = lake.open(f"run_{bucket}")["accounts"].collect()
        assert kept["status"].to_list() == [f"of run {bucket}"]
    assert pl.read_delta(f"{lake.uri}/accounts").height == BUCKETS


def test_a_bucket_that_has_emptied_is_empty(lake: Lake) -> None:
    (a,), (b,) = in_bucket(0), in_bucket(1)
    keep(lake, "monday", snapshot(accounts=accounts(a, b)), at=TUESDAY - timedelta(days=1))
    keep(lake, "tuesday", snapshot(), Scope.of_buckets([0]))

    assert ids(lake.open("tuesday"), "accounts") == []
    assert pl.read_delta(f"{lake.uri}/accounts")["account_id"].to_list() == [b]


def test_a_bucket_run_says_nothing_of_other_buckets(lake: Lake) -> None:
    keep(lake, "run", snapshot(accounts=accounts(*in_bucket(0))), Scope.of_buckets([0]))

    with pytest.raises(RunUnknown, match="did not read bucket 1"):
        lake.open("run", [1])


def test_what_the_six_stores_said_on_tuesday(lake: Lake) -> None:
    for day in range(5):
        at = TUESDAY + timedelta(days=day - 1)
        keep(lake, f"day_{day}", snapshot(accounts=accounts(f"acct_{day}")), at=at)
    run = lake.latest(before=TUESDAY + timedelta(hours=6))

    assert run is not None
    assert run.run_id == "day_1"
    assert ids(lake.open(run.run_id), "accounts") == ["acct_1"]
    assert lake.latest(before=TUESDAY - timedelta(days=2)) is None
    newest = lake.latest()
    assert newest is not None
    assert newest.run_id == "day_4"
    assert newest.observed_at == observed(TUESDAY + timedelta(days=3))


def test_a_bucket_run_answers_for_its_bucket_and_not_for_the_fleet(lake: Lake) -> None:
    keep(lake, "fleet", snapshot(), at=TUESDAY)
    keep(lake, "bucket", snapshot(), Scope.of_buckets([2]), at=TUESDAY + timedelta(hours=1))
    latest, of_two, of_three = lake.latest(), lake.latest(buckets=[2]), lake.latest(buckets=[3])

    assert [run.run_id for run in (latest, of_two, of_three) if run] == ["fleet", "bucket", "fleet"]


def test_a_run_that_was_killed_before_its_manifest_is_never_seen(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    def die(*_: object) -> None:
        raise KilledError

    keep(lake, "good", snapshot(accounts=accounts("a")), at=TUESDAY)
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "_append_manifest", die)
        with pytest.raises(KilledError):
            keep(lake, "killed", snapshot(accounts=accounts("b")), at=TUESDAY + timedelta(hours=1))

    newest = lake.latest()
    assert newest is not None
    assert newest.run_id == "good"
    assert ids(lake.open("good"), "accounts") == ["a"]
    with pytest.raises(RunUnknown, match="killed"):
        lake.open("killed")
    keep(lake, "killed", snapshot(accounts=accounts("b")), at=TUESDAY + timedelta(hours=2))
    assert ids(lake.open("killed"), "accounts") == ["b"]


def test_a_run_is_kept_once(lake: Lake) -> None:
    keep(lake, "run", snapshot(accounts=accounts("a")))
    keep(lake, "run", snapshot(accounts=accounts("b")))

    assert ids(lake.open("run"), "accounts") == ["a"]
    assert len(lake.runs()) == 1


def test_another_number_of_buckets_is_refused(lake: Lake) -> None:
    keep(lake, "run", snapshot())

    with pytest.raises(TrueupError, match="made with 4 buckets"):
        lake.commit("next", snapshot(), observed(TUESDAY), Scope.fleet(), 8)


def test_a_list_of_accounts_never_touches_the_fleets_tables(lake: Lake) -> None:
    with pytest.raises(ValueError, match="list of accounts"):
        lake.commit("run", snapshot(), observed(TUESDAY), Scope.of_accounts(["a"]), BUCKETS)


def test_a_lake_that_cannot_be_written_says_so_without_a_row(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("in the way")

    with pytest.raises(StoreNotWhole, match="lake: it did not take the run"):
        keep(Lake(tmp_path / "lake"), "run", snapshot())


def test_past_days_are_kept_for_longer_than_deltas_thirty(lake: Lake) -> None:
    keep(lake, "run", snapshot())

    configuration = DeltaTable(f"{lake.uri}/accounts").metadata().configuration
    assert configuration["delta.logRetentionDuration"] == "interval 36500 days"


def test_a_lake_may_be_an_address(tmp_path: Path) -> None:
    lake = Lake(f"file://{tmp_path}/lake")
    keep(lake, "run", snapshot(accounts=accounts("a")))

    assert ids(lake.open("run"), "accounts") == ["a"]


@pytest.mark.parametrize("folder", ["a folder", "Größe"])
def test_a_lake_may_be_in_a_folder_whose_name_an_address_escapes(tmp_path: Path, folder: str) -> None:
    lake = Lake(tmp_path / folder / "lake")
    (one,), (two, three) = in_bucket(1), in_bucket(2, 2)
    keep(lake, "monday", snapshot(accounts=accounts(one, two)))
    keep(lake, "tuesday", snapshot(accounts=accounts(three)), Scope(buckets=(2,)), TUESDAY + timedelta(days=1))

    assert [run.run_id for run in lake.runs()] == ["monday", "tuesday"]
    assert ids(lake.open("monday"), "accounts") == sorted([one, two])
    assert ids(lake.open("tuesday"), "accounts") == [three]
    assert lake.open("monday")["accounts"].collect_schema() == TABLES["accounts"].schema
