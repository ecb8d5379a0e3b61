"""An audit of stores that change while they are read.

A payment reaches Stripe first, then the ledger, then the recompute, a moment apart, so that one reading of six stores
sees disagreements that are none. What is really wrong must still be found.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.pipelines.conftest import Lab
from trueup.drift import is_counted
from trueup.sandbox.fleet.writer import LiveWriter


def test_a_writer_at_work_during_the_audit_causes_no_false_disagreement(lab: Lab, tmp_path: Path) -> None:
    assert lab.fleet is not None
    planted = set(lab.fleet.planted["account_id"].drop_nulls())

    with LiveWriter(lab.fleet, lab.urls, lab.stripe, pause=0.005) as writer:
        code = lab.trueup("audit", "--out", str(tmp_path))

    found = set(pl.read_parquet(tmp_path / "findings.parquet").filter(is_counted())["account_id"].drop_nulls())
    disagreeing = planted - uncounted(lab)
    assert code == 1
    assert len(writer.paid) > 3
    assert len(writer.touched) > 3
    assert found <= disagreeing, "somebody was only being paid"
    assert disagreeing - set(writer.touched) <= found, "what is really wrong went unseen"


def uncounted(lab: Lab) -> set[str]:
    """Planted accounts with nothing worse than hygiene."""
    assert lab.fleet is not None
    hygiene = ("DECLINE_CODE_UNMAPPED", "DUN_ORPHAN", "EVT_STUCK_MOOT")
    worse = lab.fleet.planted.filter(~pl.col("code").is_in(hygiene))
    return set(lab.fleet.planted["account_id"].drop_nulls()) - set(worse["account_id"].drop_nulls())
