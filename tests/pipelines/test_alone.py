"""Materialize, Execute check and Re-execute: each asset and check by itself, as the web server launches it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from pipelines.instance import open_instance
from tests.pipelines.conftest import Lab
from trueup.audit.run_folder import find_run
from trueup.stores.settings import load_settings

ALONE = ("facts", "initial_reading", "recheck", "corrections", "correction_plan")


def materialize(instance: dg.DagsterInstance, *assets: str, job: str = "plan") -> dg.ExecuteInProcessResult:
    """What the button Materialize launches."""
    keys = {dg.AssetKey(asset.split("/")) for asset in assets}
    chosen = build_defs({"settings": load_settings()}).resolve_job_def(job).get_subset(asset_selection=keys)
    return chosen.execute_in_process(instance=instance, raise_on_error=False)


@contextmanager
def dagster() -> Iterator[dg.DagsterInstance]:
    with open_instance(load_settings()) as instance:
        yield instance


def test_an_asset_alone_takes_its_inputs_from_the_last_whole_run_and_says_which(lab: Lab) -> None:
    _, audited = lab.answer("audit")
    with dagster() as instance:
        for asset in ALONE:
            result = materialize(instance, asset)
            [event] = result.get_asset_materialization_events()
            metadata = event.step_materialization_data.materialization.metadata

            assert result.success
            assert metadata["inputs_from_run"].value == audited["run_id"]


def test_results_made_again_are_no_second_run_of_the_history(lab: Lab) -> None:
    lab.trueup("audit")
    _, before = lab.answer("report")
    with dagster() as instance:
        result = materialize(instance, "desired_dunning_state", "implied_states", "disagreements")
    _, after = lab.answer("report")

    assert result.success
    assert [run["run_id"] for run in after["runs"]] == [run["run_id"] for run in before["runs"]]


def test_a_reading_whose_folder_is_gone_is_taken_from_the_lake(lab: Lab) -> None:
    _, audited = lab.answer("audit")
    shutil.rmtree(lab.home / "runs")
    with dagster() as instance:
        result = materialize(instance, "corrections")
    run = find_run(load_settings(), result.run_id)

    assert result.success
    assert run is not None
    assert run.read("findings").height == audited["findings"]


@pytest.mark.usefixtures("lab")
def test_one_table_of_a_store_is_read_alone() -> None:
    with dagster() as instance:
        result = materialize(instance, "cf_prod/products")

    assert result.success
    assert [event.asset_key.to_user_string() for event in result.get_asset_materialization_events()] == [
        "cf_prod/products"
    ]


def test_a_check_alone_judges_the_last_whole_run(lab: Lab) -> None:
    lab.trueup("audit")
    check = dg.AssetCheckKey(dg.AssetKey("disagreements"), "no_root_is_in_money")
    with dagster() as instance:
        job = build_defs({"settings": load_settings()}).resolve_job_def("audit")
        alone = job.get_subset(asset_selection=set(), asset_check_selection={check})
        result = alone.execute_in_process(instance=instance, raise_on_error=False)
        [evaluated] = result.get_asset_check_evaluations()

    assert result.success
    assert not evaluated.passed


@pytest.mark.usefixtures("lab")
def test_without_any_run_an_asset_alone_says_in_one_line_which_job_to_launch() -> None:
    with dagster() as instance:
        result = materialize(instance, "facts")
        run = instance.get_run_by_id(result.run_id)
        events = [log.dagster_event for log in instance.all_logs(result.run_id) if log.dagster_event]
    [said] = [str(event.message) for event in events if event.event_type_value == "PIPELINE_CANCELING"]

    assert run is not None
    assert run.status == dg.DagsterRunStatus.CANCELED
    assert said.splitlines() == [
        "The launch is refused. There is no reading of the whole fleet yet to take inputs from: launch job audit first."
    ]


@pytest.mark.usefixtures("lab")
def test_a_bad_launch_ends_before_any_store_is_asked_and_turns_no_check_red(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_text("grace_days = -1\nretry_offsets_days = [0]\n")
    monkeypatch.setenv("TRUEUP_POLICY", str(tmp_path / "policy.toml"))
    with dagster() as instance:
        job = build_defs({"settings": load_settings()}).resolve_job_def("audit")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        run = instance.get_run_by_id(result.run_id)
    [failure] = [event for event in result.all_events if event.is_step_failure]

    assert run is not None
    assert run.status == dg.DagsterRunStatus.CANCELED  # a check of a canceled run is skipped, of a failed one red
    assert failure.step_key == "run_manifest"
    assert "grace_days" in failure.step_failure_data.error_display_string
    assert "retry_offsets_days" in failure.step_failure_data.error_display_string
    assert not result.get_asset_check_evaluations()


@pytest.mark.usefixtures("lab")
def test_nothing_is_applied_without_a_plan_and_the_log_says_which_job_to_launch() -> None:
    with dagster() as instance:
        result = materialize(instance, "applied_corrections", job="apply_plan")

    assert result.success
    assert not result.get_asset_materialization_events()
