"""The Dagster instance: in PostgreSQL, configured by us, and no address of it in any file."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.instance.config import PoolGranularity

from pipelines.instance import PG_URL, POOLS, dagster_yaml, make_instance, open_instance, psycopg2_url
from pipelines.jobs import JOBS
from pipelines.origin import give_origin
from trueup.sandbox.postgres import EmbeddedPostgres
from trueup.stores.settings import Settings


def in_postgres(server: EmbeddedPostgres, home: Path) -> Settings:
    address = server.create_database(f"dagster_{uuid.uuid4().hex[:8]}")
    return Settings(home=home, dagster_storage="postgres", dagster_pg_url=address)


def test_runs_are_stored_in_postgres_and_its_pools_have_their_slots(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    settings = in_postgres(postgres, tmp_path)
    make_instance(settings)
    with open_instance(settings) as instance:
        give_origin(instance, "audit")
        instance.add_run(dg.DagsterRun(job_name="audit", run_id="5f0a3a3e-0000-4000-8000-000000000001"))
    with open_instance(settings) as instance:
        runs = [run.job_name for run in instance.get_runs()]
        slots = {pool: instance.event_log_storage.get_concurrency_info(pool).slot_count for pool in POOLS}
        storage = type(instance.run_storage).__name__

    assert (storage, runs) == ("PostgresRunStorage", ["audit"])
    assert slots == POOLS
    assert slots["apply"] == 1
    assert PG_URL not in os.environ


def test_our_configuration_is_what_the_instance_does(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with open_instance(in_postgres(postgres, tmp_path)) as instance:
        concurrency = instance.get_concurrency_config()

        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds > 0
        assert instance.get_settings("run_monitoring")["free_slots_after_run_end_seconds"] > 0
        assert concurrency.pool_config.pool_granularity == PoolGranularity.RUN
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 0)
        assert not instance.run_retries_retry_on_asset_or_op_failure


def test_no_address_is_in_the_file_and_a_file_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, dagster_storage="postgres", dagster_pg_url="postgresql://kim:hunter2@db/dagster")
    own = Settings(home=tmp_path / "own", dagster_storage="sqlite")
    (tmp_path / "own" / "dagster").mkdir(parents=True)
    (tmp_path / "own" / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with open_instance(own):
        pass

    assert "hunter2" not in dagster_yaml(settings)
    assert yaml.safe_load(dagster_yaml(settings))["storage"] == {"postgres": {"postgres_url": {"env": PG_URL}}}
    assert "run_monitoring" not in (tmp_path / "own" / "dagster" / "dagster.yaml").read_text()


def test_dagsters_driver_is_named_whatever_the_address_names() -> None:
    for address in ("postgresql://kim@db/dagster", "postgresql+psycopg://kim@db/dagster?client_encoding=utf8"):
        assert psycopg2_url(address) == "postgresql+psycopg2://kim@db/dagster"


def test_without_an_address_an_embedded_server_runs_while_the_instance_is_open(server_folder: Path) -> None:
    settings = Settings(home=server_folder.parent, dagster_storage="postgres")
    with open_instance(settings), open_instance(settings) as instance:
        assert instance.get_runs() == []
        assert "psycopg2" in os.environ[PG_URL]

    assert not (server_folder.parent / "dagster" / "postgres" / "postmaster.pid").exists()


def test_every_job_says_how_long_it_may_run_or_that_it_may_be_run_again() -> None:
    tags = {job.name: job.tags or {} for job in JOBS}

    assert all("dagster/max_retries" in own or "dagster/max_runtime" in own for own in tags.values())
    assert "dagster/max_retries" not in tags["apply_plan"]
