"""A fleet that is judged bucket by bucket has the results of one that is judged at once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.pipelines.conftest import Lab

NOT_OF_THE_ACCOUNT = ("first_seen_at", "seen_count", "snapshot")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scope", "broken"),
    [
        (("--bucket", "0", "--bucket", "5"), ()),
        (("--accounts-file", "accounts.txt"), ()),
        ((), ()),
        ((), ("TRUEUP_BILLING_PROD_URL", "postgresql://nobody@127.0.0.1:9/billing_prod")),
    ],
    ids=["buckets", "accounts", "fleet", "a store that is not there"],
)
def test_judging_by_bucket_changes_no_result(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: tuple[str, ...], broken: tuple[str, ...]
) -> None:
    assert lab.fleet is not None
    monkeypatch.chdir(tmp_path)
    some = lab.fleet.frames["accounts"]["account_id"].sort()[::5]
    Path("accounts.txt").write_text("\n".join(some), encoding="utf-8")
    if broken:
        monkeypatch.setenv(*broken)
    terms = (*scope, "--as-of", lab.fleet.as_of.isoformat(), "--out")
    lab.trueup("audit", *terms, "whole")
    monkeypatch.setenv("TRUEUP_ACCOUNTS_AT_ONCE", "10")
    lab.trueup("audit", *terms, "parted")

    for name in ("desired", "findings", "changes"):
        whole, parted = (pl.read_parquet(f"{part}/{name}.parquet") for part in ("whole", "parted"))
        if name == "desired":  # a file of parts is in the order of its parts
            parted = parted.sort("account_id")
        dropped = [column for column in NOT_OF_THE_ACCOUNT if column in whole.columns]
        assert whole.height or scope or broken
        assert_frame_equal(parted.drop(dropped), whole.drop(dropped))
