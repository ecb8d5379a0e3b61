"""Facts: what the stores said, swept of rows that no rule can use, and kept for later.

A swept row is never lost: each becomes a fault, and each fault a finding. What the whole fleet or a bucket of it said
goes into the lake, so that a past day can be looked at again; a list of accounts stays in its run's folder.
"""

import dagster as dg
import polars as pl

from assets.gathering import Look
from assets.judging import sweep_snapshot, write_snapshot
from assets.progress import working_on
from assets.run import AuditTerms, run_of
from assets.stores import table_key
from dunning.policy import load_policy
from dunning.schemas import TABLES
from stores.lake import Lake
from stores.runs import Run
from stores.settings import Settings


@dg.asset(deps=[table_key(name) for name in TABLES], group_name="audit", kinds={"polars"})
def facts(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> dg.MaterializeResult[None]:
    """What the six stores said, fit for the rules; the rows that are not, each with the rule it breaks."""
    run = run_of(context, settings, terms)
    look = Look.at(run.first)
    keep_in_lake(settings, run, look)
    swept = sweep_snapshot(look.snapshot(), load_policy(settings.policy), run.as_of)
    write_snapshot(run.folder / "facts", swept.frames)
    run.write("faults", swept.faults)
    return dg.MaterializeResult(metadata=counts(swept.faults))


def keep_in_lake(settings: Settings, run: Run, look: Look) -> None:
    """Keep what a fleet or buckets of it said; a snapshot with a broken store in it would be a false past."""
    if run.scope.accounts is None and not look.faults():
        with working_on("keep in the lake"):
            Lake.of(settings).commit(run.run_id, look.snapshot(), look.observed_at(), run.scope, settings.bucket_count)


def counts(faults: pl.DataFrame) -> dict[str, int]:
    """Rows that broke their contract, by store, for Dagster to plot."""
    by_store = faults.group_by("store").len("rows")
    return {"faulty_rows": faults.height, **{f"faulty_rows/{store}": rows for store, rows in by_store.iter_rows()}}
