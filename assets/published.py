"""Published events: what the outbox held, given to the sinks.

The relay itself, its order and its sinks are `trueup/stores/publish/relay.py`; this asset makes a run of it visible.
The approval of a plan is an asset too, so that lineage shows where it stands between plan and apply; it is reported by
`trueup approve`, and what is reported approves nothing: the signature in the database does.
"""

from collections.abc import Iterator
from typing import Final

import dagster as dg

from trueup.audit.progress import working_on
from trueup.audit.run_folder import run_folder, write_json
from trueup.stores.publish.relay import RelayReport, count_waiting, relay_once
from trueup.stores.settings import Settings

RELAY_JOB: Final = "relay_outbox"
PLAN_APPROVAL: Final = dg.AssetSpec(
    "plan_approval",
    deps=["correction_plan"],
    group_name="correction",
    kinds={"postgres"},
    owners=["team:A3-recompute"],
    description="A person's signature under a plan. Shown here, and judged in the database when the plan is applied.",
)


@dg.multi_asset(
    name="published_events",
    specs=[
        dg.AssetSpec(
            "published_events",
            deps=["applied_corrections", "disagreements"],
            group_name="correction",
            kinds={"webhook"},
            owners=["team:data-platform"],
            description="The events that were in the outbox, published to every sink that is configured.",
            skippable=True,
        )
    ],
    pool="relay",
)
def published_events(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Publish the outbox. Beside other assets, and without a sink, nothing is published."""
    has_sink = settings.webhook_url or settings.redis_url
    if not has_sink and context.job_name != RELAY_JOB:
        context.log.warning(
            "Nothing is published: set TRUEUP_WEBHOOK_URL or TRUEUP_REDIS_URL, and launch job relay_outbox."
        )
        return
    report = publish(settings)
    numbers: dict[str, int | str] = {
        "published": report.published,
        "refused": report.refused,
        "died": report.died,
        "waiting": report.waiting,
        "unavailable": str(report.unavailable or ""),
    }
    write_json(run_folder(settings, context.run.run_id) / "published.json", numbers | {"exit_code": report.exit_code})
    yield dg.MaterializeResult(asset_key="published_events", metadata=numbers)


def publish(settings: Settings) -> RelayReport:
    """Publish what the outbox holds, with progress shown to whoever watches."""
    with working_on("publish events", count_waiting(settings)) as on_events:
        done = 0

        def progress(published: int) -> None:
            nonlocal done
            on_events(published - done)
            done = published

        return relay_once(settings, on_progress=progress)
