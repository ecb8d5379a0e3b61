"""Where a run says it comes from: the code location that the web server shows, also for runs of the command line.

Dagster puts a run on its Overview and on its job's pages by its remote origin. A run that is executed in its own
process has none (dagster#17707), so it is given the one that the web server would have given it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

LOCATION: Final = "trueup"  # as workspace.yaml names it
REPOSITORY: Final = "__repository__"  # as Dagster names the definitions of a module
MODULE: Final = "pipelines.definitions"


def origins_of(job: str) -> dict[str, Any]:
    """The origins of a run of this job, as `DagsterInstance.create_run_for_job` takes them."""
    pointer = ModuleCodePointer(MODULE, "defs", working_directory=None)
    repository = RepositoryPythonOrigin(executable_path=sys.executable, code_pointer=pointer)
    location = RegisteredCodeLocationOrigin(LOCATION)
    return {
        "remote_job_origin": RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), job),
        "job_code_origin": JobPythonOrigin(job, repository),
    }


def give_origin(instance: dg.DagsterInstance, job: str) -> None:
    """Have every run that this instance object creates from now on say that it is one of this job."""
    create, origins = instance.create_run_for_job, origins_of(job)

    def create_with_origin(*args: Any, **kwargs: Any) -> dg.DagsterRun:  # noqa: ANN401 -- Dagster's own arguments
        return create(*args, **{**kwargs, **origins})

    instance.create_run_for_job = create_with_origin  # type: ignore[method-assign]
