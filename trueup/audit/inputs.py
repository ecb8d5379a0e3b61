"""Inputs: where a stage finds the files of the stages before it, when its own run did not make them.

A run that makes everything has them. A run that goes on from one that failed takes what that one made, under the same
manifest. A run of one stage alone takes those of the last reading of the whole fleet that the lake has, and says so.
Files are taken as hard links, so that each run's folder is whole in itself and nothing is copied. A stage whose inputs
this run made anew is computed and not taken, so that no run mixes two readings without saying so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from trueup.audit.conclude import RESULTS_FILE, conclude
from trueup.audit.gather import StoreRead, has_read, read_store_json, tables_of
from trueup.audit.manifest import Manifest
from trueup.audit.run_folder import Run, find_run, write_json
from trueup.audit.stages import RECHECK_FILE, correct, judge_initial, recheck, sweep
from trueup.audit.terms import Terms, parse_instant
from trueup.contract.schemas import STORES
from trueup.engine.policy import load_policy
from trueup.stores.errors import TrueupError
from trueup.stores.lake.tables import Lake, LakeRun
from trueup.stores.settings import Settings

Stage = Literal["initial", "facts", "judged", "recheck", "results", "changes"]

STAGES: Final[tuple[Stage, ...]] = ("initial", "facts", "judged", "recheck", "results", "changes")
JUDGED_BY_POLICY: Final = ("judged", "recheck", "results", "changes")

# What each stage leaves in a run's folder.
_LEFT: Final[Mapping[Stage, tuple[str, ...]]] = {
    "initial": ("initial/*.parquet", "initial/*.json", "initial/lake/**/*"),
    "facts": ("initial/facts/**/*", "contract_violations.parquet"),
    "judged": ("initial/judged/**/*",),
    "recheck": ("recheck/**/*", "recheck_contract_violations.parquet", RECHECK_FILE),
    "results": ("desired.parquet", "implied.parquet", "findings.parquet", RESULTS_FILE),
    "changes": ("changes.parquet",),
}
# The file by which a stage is known to be whole: its last one.
_LAST: Final[Mapping[Stage, str]] = {
    "facts": "contract_violations.parquet",
    "judged": "initial/judged/findings",
    "recheck": RECHECK_FILE,
    "results": RESULTS_FILE,
    "changes": "changes.parquet",
}


class NoBaseRun(TrueupError):
    """There is no earlier run whose files a stage could take."""

    def __init__(self) -> None:
        super().__init__("There is no reading of the whole fleet yet to take inputs from: launch job audit first.")


def open_run(
    settings: Settings,
    run_id: str,
    started_at: datetime,
    terms: Terms,
    *,
    parent_run_id: str | None = None,
    reads_stores: bool = True,
) -> Run:
    """The run of this id, begun if this is its first step.

    Args:
        settings: where the run's folder and the lake are.
        run_id: of the run.
        started_at: the run's instant, unless it is told another.
        terms: what the launch asked.
        parent_run_id: the run that it goes on from, if it does.
        reads_stores: whether the step that asks reads the stores itself.

    Raises:
        SettingsError: the terms or the policy have faults; every one is named.
        NoBaseRun: the run makes no reading, and there is none to take.
    """
    run = find_run(settings, run_id)
    if run is not None:
        return run
    parent = find_run(settings, parent_run_id) if parent_run_id else None
    if parent is not None:
        reading_run_id = run_id if reads_stores else parent.manifest.reading_run_id
        return Run.begin(settings, parent.manifest.continued_as(settings, run_id, started_at, reading_run_id))
    if reads_stores:
        return Run.begin(settings, terms.manifest(settings, run_id, started_at))
    return Run.begin(settings, _alone(settings, run_id, started_at, terms))


def last_whole_run(settings: Settings) -> Run | LakeRun:
    """The last reading of the whole fleet that the lake has: its run, or what the lake has of it.

    Raises:
        NoBaseRun: there is none.
    """
    archived = Lake.of(settings).latest()
    if archived is None:
        raise NoBaseRun
    return find_run(settings, archived.run_id) or archived


def run_that_left(stage: Stage, settings: Settings, run_id: str, parent_run_id: str | None = None) -> Run:
    """The run whose stage a check judges: this one, else its parent, else the last whole run of the fleet.

    Raises:
        NoBaseRun: none of them left it.
    """
    for candidate in (run_id, parent_run_id):
        run = find_run(settings, candidate) if candidate else None
        if run is not None and has_stage(run, stage):
            return run
    base = last_whole_run(settings)
    if isinstance(base, Run) and has_stage(base, stage):
        return base
    raise NoBaseRun


def ensure(run: Run, settings: Settings, stage: Stage) -> None:
    """See to it that the run's folder has the files of a stage and of all before it.

    Raises:
        NoBaseRun: a store is missing from the run's reading, and there is no run to take it from.
    """
    base = find_run(settings, run.manifest.base_run_id) if run.manifest.base_run_id else None
    is_anew = _ensure_initial(run, settings, base)
    for one in STAGES[1 : STAGES.index(stage) + 1]:
        if has_stage(run, one):
            is_anew = is_anew or _is_own(run, base, one)
            continue
        has_other_policy = base is not None and base.policy.version != run.policy.version and one in JUDGED_BY_POLICY
        if is_anew or base is None or has_other_policy or not has_stage(base, one):
            _COMPUTE[one](run, settings)
            is_anew = True
        else:
            _link(base.folder, run.folder, _LEFT[one])


def has_stage(run: Run, stage: Stage) -> bool:
    """Whether the run's folder has what the stage leaves."""
    if stage == "initial":
        return all(has_read(run.initial, store) for store in STORES)
    return (run.folder / _LAST[stage]).exists()


