"""Facts: what the stores said, swept of rows that no rule can use, and kept for later.

A swept row is never lost: each becomes a violation, and each violation a finding. What the whole fleet or a bucket of
it said goes into the lake, so that a past day can be read again; a list of accounts stays in its run's folder.
"""

import dagster as dg
import polars as pl

from assets.run import AuditTerms, run_of
from assets.stores import table_key
from trueup.audit.gather import ScopeReading
from trueup.audit.partitions import archive_reading, archived_run_id, partitions_of, sweep_partitions
from trueup.contract.schemas import TABLES
from trueup.stores.settings import Settings


@dg.asset(deps=[table_key(name) for name in TABLES], group_name="audit", kinds={"polars"})
def facts(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], terms: AuditTerms
) -> dg.MaterializeResult[None]:
    """What the six stores said, fit for the rules; the rows that are not, each with the rule it breaks."""
    run = run_of(context, settings, terms)
    reading = ScopeReading.at(run.initial)
    archive_reading(reading, run.scope, settings, run.run_id)
    partitions = partitions_of(reading, run.scope, settings, archived_run_id(reading, run.scope, run.run_id))
    violations = sweep_partitions(partitions, settings, run.as_of)
    run.write("contract_violations", violations)
    return dg.MaterializeResult(metadata=counts(violations))


def counts(violations: pl.DataFrame) -> dict[str, int]:
    """Rows that broke their contract, by store, for Dagster to plot."""
    by_store = violations.group_by("store").len("rows")
    return {
        "contract_violations": violations.height,
        **{f"contract_violations/{store}": rows for store, rows in by_store.iter_rows()},
    }
