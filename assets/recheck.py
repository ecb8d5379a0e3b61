"""The recheck: the accounts that seem to disagree are read again, and only what is still so is believed.

Six stores cannot be read at one instant: a payment that lands between two readings seems a disagreement and is none. So
every account with a finding is gathered again after the initial reading, and judged again; its later answer takes the
place of the earlier one. Whose findings are read again is decided in `trueup/audit/stages.py`.
"""

import dagster as dg

from assets.run import run_metadata, run_with
from trueup.audit import stages
from trueup.audit.gather import ScopeReading
from trueup.audit.partitions import stored_judgement
from trueup.stores.settings import Settings


@dg.asset(
    deps=["initial_reading"],
    group_name="audit",
    kinds={"polars"},
    owners=["team:data-platform"],
    description="The accounts that seem to disagree, read and judged a second time.",
)
def recheck(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """Read and judge them again."""
    run = run_with(context, settings, "judged")
    scope, again = stages.recheck(run, settings)
    accounts = 0 if scope is None else len(scope.accounts or ())
    context.log.info("%d accounts read again.", accounts)
    return dg.MaterializeResult(
        metadata={
            "accounts_read_again": accounts,
            "findings_at_first": stored_judgement(ScopeReading.at(run.initial)).findings.height,
            "findings_again": 0 if again is None else again.findings.height,
            **run_metadata(run),
        }
    )
