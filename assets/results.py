"""The results of an audit of the fleet: what each account should be, what disagrees, what each store implies.

The counts of `disagreements` are what is tracked over time, so these are assets without partitions, made in the same
job as the checks that judge them; and only a run over the whole fleet, with every store read whole, gives them as
numbers. A run that could not see says "cannot tell" in their place, which leaves a gap in Dagster's plots. How results
are made and written is in `trueup/audit/conclude.py`; how they are formatted, in `assets/results_metadata.py`.
"""

from collections.abc import Iterator

import dagster as dg

from assets.lineage import DESIRED_FROM, FINDINGS_FROM, column_lineage, table_schema
from assets.results_metadata import desired_metadata, findings_metadata, implied_metadata
from assets.run import WHOLENESS_TAG, run_metadata, run_with, tag_run
from trueup.audit.conclude import conclude
from trueup.contract.schemas import DESIRED
from trueup.stores.settings import Settings

OWNERS = ["team:data-platform"]


@dg.multi_asset(
    name="audit_results",
    can_subset=True,
    specs=[
        dg.AssetSpec(
            "desired_dunning_state",
            deps=["recheck"],
            group_name="audit",
            skippable=True,
            kinds={"parquet"},
            owners=OWNERS,
            description="What every account's dunning state should be, and why.",
            metadata={
                "dagster/column_schema": table_schema(DESIRED, DESIRED_FROM),
                "dagster/column_lineage": column_lineage(DESIRED_FROM),
            },
        ),
        dg.AssetSpec(
            "implied_states",
            deps=["recheck"],
            group_name="audit",
            skippable=True,
            kinds={"parquet"},
            owners=OWNERS,
            description="What each store, taken by itself, implies of every account.",
        ),
        dg.AssetSpec(
            "disagreements",
            deps=["recheck"],
            group_name="audit",
            skippable=True,
            kinds={"parquet"},
            owners=OWNERS,
            description="Where a store differs from what should be: one row per account, code and object.",
            metadata={"dagster/column_lineage": column_lineage(FINDINGS_FROM)},
        ),
    ],
)
def audit_results(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """The run's answer, confirmed by the recheck and added to the history."""
    run = run_with(context, settings, "recheck")
    conclusion = conclude(run, settings)
    tag_run(context, {WHOLENESS_TAG: conclusion.wholeness})
    context.log.info(
        "%d of %d accounts disagree (%s, %s); history: %s.",
        conclusion.disagreeing,
        conclusion.accounts,
        run.scope.label,
        conclusion.wholeness,
        conclusion.history,
    )
    of_run = {**run_metadata(run), "wholeness": conclusion.wholeness}
    for key, metadata_of in METADATA.items():
        if key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key, metadata={**metadata_of(conclusion), **of_run})


METADATA = {
    dg.AssetKey("desired_dunning_state"): desired_metadata,
    dg.AssetKey("implied_states"): implied_metadata,
    dg.AssetKey("disagreements"): findings_metadata,
}
