"""What one run is asked, and how a step of it finds its run.

The terms are a resource that is configured at launch, so that they are typed once and hold for every step. What a run
leaves behind, and where, is in `trueup/audit/run_folder.py`.
"""

from datetime import datetime

import dagster as dg
from pydantic import Field

from trueup.audit.run_folder import Run, run_folder
from trueup.audit.terms import parse_instant, read_account_ids
from trueup.stores.errors import SettingsError
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings


class AuditTerms(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What one run is asked: typed into the launchpad once, or given by the command line."""

    accounts: list[str] = Field(default=[], description="Audit these accounts only; empty for the whole fleet.")
    accounts_file: str = Field(default="", description="A file with one account id per line, added to `accounts`.")
    buckets: list[int] = Field(default=[], description="Audit these buckets of the fleet only.")
    as_of: str = Field(default="", description="The instant to reason about, ISO 8601; empty for the run's start.")

    def check(self) -> None:
        """Refuse what cannot be meant, before anything starts: SettingsError."""
        self.scope()
        if self.as_of:
            parse_instant(self.as_of)

    def scope(self) -> Scope:
        accounts = [*self.accounts, *read_account_ids(self.accounts_file)]
        if accounts and self.buckets:
            raise SettingsError(["both accounts and buckets were given"], "A run has one scope: give either.")
        return Scope(
            accounts=frozenset(accounts) if accounts else None,
            buckets=tuple(sorted(set(self.buckets))) if self.buckets else None,
        )


def open_run(settings: Settings, terms: AuditTerms, run_id: str, started_at: datetime) -> Run:
    """The run of this id, with its folder made."""
    beyond = [bucket for bucket in terms.buckets if bucket not in range(settings.bucket_count)]
    if beyond:
        faults = [f"there is no bucket {bucket}" for bucket in beyond]
        raise SettingsError(faults, f"Buckets are 0 to {settings.bucket_count - 1} (TRUEUP_BUCKET_COUNT).")
    folder = run_folder(settings, run_id)
    folder.mkdir(parents=True, exist_ok=True)
    as_of = parse_instant(terms.as_of) if terms.as_of else started_at
    return Run(run_id, folder, as_of, started_at, terms.scope())


def run_of(context: dg.AssetExecutionContext, settings: Settings, terms: AuditTerms) -> Run:
    """The run that a Dagster step belongs to; every step of it sees the same instant."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    if record is None:
        message = f"Dagster's instance does not know its own run {context.run.run_id}."
        raise LookupError(message)
    return open_run(settings, terms, context.run.run_id, record.create_timestamp)
