"""Initial reading: what every account of the scope should be, and what seems to disagree.

Seems, because six stores cannot be read at one instant; `recheck.py` tells which of it is so.
"""

import dagster as dg

from assets.run import AuditTerms, run_of
from trueup.audit.gather import ScopeReading
from trueup.audit.judge import height
from trueup.audit.partitions import archived_run_id, judge_partitions, partitions_of
from trueup.stores.settings import Settings


@dg.asset(deps=["facts"], group_name="audit", kinds={"polars"})
def initial_reading(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> dg.MaterializeResult[None]:
    """The engine's answer to the first reading of the stores, and what disagrees with it."""
    run = run_of(context, settings, terms)
    reading = ScopeReading.at(run.initial)
    partitions = partitions_of(reading, run.scope, settings, archived_run_id(reading, run.scope, run.run_id))
    first = judge_partitions(partitions, settings, run.as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": height(first.desired),
            "findings": first.findings.height,
            "accounts_with_findings": first.findings["account_id"].drop_nulls().n_unique(),
            "partitions": len(partitions),
        }
    )
