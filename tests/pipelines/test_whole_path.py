"""The whole path, from an empty home: audit, plan, a refusal, an approval, apply, events, and what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from tests.pipelines.conftest import DRIFT, Lab
from trueup.contract.schemas import CHANGES, DESIRED, FINDINGS
from trueup.correction.changes import CORRECTED_CODES
from trueup.sandbox.webhook import WebhookReceiver
from trueup.stores.settings import libpq_url

OURS = ("subs_dunning", "subs_account", "subs_mandate", "subs_stuck_events", "trueup.outbox", "trueup.applied_changes")


def test_the_whole_path_from_an_empty_folder(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab.fleet is not None
    assert lab.trueup("audit", "--out", str(tmp_path / "out")) == 1
    found = pl.read_parquet(tmp_path / "out" / "findings.parquet")
    key = ["account_id", "code", "object_id"]
    assert_frame_equal(found.select(key), lab.fleet.planted.select(key), check_row_order=False, check_dtypes=False)

    code, planned = lab.answer("plan")
    assert code == 0
    plan_id = planned["plan_id"]
    before = contents(lab.urls["subs_api"])

    assert lab.trueup("apply", plan_id) == 3
    assert "PlanNotApproved" in lab.output.readouterr().err
    assert contents(lab.urls["subs_api"]) == before

    assert lab.trueup("keys", "new", "--name", "kim", "--identity", "kim", "--out", str(tmp_path / "kim.pem")) == 0
    assert lab.trueup("approve", plan_id[:12], "--key", str(tmp_path / "kim.pem")) == 0
    assert lab.trueup("apply", plan_id, "--dry-run") == 0
    assert contents(lab.urls["subs_api"]) == before

    code, applied = lab.answer("apply", plan_id)
    assert code == 0
    assert applied["accounts"]["applied"] == len({c["account_id"] or c["key"] for c in planned["changes"]})
    code, again = lab.answer("apply", plan_id)
    assert (code, again["rows_written"], again["was_finished"]) == (0, 0, True)

    with WebhookReceiver() as receiver:
        monkeypatch.setenv("TRUEUP_WEBHOOK_URL", receiver.url)
        monkeypatch.setenv("TRUEUP_WEBHOOK_SECRET", receiver.secret)
        assert lab.trueup("relay", "--once") == 0
    assert receiver.refused == 0
    assert receiver.by_type["dunning.state_changed"] > 0
    assert receiver.by_type["disagreement.detected"] > 0

    code, left = lab.answer("audit")
    assert code == 1
    assert 0 < left["accounts_disagreeing"] < DRIFT
    assert not CORRECTED_CODES & {row["code"] for row in left["by_code"] if row["accounts"]}
    assert lab.trueup("verify-log") == 0


def test_an_audit_delivers_four_files_with_their_columns(lab: Lab, tmp_path: Path) -> None:
    lab.trueup("audit", "--out", str(tmp_path))

    assert sorted(file.name for file in tmp_path.glob("*.*")) == [
        "changes.parquet",
        "desired.parquet",
        "findings.parquet",
        "manifest.json",
    ]
    for name, columns in (("desired", DESIRED), ("findings", FINDINGS), ("changes", CHANGES)):
        assert pl.read_parquet_schema(tmp_path / f"{name}.parquet") == dict(columns)


def test_a_subset_has_the_result_that_the_fleet_gives_it(lab: Lab, tmp_path: Path) -> None:
    lab.trueup("audit", "--out", str(tmp_path / "fleet"))
    fleet = {name: pl.read_parquet(tmp_path / "fleet" / f"{name}.parquet") for name in ("desired", "findings")}
    chosen = fleet["findings"]["account_id"].drop_nulls().unique().sort().head(5).to_list()
    (tmp_path / "chosen").write_text("\n".join(["# chosen", *chosen]))
    lab.trueup("audit", "--accounts-file", str(tmp_path / "chosen"), "--out", str(tmp_path / "some"))

    of_some = pl.read_parquet(tmp_path / "some" / "desired.parquet")
    assert_frame_equal(of_some, fleet["desired"].filter(pl.col("account_id").is_in(chosen)))
    codes = ["account_id", "code", "object_id", "severity", "is_root"]
    found = pl.read_parquet(tmp_path / "some" / "findings.parquet").select(codes)
    assert_frame_equal(found, fleet["findings"].filter(pl.col("account_id").is_in(chosen)).select(codes))


@pytest.mark.slow
def test_buckets_together_are_the_fleet(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_BUCKET_COUNT", "2")
    lab.trueup("audit", "--out", str(tmp_path / "fleet"))
    for bucket in ("0", "1"):
        lab.trueup("audit", "--bucket", bucket, "--out", str(tmp_path / bucket))

    parts = pl.concat(pl.read_parquet(tmp_path / bucket / "desired.parquet") for bucket in ("0", "1"))
    assert_frame_equal(parts.sort("account_id"), pl.read_parquet(tmp_path / "fleet" / "desired.parquet"))


def test_a_consistent_fleet_has_no_finding_and_an_empty_plan(empty_lab: Lab) -> None:
    empty_lab.plant(200, 0)
    code, planned = empty_lab.answer("plan")

    assert (code, planned["changes"]) == (0, [])
    assert empty_lab.trueup("audit") == 0


def test_a_customer_that_nobody_maps_to_is_looked_at_twice_though_it_has_no_account(empty_lab: Lab) -> None:
    empty_lab.plant(200, 1, codes=["MAP_ORPHAN_CUSTOMER"])
    _, audited = empty_lab.answer("audit")

    assert [row["code"] for row in audited["by_code"]] == ["MAP_ORPHAN_CUSTOMER"]


def test_a_plan_that_was_rejected_is_not_applied(lab: Lab) -> None:
    _, planned = lab.answer("plan")
    assert lab.trueup("reject", planned["plan_id"], "--reason", "not today") == 0

    assert lab.trueup("apply", planned["plan_id"]) == 3


def contents(url: str) -> dict[str, list[Any]]:
    """Every row of what an apply could change."""
    with psycopg.connect(libpq_url(url)) as connection:
        return {
            table: sorted(connection.execute(f"SELECT {table.split('.')[-1]}::text FROM {table}")) for table in OURS
        }
