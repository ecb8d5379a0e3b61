"""The initial reading, judged: what every account of the scope should be, and what seems to disagree.

Seems, because six stores cannot be read at one instant; `recheck.py` finds out which of it is so.
"""

import dagster as dg

from assets.run import run_metadata, run_with
from trueup.audit.judge import height
from trueup.audit.stages import judge_initial
from trueup.stores.settings import Settings


@dg.asset(
    deps=["facts"],
    group_name="audit",
    kinds={"polars"},
    owners=["team:data-platform"],
    description="The engine's answer to the initial reading of the stores, and what disagrees with it.",
)
def initial_reading(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Judge the facts of the initial reading."""
    run = run_with(context, settings, "facts")
    judged, partitions = judge_initial(run, settings)
    accounts, suspected = height(judged.desired), judged.findings["account_id"].drop_nulls().n_unique()
    context.log.info("%d accounts judged; %d seem to disagree.", accounts, suspected)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": accounts,
            "findings": judged.findings.height,
            "accounts_with_findings": suspected,
            "partitions": partitions,
            **run_metadata(run),
        }
    )
