"""The manifest: what a run is, decided once at its start and read by every later step.

A run's policy, instants, scope and limits of freshness belong together: a policy file that somebody edits while a run
goes on must change nothing of it. So they are one frozen value, written to the run's folder before any store is asked.
What the run then found out (how whole its reading was, what disagrees) is not here; `trueup/audit/results.py` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from trueup.audit.files import read_json, write_json
from trueup.engine.policy import Policy, load_policy, parse_policy
from trueup.stores.auditor.connection import identity
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

MANIFEST_FILE: Final = "run.json"


@dataclass(frozen=True)
class Manifest:
    """One run: who made it, what it reasons by, and about whom.

    base_run_id: the run whose files this one takes where it makes none itself. reading_run_id: the run that read the
    stores; history and lake know the reading under this id. is_about_past: the launch named an instant.
    """

    run_id: str
    made_by: str
    started_at: datetime
    as_of: datetime
    is_about_past: bool
    scope: Scope
    policy: Policy
    settle_minutes: int
    max_age_hours: float
    bucket_count: int
    accounts_at_once: int
    reading_run_id: str
    base_run_id: str | None = None

    @classmethod
    def of_launch(
        cls, settings: Settings, run_id: str, started_at: datetime, scope: Scope, as_of: datetime | None = None
    ) -> Self:
        """The manifest of a run that reads the stores itself.

        Raises:
            PolicyError: the policy file has faults; every one is named.
        """
        return cls(
            run_id=run_id,
            made_by=identity(settings),
            started_at=started_at,
            as_of=as_of or started_at,
            is_about_past=as_of is not None,
            scope=scope,
            policy=load_policy(settings.policy),
            settle_minutes=settings.settle_minutes,
            max_age_hours=settings.max_age_hours,
            bucket_count=settings.bucket_count,
            accounts_at_once=settings.accounts_at_once,
            reading_run_id=run_id,
        )

    def continued_as(self, settings: Settings, run_id: str, started_at: datetime, reading_run_id: str) -> Self:
        """The manifest of a run that goes on from this one: the same policy, instant and scope."""
        return replace(
            self,
            run_id=run_id,
            made_by=identity(settings),
            started_at=started_at,
            base_run_id=self.run_id,
            reading_run_id=reading_run_id,
        )

    @property
    def is_fleets(self) -> bool:
        """Whether its numbers belong to the fleet's series: the whole fleet, now."""
        return self.scope.is_fleet and not self.is_about_past

    def write(self, folder: Path) -> None:
        """Write it to a run's folder; it appears whole or not at all."""
        write_json(folder / MANIFEST_FILE, self.as_dict())

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The manifest that a run's folder holds, if it holds one."""
        path = folder / MANIFEST_FILE
        return cls.from_dict(read_json(path)) if path.exists() else None

    def as_dict(self) -> dict[str, Any]:
        """The manifest as JSON holds it."""
        return {
            **vars(self),
            "scope": {
                "accounts": None if self.scope.accounts is None else sorted(self.scope.accounts),
                "buckets": None if self.scope.buckets is None else list(self.scope.buckets),
            },
            "policy": self.policy.model_dump(mode="json"),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The manifest that `as_dict` gave."""
        accounts, buckets = values["scope"]["accounts"], values["scope"]["buckets"]
        scope = Scope(
            accounts=None if accounts is None else frozenset(accounts),
            buckets=None if buckets is None else tuple(buckets),
        )
        instants = {name: datetime.fromisoformat(values[name]) for name in ("started_at", "as_of")}
        return cls(**{**values, **instants, "scope": scope, "policy": parse_policy(dict(values["policy"]))})
