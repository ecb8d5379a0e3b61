"""The run's manifest as an asset: it is made first, and every store waits for it."""

import dagster as dg

from assets.run import run_metadata, run_that_reads
from trueup.stores.settings import Settings


@dg.asset(
    group_name="audit",
    kinds={"json"},
    description="Policy, instants and scope of the run: validated before any store is asked, and read by every step.",
)
def run_manifest(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """The manifest of this run."""
    run = run_that_reads(context, settings)
    return dg.MaterializeResult(metadata={**run_metadata(run), "made_by": run.manifest.made_by})
