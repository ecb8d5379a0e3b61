"""First look: what every account of the scope should be, and what seems to disagree.

Seems, because six stores cannot be read at one instant; `second_look.py` tells which of it is so.
"""

import dagster as dg

from assets.by_bucket import is_to_be_parted, judge_by_bucket
from assets.gathering import Look
from assets.judging import judge, keep, read_snapshot
from assets.run import AuditTerms, run_of
from dunning.contract import Swept
from dunning.policy import load_policy
from stores.settings import Settings


@dg.asset(deps=["facts"], group_name="audit", kinds={"polars"})
def first_look(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> dg.MaterializeResult[None]:
    """The engine's answer to the first reading of the stores, and what disagrees with it."""
    run = run_of(context, settings, terms)
    look = Look.at(run.first)
    if is_to_be_parted(run, look, settings):
        judgement = judge_by_bucket(run, look, settings)
    else:
        swept = Swept(read_snapshot(run.folder / "facts"), run.read("faults"))
        judgement = judge(swept, look, load_policy(settings.policy), run.as_of, settings)
    keep(run.first / "judged", judgement)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": judgement.judged.desired.height,
            "findings": judgement.findings.height,
            "accounts_with_findings": judgement.findings["account_id"].drop_nulls().n_unique(),
        }
    )
