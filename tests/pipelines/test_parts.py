"""A fleet that is judged bucket by bucket has the results of one that is judged at once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.pipelines.conftest import Lab

NOT_OF_THE_ACCOUNT = ("first_seen_at", "seen_count", "snapshot")


def test_judging_by_bucket_changes_no_result(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab.fleet is not None
    terms = ("--as-of", lab.fleet.as_of.isoformat(), "--out")
    lab.trueup("audit", *terms, str(tmp_path / "whole"))
    monkeypatch.setenv("TRUEUP_ACCOUNTS_AT_ONCE", "10")
    lab.trueup("audit", *terms, str(tmp_path / "parted"))

    for name in ("desired", "findings", "changes"):
        whole, parted = (pl.read_parquet(tmp_path / part / f"{name}.parquet") for part in ("whole", "parted"))
        if name == "desired":  # a file of parts is in the order of its parts
            parted = parted.sort("account_id")
        dropped = [column for column in NOT_OF_THE_ACCOUNT if column in whole.columns]
        assert not whole.is_empty()
        assert_frame_equal(parted.drop(dropped), whole.drop(dropped))
