"""First look: what every account of the scope should be, and what seems to disagree.

Seems, because six stores cannot be read at one instant; `second_look.py` tells which of it is so.
"""

import dagster as dg

from assets.run import AuditTerms, run_of
from trueup.audit.gather import Look
from trueup.audit.judge import height
from trueup.audit.partitions import history_run, judge_parts, parts_of
from trueup.stores.settings import Settings


@dg.asset(deps=["facts"], group_name="audit", kinds={"polars"})
def first_look(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> dg.MaterializeResult[None]:
    """The engine's answer to the first reading of the stores, and what disagrees with it."""
    run = run_of(context, settings, terms)
    look = Look.at(run.first)
    parts = parts_of(look, run.scope, settings, history_run(look, run.scope, run.run_id))
    first = judge_parts(parts, settings, run.as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": height(first.desired),
            "findings": first.findings.height,
            "accounts_with_findings": first.findings["account_id"].drop_nulls().n_unique(),
            "parts": len(parts),
        }
    )
