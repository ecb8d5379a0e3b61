"""Staging: the fleet by bucket, in memory that the fleet's size does not set."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from trueup.contract.schemas import INSTANT, TABLES, Snapshot, empty
from trueup.sandbox.fleet import make_fleet
from trueup.stores.lake.routing import BITMAP, HOME_BUCKETS
from trueup.stores.lake.staging import StagedFile, Staging
from trueup.stores.scope import BUCKETS_MAX, NO_BUCKET, bucket_of

ROOT = Path(__file__).resolve().parents[2]
AS_OF = datetime(2026, 3, 3, 12, tzinfo=UTC)
GIGABYTES = 0.5
LIMIT_MB = 200
FLEET, TIMES = 6_000, 8

_MEASURE = """
import re, sys
from datetime import UTC, datetime
from pathlib import Path
import polars as pl
from trueup.contract.schemas import STORES, TABLES
from trueup.stores.lake.tables import Lake
from trueup.stores.scope import Scope

gigabytes, folder = float(sys.argv[1]), Path(sys.argv[2])
observed_at = dict.fromkeys(STORES, datetime(2026, 3, 3, tzinfo=UTC))
snapshot = {name: pl.scan_parquet(folder / f"{name}.parquet") for name in TABLES}
Lake(folder / "lake", gigabytes).commit("run", snapshot, observed_at, Scope.fleet(), 4)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def accounts(frame: pl.DataFrame) -> Snapshot:
    """A snapshot of accounts alone."""
    return {name: frame.lazy() if name == "accounts" else empty(name).lazy() for name in TABLES}


def rows(staged: Iterable[StagedFile]) -> pl.DataFrame:
    read = (pl.read_parquet(one.file, hive_partitioning=False) for one in staged)
    bucket = (pl.lit(one.bucket, pl.Int32).alias("bucket") for one in staged)
    return pl.concat([frame.with_columns(number) for frame, number in zip(read, bucket, strict=True)])


def all_buckets(count: int) -> list[int]:
    return [*range(count), NO_BUCKET]


@pytest.mark.parametrize("count", [1, 7, BUCKETS_MAX])
def test_every_account_is_in_the_bucket_that_its_id_says(count: int, tmp_path: Path) -> None:
    ids = [f"acct_{number}" for number in range(200)] + ["", "ü☃'\"", " "]
    frame = empty("accounts").clear(len(ids)).with_columns(pl.Series("account_id", ids))
    with Staging.of(accounts(frame), count, tmp_path, GIGABYTES) as staging:
        homes, placed = (
            rows(staging.files(HOME_BUCKETS, all_buckets(count))),
            rows(staging.files("accounts", range(count))),
        )

    assert dict(homes.iter_rows()) == {account: bucket_of(account, count) for account in ids}
    assert dict(placed.select("account_id", "bucket").iter_rows()) == dict(homes.iter_rows())
    assert (placed[BITMAP] == pl.Series([1 << bucket for bucket in placed["bucket"]])).all()


def test_no_value_is_changed_on_its_way(tmp_path: Path) -> None:
    edges = pl.Series("created_at", [2**63 - 1, -(2**63), 0, None]).cast(INSTANT)
    frame = empty("accounts").clear(4).with_columns(edges, pl.Series("version", [2**63 - 1, -(2**63), None, 0]))
    with Staging.of(accounts(frame), 4, tmp_path, GIGABYTES) as staging:
        placed = rows(staging.files("accounts", all_buckets(4)))

    assert_frame_equal(placed.drop(BITMAP, "bucket"), frame, check_row_order=False)


def test_a_file_and_a_query_over_it_are_staged_alike(tmp_path: Path) -> None:
    fleet = make_fleet(50, 5, 1, AS_OF).frames
    for name, frame in fleet.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    files = {name: pl.scan_parquet(tmp_path / f"{name}.parquet") for name in TABLES}
    halves = {name: pl.concat([scan.head(20), scan.slice(20)]) for name, scan in files.items()}
    with Staging.of(files, 4, tmp_path, GIGABYTES) as one, Staging.of(halves, 4, tmp_path, GIGABYTES) as other:
        for name in TABLES:
            mine, others = one.files(name, all_buckets(4)), other.files(name, all_buckets(4))

            assert bool(mine) == bool(fleet[name].height)
            if mine:
                assert_frame_equal(rows(mine), rows(others), check_row_order=False)


def test_a_part_of_a_scan_is_not_taken_for_the_file(tmp_path: Path) -> None:
    frame = make_fleet(50, 5, 1, AS_OF).frames["accounts"]
    frame.write_parquet(tmp_path / "accounts.parquet")
    first = pl.scan_parquet(tmp_path / "accounts.parquet", n_rows=5)
    with Staging.of(accounts(frame) | {"accounts": first}, 4, tmp_path, GIGABYTES) as staging:
        homes = rows(staging.files(HOME_BUCKETS, all_buckets(4)))

    assert set(frame["account_id"][:5]) <= set(homes["account_id"])
    assert homes.height <= 10  # and their parents


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with Staging.of(accounts(empty("accounts")), 4, tmp_path, GIGABYTES) as staging:
        assert staging.files("accounts", all_buckets(4)) == []

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_eight_times_the_fleet_takes_no_more_than_the_limit_more(tmp_path: Path) -> None:
    """Before there was a limit, this fleet took 2.3 times as much memory, 330 MB more than an eighth of it did."""
    small, large = tmp_path / "small", tmp_path / "large"
    for folder in (small, large):
        folder.mkdir()
    for name, frame in make_fleet(FLEET, FLEET // 70, 7, AS_OF).frames.items():
        frame.write_parquet(small / f"{name}.parquet")
        pl.concat(_copy(frame, number) for number in range(TIMES)).write_parquet(large / f"{name}.parquet")

    assert _peak_mb(large) - _peak_mb(small) < LIMIT_MB


def _copy(frame: pl.DataFrame, number: int) -> pl.DataFrame:
    """The same rows of other accounts."""
    ids = [name for name, kind in frame.schema.items() if name.endswith("_id") and kind == pl.String]
    return frame.with_columns((pl.lit(f"{number}_") + pl.col(name)).alias(name) for name in ids)


def _peak_mb(folder: Path) -> int:
    command = [sys.executable, "-c", _MEASURE, str(LIMIT_MB / 1000), str(folder)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout)
