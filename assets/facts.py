"""Facts: what the stores said, swept of rows that no rule can use, and archived.

A swept row is never lost: each is a contract violation, and each violation a finding. What the whole fleet said goes
into the lake, so that a past day can be read again.
"""

import dagster as dg
import polars as pl

from assets.run import run_metadata, run_with
from assets.stores import table_key
from trueup.audit.stages import sweep
from trueup.contract.schemas import TABLES
from trueup.stores.settings import Settings


@dg.asset(
    deps=[table_key(name) for name in TABLES],
    group_name="audit",
    kinds={"polars"},
    owners=["team:data-platform"],
    description="What the six stores said, fit for the rules; the rows that are not, each with the rule it breaks.",
)
def facts(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """Sweep and archive the reading."""
    run = run_with(context, settings, "initial")
    violations = sweep(run, settings)
    context.log.info("%d rows break their store's contract.", violations.height)
    return dg.MaterializeResult(metadata={**counts(violations), **run_metadata(run)})


def counts(violations: pl.DataFrame) -> dict[str, int]:
    """Rows that broke their contract, by store, for Dagster to plot."""
    by_store = violations.group_by("store").len("rows")
    return {
        "contract_violations": violations.height,
        **{f"contract_violations/{store}": rows for store, rows in by_store.iter_rows()},
    }
