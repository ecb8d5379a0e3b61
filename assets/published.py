"""Published events: what the outbox held, given to the sinks.

The relay itself, its order and its sinks are `trueup/stores/publish/relay.py`; this asset makes a run of it visible.
The approval of a plan is an asset too, so that lineage shows where it stands between plan and apply; it is reported by
`trueup approve`, and what is reported approves nothing: the signature in the database does.
"""

from typing import Final

import dagster as dg

from trueup.audit.progress import working_on
from trueup.audit.run_folder import run_folder, write_json
from trueup.stores.publish.relay import count_waiting, relay_once
from trueup.stores.settings import Settings

PLAN_APPROVAL: Final = dg.AssetSpec(
    "plan_approval",
    deps=["correction_plan"],
    group_name="correction",
    kinds={"postgres"},
    description="A person's signature under a plan. Shown here, and judged in the database when the plan is applied.",
)


@dg.asset(deps=["applied_corrections", "disagreements"], group_name="correction", kinds={"webhook"})
def published_events(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """The events that were in the outbox, published to every sink that is configured."""
    with working_on("publish events", count_waiting(settings)) as on_events:
        done = 0

        def progress(published: int) -> None:
            nonlocal done
            on_events(published - done)
            done = published

        report = relay_once(settings, on_progress=progress)
    told: dict[str, int | str] = {
        "published": report.published,
        "refused": report.refused,
        "died": report.died,
        "waiting": report.waiting,
        "unavailable": str(report.unavailable or ""),
    }
    write_json(run_folder(settings, context.run.run_id) / "published.json", told | {"exit_code": report.exit_code})
    return dg.MaterializeResult(metadata=told)
