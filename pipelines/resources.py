"""Resources: what the assets are given.

Settings come from the environment when a run starts, not when the definitions load, so that the web server shows the
project without any of them. No secret is in a resource's configuration, and so none is in Dagster's storage.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from trueup.audit.gather import Readings, reading
from trueup.stores.settings import load_settings


@dg.resource(description="The addresses of the six stores and the auditor's settings, from the environment.")
def settings_from_environment(_context: dg.InitResourceContext) -> Any:  # noqa: ANN401 -- Dagster passes it on as is
    """Settings, read when a run starts."""
    return load_settings()


@dg.resource(
    required_resource_keys={"settings"},
    description="The databases as this run sees them: each held at one instant until the run ends.",
)
def readings_of_run(context: dg.InitResourceContext) -> Iterator[Readings]:
    """Readings that live as long as the run."""
    with reading(context.resources.settings) as readings:
        yield readings


def build_resources(overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The resources by name; an override takes the place of one."""
    return {
        "settings": settings_from_environment,
        "readings": readings_of_run,
        **(overrides or {}),
    }
