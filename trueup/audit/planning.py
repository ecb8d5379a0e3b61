"""Planning: the plan that a run's corrections make, and where no plan may be made of them.

A plan is made only of a reading in which every store was whole: else an account that owes nothing and an account whose
invoices could not be read would look the same to it. What a plan is, is decided in `trueup/correction/plan.py`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from trueup.audit.gather import STANDBY
from trueup.audit.run_folder import Run, read_json, write_json
from trueup.correction.plan import Plan, PlanScope, make_plan
from trueup.stores.auditor.connection import identity, utc_now
from trueup.stores.auditor.plans import PlanInfo, store_plan
from trueup.stores.errors import StoreNotWhole
from trueup.stores.settings import Settings

PLAN_FILE = "plan.json"


def plan_run(run: Run, settings: Settings) -> tuple[Plan, PlanInfo]:
    """Make and store the plan of a run's corrections.

    Raises:
        StoreNotWhole: the run could not read a store whole, or read it from a standby.
    """
    plan = plan_of(run, settings)
    info = store_plan(settings, plan)
    write_json(run.folder / PLAN_FILE, {"plan_id": plan.plan_id, "is_empty": plan.is_empty, "status": info.status})
    return plan, info


def plan_of(run: Run, settings: Settings) -> Plan:
    """The plan that a run's corrections make."""
    results = read_json(run.folder / "manifest.json")
    broken = {store: read["broken"] for store, read in results["stores"].items() if read["broken"]}
    if broken:
        store, code = next(iter(broken.items()))
        raise StoreNotWhole(store, f"{code}: no plan is made from a reading that is not whole", "Audit again.")
    for store, read in results["stores"].items():
        if read.get("is_standby"):
            raise StoreNotWhole(store, f"{STANDBY}: no plan is made from it", "Name the primary, and audit again.")
    scope = PlanScope(
        label=run.scope.label,
        accounts=None if run.scope.accounts is None else tuple(sorted(run.scope.accounts)),
        buckets=run.scope.buckets,
        bucket_count=run.manifest.bucket_count,
    )
    return make_plan(
        run.read("changes"),
        as_of=run.as_of,
        policy_version=run.policy.version,
        run_id=run.manifest.reading_run_id,
        scope=scope,
        snapshot={store: datetime.fromisoformat(read["observed_at"]) for store, read in results["stores"].items()},
        fleet_accounts=results["fleet_accounts"],
        created_at=utc_now(),
        maker=identity(settings),
        age_max=timedelta(hours=settings.as_of_age_max_hours),
    )