def _alone(settings: Settings, run_id: str, started_at: datetime, terms: Terms) -> Manifest:
    """The manifest of a run that reads nothing: the last whole run's, by the policy of today."""
    base = last_whole_run(settings)
    if isinstance(base, LakeRun):
        as_of = max(base.observed_at.values())
        manifest = replace(
            terms.manifest(settings, run_id, started_at),
            as_of=as_of,
            base_run_id=base.run_id,
            reading_run_id=base.run_id,
        )
    else:
        manifest = base.manifest.continued_as(settings, run_id, started_at, base.manifest.reading_run_id)
    manifest = replace(manifest, policy=load_policy(settings.policy))
    return replace(manifest, as_of=parse_instant(terms.as_of), is_about_past=True) if terms.as_of else manifest


def _ensure_initial(run: Run, settings: Settings, base: Run | None) -> bool:
    """Take the stores, and tables of stores, that the run did not read; whether it read any itself."""
    is_anew = any(_is_own_file(run, base, f"initial/{store}.json") for store in STORES)
    if has_stage(run, "initial") and all((run.initial / f"{name}.parquet").exists() for name in _tables()):
        return is_anew
    source = base or last_whole_run(settings)
    own = {store: read_store_json(run.initial, store) for store in STORES if has_read(run.initial, store)}
    if isinstance(source, LakeRun):
        _restore(run, settings, source)
    elif has_stage(source, "initial"):
        _link(source.folder, run.folder, _LEFT["initial"])
        for store, read in own.items():
            _merge(run, read, read_store_json(source.initial, store))
    else:
        raise NoBaseRun
    return is_anew


def _merge(run: Run, own: StoreRead, other: StoreRead) -> None:
    """Say of a store of which the run read some tables what it has now: the rest is as old as where it came from."""
    if set(own.rows) == set(tables_of(own.store)) or own.fault:
        return
    merged = replace(
        own,
        observed_at=min(own.observed_at, other.observed_at),
        fault=other.fault,
        rows={**other.rows, **own.rows},
        bytes={**other.bytes, **own.bytes},
        fleet_accounts=own.fleet_accounts or other.fleet_accounts,
    )
    write_json(run.initial / f"{own.store}.json", asdict(merged))


def _tables() -> list[str]:
    return [name for store in STORES for name in tables_of(store)]


def _restore(run: Run, settings: Settings, archived: LakeRun) -> None:
    """Write what the lake has of a reading whose folder is gone."""
    snapshot = Lake.of(settings).open(archived.run_id)
    run.initial.mkdir(parents=True, exist_ok=True)
    for store in STORES:
        missing = [name for name in tables_of(store) if not (run.initial / f"{name}.parquet").exists()]
        rows = {}
        for name in missing:
            frame = snapshot[name].collect(engine="streaming")
            frame.write_parquet(run.initial / f"{name}.parquet")
            rows[name] = frame.height
        if missing and not has_read(run.initial, store):
            read = StoreRead(store, archived.observed_at[store], rows=rows, fleet_accounts=rows.get("accounts"))
            write_json(run.initial / f"{store}.json", asdict(read))


def _is_own(run: Run, base: Run | None, stage: Stage) -> bool:
    """Whether the run made the stage itself."""
    last = run.folder / _LAST[stage]
    files = [last] if last.is_file() else sorted(last.glob("*.parquet"))[:1]
    return any(_is_own_file(run, base, str(file.relative_to(run.folder))) for file in files)


def _is_own_file(run: Run, base: Run | None, name: str) -> bool:
    mine = run.folder / name
    return mine.exists() and not (base and (base.folder / name).exists() and mine.samefile(base.folder / name))


def _link(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    """Take the files of these patterns that are not there yet."""
    for pattern in patterns:
        for file in source.glob(pattern):
            own = target / file.relative_to(source)
            if file.is_file() and not own.exists():
                own.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(file, own)


def _link_or_copy(file: Path, own: Path) -> None:
    try:
        os.link(file, own)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, own)


_COMPUTE: Final[Mapping[Stage, Callable[[Run, Settings], object]]] = {
    "facts": sweep,
    "judged": judge_initial,
    "recheck": recheck,
    "results": conclude,
    "changes": lambda run, _settings: correct(run),
}
