"""The shape of the project: which way imports point, and how the assets, checks, jobs and schedules are wired."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from assets.lineage import unknown_columns
from pipelines.definitions import build_defs

ROOT = Path(__file__).parent.parent
WIRING = Path(__file__).with_name("wiring.json")


def test_imports_point_one_way_and_the_engine_is_pure() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert linted.returncode == 0, linted.stdout


def test_definitions_load_without_any_setting() -> None:
    dg.Definitions.validate_loadable(build_defs())


def test_the_wiring_is_the_one_that_was_reviewed() -> None:
    """`REWRITE_WIRING=1 pytest tests/test_architecture.py` writes it anew; the diff is for review."""
    if os.environ.get("REWRITE_WIRING"):
        WIRING.write_text(json.dumps(wiring(), indent=2) + "\n")

    assert wiring() == json.loads(WIRING.read_text())


def test_nothing_starts_by_itself() -> None:
    repository = build_defs().get_repository_def()

    assert {s.default_status for s in repository.schedule_defs} == {dg.DefaultScheduleStatus.STOPPED}
    assert {s.default_status for s in repository.sensor_defs} == {dg.DefaultSensorStatus.STOPPED}


def test_column_lineage_names_only_columns_that_there_are() -> None:
    assert unknown_columns() == set()


def wiring() -> dict[str, Any]:
    """Asset keys with their dependencies and checks, the assets of each job, crons and what sensors start."""
    defs = build_defs()
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    assets = {
        key.to_user_string(): {
            "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "checks": sorted(check.name for check in graph.get_check_keys_for_assets({key})),
        }
        for key in graph.get_all_asset_keys()
    }
    jobs = {
        job.name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
    }
    return {
        "assets": dict(sorted(assets.items())),
        "jobs": dict(sorted(jobs.items())),
        "schedules": {s.name: [str(s.cron_schedule), s.job_name] for s in repository.schedule_defs},
        "sensors": {s.name: s.job_name for s in repository.sensor_defs},
    }
