"""A cluster judges the partitions of a fleet as one machine does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from distributed import LocalCluster
from polars.testing import assert_frame_equal
from pydantic import SecretStr

from tests.audit.test_partitions import AS_OF, look_at
from trueup.audit.cluster import on_each
from trueup.audit.gather import ScopeReading
from trueup.audit.judge import Basis, StoredJudgement
from trueup.audit.partitions import archive_reading, judge_partitions, partitions_of, sweep_partitions
from trueup.stores.errors import TrueupError
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Two workers, each a process of its own."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def judged(reading: ScopeReading, settings: Settings) -> StoredJudgement:
    partitions = partitions_of(reading, Scope.fleet(), settings, "run")
    assert len(partitions) == settings.bucket_count + 1
    sweep_partitions(partitions, settings, Basis.of(settings, AS_OF))
    return judge_partitions(partitions, settings, Basis.of(settings, AS_OF))


@pytest.mark.slow
def test_workers_give_the_results_that_one_machine_gives(scheduler: str, tmp_path: Path) -> None:
    here = Settings(home=tmp_path / "home", bucket_count=4, accounts_at_once=1)
    archive_reading(look_at(tmp_path / "here", accounts=800), Scope.fleet(), here, "run")
    shutil.copytree(tmp_path / "here", tmp_path / "there")

    alone = judged(ScopeReading.at(tmp_path / "here"), here)
    together = judged(ScopeReading.at(tmp_path / "there"), here.model_copy(update={"dask_scheduler": scheduler}))

    assert alone.findings.height
    assert_frame_equal(together.findings, alone.findings)
    assert_frame_equal(together.desired.collect(), alone.desired.collect())
    assert_frame_equal(together.implied.collect(), alone.implied.collect())


def test_a_scheduler_that_does_not_answer_is_named_with_the_way_out(tmp_path: Path) -> None:
    nobody = Settings(
        home=tmp_path / "home",
        bucket_count=4,
        accounts_at_once=1,
        dask_scheduler="tcp://127.0.0.1:9",
        connect_timeout_seconds=1,
    )
    reading = look_at(tmp_path / "look", accounts=100)
    archive_reading(reading, Scope.fleet(), nobody, "run")

    with pytest.raises(TrueupError, match=r"(?s)tcp://127\.0\.0\.1:9 does not answer.*TRUEUP_DASK_SCHEDULER"):
        judged(reading, nobody)


def test_neither_an_address_nor_a_key_is_sent_to_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "very-secret"
    settings = Settings(
        home=tmp_path / "home",
        cf_prod_url=f"postgresql://reader:{secret}@host/cf_prod",
        stripe_api_key=SecretStr(secret),
        bucket_count=2,
        accounts_at_once=1,
    )
    reading = look_at(tmp_path / "look", accounts=50)
    archive_reading(reading, Scope.fleet(), settings, "run")
    parcels = []

    def sent(_what: str, work: Any, pieces: Any, _settings: Settings) -> Iterator[Any]:
        parcels.append(cloudpickle.dumps((work, pieces)))
        return map(work, pieces)

    monkeypatch.setattr("trueup.audit.partitions.on_each", sent)
    judged(reading, settings)

    assert len(parcels) == 2
    assert not any(secret.encode() in parcel for parcel in parcels)


def die(_piece: int) -> None:
    """What a machine does that runs out of memory."""
    os._exit(1)


def test_a_part_that_no_worker_survives_ends_the_run_with_the_way_out(scheduler: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, dask_scheduler=scheduler)

    with pytest.raises(TrueupError, match=r"(?s)lost 4 workers.*more memory"):
        list(on_each("die", die, [1, 2], settings))
