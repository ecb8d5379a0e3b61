"""Launch: run one of the Dagster jobs in this process, and tell what came of it.

The command line and the demo go through here, so that whatever they do is a run that `trueup ui` shows. A failed step
is translated back into the error that its stage raised, with that error's exit code; a step that failed for a reason
nobody foresaw is a bug of ours and is raised as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from pipelines.definitions import build_defs
from pipelines.instance import open_instance
from pipelines.jobs import job_for
from pipelines.origin import give_origin
from trueup.audit.terms import Terms
from trueup.correction.refusals import Refusal
from trueup.engine.policy import PolicyError
from trueup.stores.errors import EXIT_WRONG_USE, TrueupError
from trueup.stores.settings import Settings

CHECK_FAILED: Final = "DagsterAssetCheckFailedError"
INTERRUPTED: Final = "DagsterExecutionInterruptedError"
QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailed(TrueupError):
    """A step of the run failed; `kind` and `exit_code` are those of the error behind it."""

    def __init__(self, run_id: str, kind: str, message: str, exit_code: int) -> None:
        self.run_id = run_id
        self.kind = kind
        self.exit_code = exit_code
        super().__init__(message)


class RunBroke(Exception):
    """A step of the run failed for a reason that is no known trouble: a bug, shown with its trace."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its id, the checks it evaluated, and the metadata of what it made."""

    run_id: str
    checks: Mapping[str, bool]
    metadata: Mapping[str, Mapping[str, Any]]


def launch(
    settings: Settings,
    job: str,
    terms: Terms | None = None,
    *,
    ops: Mapping[str, Mapping[str, Any]] | None = None,
    tags: Mapping[str, str] | None = None,
    instance_of: Settings | None = None,
) -> Outcome:
    """Run the named job to its end.

    Args:
        settings: where the stores are.
        job: one of `pipelines.jobs`.
        terms: what an audit is asked; the whole fleet, now, if left out.
        ops: configuration of steps by name.
        tags: by which the run is found again.
        instance_of: settings whose home holds the Dagster instance; default the same. The demo keeps its stores apart.

    Raises:
        RunFailed: a stage refused, or met trouble that it has a name for.
        RunBroke: a stage has a bug.
        KeyboardInterrupt: somebody interrupted it.
    """
    config: dict[str, Any] = {**QUIET, "ops": {name: {"config": dict(values)} for name, values in (ops or {}).items()}}
    if terms is not None and not terms.is_of_fleet:
        job = job_for(job, terms)
        config["ops"]["selection"] = {"config": _terms_config(terms)}
    with open_instance(instance_of or settings) as instance:
        give_origin(instance, job)
        resolved = build_defs({"settings": settings}).resolve_job_def(job)
        result = resolved.execute_in_process(instance=instance, run_config=config, tags=tags, raise_on_error=False)
    _raise_fault(result)
    return Outcome(result.run_id, _checks_of(result), _metadata_of(result))


def _terms_config(terms: Terms) -> dict[str, Any]:
    return {
        "accounts": list(terms.accounts),
        "accounts_file": terms.accounts_file,
        "buckets": list(terms.buckets),
        "as_of": terms.as_of,
    }


def _checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        f"{check.asset_key.to_user_string()}:{check.check_name}": check.passed
        for check in result.get_asset_check_evaluations()
    }


def _metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    made = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        made[materialization.asset_key.to_user_string()] = {
            name: value.value for name, value in materialization.metadata.items()
        }
    return made


def _raise_fault(result: dg.ExecuteInProcessResult) -> None:
    """Raise for the first failed step; a blocking check that failed is a result, not a fault."""
    for event in result.all_events:
        fault = _fault_of(event)
        if fault is not None and fault.cls_name != CHECK_FAILED:
            _raise_translated(result.run_id, fault)


def _fault_of(event: dg.DagsterEvent) -> Any:  # noqa: ANN401 -- Dagster's SerializableErrorInfo is not public
    """The error behind a failed step, or behind a run that failed before any step."""
    if event.is_step_failure:
        return event.step_failure_data.error
    is_early = event.event_type_value in {"RESOURCE_INIT_FAILURE", "PIPELINE_INIT_FAILURE"}
    return getattr(event.event_specific_data, "error", None) if is_early else None


def _raise_translated(run_id: str, fault: Any) -> None:  # noqa: ANN401 -- the same
    """Raise the error of ours that is behind a failure, or call it a bug."""
    inner = fault
    while inner is not None:
        if inner.cls_name == INTERRUPTED:
            raise KeyboardInterrupt
        exit_code = exit_code_of(inner.cls_name)
        if exit_code is not None:
            raise RunFailed(run_id, inner.cls_name, _without_class(inner.message, inner.cls_name), exit_code)
        inner = inner.cause
    raise RunBroke(fault.to_string())


def _without_class(message: str, kind: str) -> str:
    """What the error said, without the name that Dagster puts before it. A refusal says its own name."""
    head, _, said = message.partition(": ")
    return (said if head.split(".")[-1] == kind else message).strip()


def exit_code_of(kind: str | None) -> int | None:
    """The exit code of an error of ours by its name; none for anybody else's."""
    for base in (TrueupError, Refusal, PolicyError):
        for known in (base, *_descendants(base)):
            if known.__name__ == kind:
                return int(getattr(known, "exit_code", EXIT_WRONG_USE))
    return None


def _descendants(kind: type[Exception]) -> list[type[Exception]]:
    """All classes below one."""
    return [known for child in kind.__subclasses__() for known in (child, *_descendants(child))]
