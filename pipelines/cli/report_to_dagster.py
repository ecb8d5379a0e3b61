"""Mirror: what happened outside of Dagster, shown in it.

An approval is a signature in the database. Reporting it here makes lineage whole, and approves nothing: the web server
has no login, and whoever reaches it can report what they like.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from pipelines.instance import open_instance
from trueup.stores.auditor.plans import PlanInfo
from trueup.stores.settings import Settings


def mirror_approval(settings: Settings, info: PlanInfo) -> None:
    """Show an approval as a materialisation of `plan_approval`."""
    metadata: dict[str, dg.MetadataValue[Any] | str | int] = {
        "plan_id": info.plan_id,
        "status": info.status,
        "accounts": info.accounts,
        "changes": info.changes,
        "expires_at": dg.MetadataValue.timestamp(info.expires_at),
    }
    with open_instance(settings) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("plan_approval", metadata=metadata))
