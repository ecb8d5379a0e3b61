"""The Dagster instance of this project: where its runs are kept, and how it is opened.

It lives under the auditor's home, so that what the command line runs and what the web server shows are one history.
Telemetry and the invitation to a newsletter are off: what a billing auditor does is nobody else's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from trueup.stores.settings import Settings

# What a step prints is not kept: steps print nothing, and keeping it costs two processes for each of them.
# Slots of a pool are given back when a run ends, however it ends: a cancelled run would otherwise hold them for ever.
DAGSTER_YAML = """\
# Written once by Trueup; yours to change.
telemetry:
  enabled: false
nux:
  enabled: false
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
"""


def dagster_home(settings: Settings) -> Path:
    """The instance's folder, made and configured if it is new."""
    folder = settings.home.resolve() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "dagster.yaml"
    if not config.exists():
        config.write_text(DAGSTER_YAML, encoding="utf-8")
    return folder


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance, open for the length of the block."""
    with dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
        yield instance


def make_instance(settings: Settings) -> None:
    """Make the instance's tables, if it is new."""
    with open_instance(settings) as instance:
        instance.get_run_records(limit=1)
        instance.all_instigator_state()
        instance.get_asset_keys(limit=1)
