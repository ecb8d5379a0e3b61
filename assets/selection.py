"""Audits of less than the fleet: some accounts or buckets, or the fleet about another instant.

They run the very stages of the fleet's audit in one step, and are assets of their own, so that the fleet's numbers,
charts and checks never show a subset's. `selection` takes its accounts by run configuration; `buckets` are the same for
the fleet's buckets as partitions, for backfills. What a bucket is, is decided in `trueup/stores/scope.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import dagster as dg
from pydantic import Field

from assets.corrections import corrections_metadata, plan_metadata
from assets.results_metadata import summary_of, tables_of_findings
from assets.run import WHOLENESS_TAG, refused_as_canceled, run_metadata, run_that_reads, tag_run
from trueup.audit.conclude import Conclusion
from trueup.audit.planning import plan_run
from trueup.audit.run_folder import Run
from trueup.audit.stages import audit
from trueup.audit.terms import Terms
from trueup.drift import by_code
from trueup.stores.errors import SettingsError
from trueup.stores.scope import NO_BUCKET
from trueup.stores.settings import Settings, bucket_count_at_load

NOTHING_SELECTED: Final = "Give accounts, a file, buckets or an instant; or launch job audit for the fleet."
UNASSIGNED: Final = "no_account"
Results = Iterator[dg.MaterializeResult[None]]


def bucket_key(bucket: int) -> str:
    """A bucket's partition: `bucket_00` …, and `no_account` for rows that lead to no account."""
    return UNASSIGNED if bucket == NO_BUCKET else f"bucket_{bucket:02d}"


def bucket_of_key(key: str) -> int:
    """The bucket of a partition."""
    return NO_BUCKET if key == UNASSIGNED else int(key.removeprefix("bucket_"))


BUCKETS: Final = dg.StaticPartitionsDefinition(
    [bucket_key(bucket) for bucket in (*range(bucket_count_at_load()), NO_BUCKET)]
)


class SelectionTerms(dg.Config):
    """Whose accounts, and about which instant."""

    accounts: list[str] = Field(default=[], description="These accounts.")
    accounts_file: str = Field(default="", description="The accounts in this file, one id per line.")
    buckets: list[int] = Field(default=[], description="These buckets of the fleet.")
    as_of: str = Field(default="", description="The instant to reason about, ISO 8601; empty for the run's start.")

    def terms(self) -> Terms:
        return Terms(tuple(self.accounts), self.accounts_file, tuple(self.buckets), self.as_of)


def _specs(prefix: str, names: Sequence[tuple[str, str]], deps: Sequence[str] = ()) -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            [prefix, name],
            group_name=prefix,
            kinds={"parquet"},
            owners=["team:data-platform"],
            description=description,
            deps=list(deps),
            skippable=True,
        )
        for name, description in names
    ]


_SNAPSHOT: Final = ("snapshot", "What the six stores said of the accounts, and of all that they depend on.")
_DESIRED: Final = ("desired_dunning_state", "What the accounts' dunning state should be, and why.")
_FINDINGS: Final = ("disagreements", "Where a store differs from what should be, for these accounts only.")
_CORRECTIONS: Final = ("corrections", "What would change for these accounts.")


@dg.multi_asset(
    name="selection", can_subset=True, specs=_specs("selection", (_SNAPSHOT, _DESIRED, _FINDINGS, _CORRECTIONS))
)
def selection(
    context: dg.AssetExecutionContext, config: SelectionTerms, settings: dg.ResourceParam[Settings]
) -> Results:
    """Audit the accounts that the run's configuration names."""
    terms = config.terms()
    if terms.is_of_fleet:
        with refused_as_canceled(context):
            raise SettingsError(["no account is selected"], NOTHING_SELECTED)
    run = run_that_reads(context, settings, terms)
    yield from _audited(context, run, settings, "selection")


@dg.asset(
    key=["selection", "correction_plan"],
    deps=[["selection", "corrections"]],
    group_name="selection",
    kinds={"postgres"},
    owners=["team:A3-recompute"],
    description="A plan of the corrections of some accounts, stored until somebody approves or rejects it.",
)
def selection_plan(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Make the plan."""
    run = run_that_reads(context, settings)
    plan, _ = plan_run(run, settings)
    return dg.MaterializeResult(metadata={**plan_metadata(plan), **run_metadata(run)})


@dg.multi_asset(
    name="buckets",
    can_subset=True,
    specs=_specs("buckets", (_SNAPSHOT, _DESIRED, _FINDINGS)),
    partitions_def=BUCKETS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def buckets(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> Results:
    """Audit the buckets that the run's partitions name."""
    chosen = tuple(bucket_of_key(key) for key in context.partition_keys)
    run = run_that_reads(context, settings, Terms(buckets=chosen))
    yield from _audited(context, run, settings, "buckets")


def _audited(context: dg.AssetExecutionContext, run: Run, settings: Settings, prefix: str) -> Results:
    with refused_as_canceled(context):
        conclusion = audit(run, settings)
    tag_run(context, {WHOLENESS_TAG: conclusion.wholeness})
    context.log.info("%d of %d accounts disagree.", conclusion.disagreeing, conclusion.accounts)
    for name, metadata in _metadata(conclusion).items():
        key = dg.AssetKey([prefix, name])
        if key in context.selected_asset_keys:
            of_run = {**run_metadata(run), "wholeness": conclusion.wholeness}
            yield dg.MaterializeResult(asset_key=key, metadata={**metadata, **of_run})


def _metadata(conclusion: Conclusion) -> dict[str, dict[str, Any]]:
    run, findings = conclusion.run, conclusion.findings
    tables = tables_of_findings(findings, run.as_of)
    return {
        "snapshot": {"dagster/row_count": conclusion.rows_read},
        "desired_dunning_state": {"dagster/row_count": conclusion.accounts},
        "disagreements": {
            "summary": dg.MetadataValue.md(summary_of(conclusion)),
            "dagster/row_count": findings.height,
            "selected_accounts_disagreeing": conclusion.disagreeing,
            **{name: dg.MetadataValue.md(table) for name, table in tables.items()},
            **{f"code/{row['code']}": row["accounts"] for row in by_code(findings).iter_rows(named=True)},
        },
        "corrections": corrections_metadata(run.read("changes")),
    }


SELECTION_ASSETS: Final = (selection, selection_plan, buckets)
