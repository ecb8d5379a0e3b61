"""Asset checks: one for each expectation of each table, on that table's asset; one step judges a store.

A check passes when Great Expectations and the sweep both find no broken row. That they do not count the same is a fault
of ours and always an error. A store that cannot be judged fails its step and none of its checks: a broken check is not
a failed one. Databases are read for this anew; Stripe's lists are those of the last audit of the fleet, from the lake,
because reading them again takes minutes and tells no more.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import dagster as dg

from checks.expectations.judging import Counts, judge_frame, judging_database
from checks.expectations.suites import Expected, Suite, suites_of
from checks.expectations.sweeping import Broken, sweep_suite
from trueup.contract.schemas import STORES, TABLES
from trueup.stores.lake.tables import Lake, RunUnknown
from trueup.stores.postgres.gather import gather_table
from trueup.stores.postgres.models import DATABASE_OF
from trueup.stores.postgres.reading import open_reading
from trueup.stores.scope import Scope
from trueup.stores.settings import DATABASES, Settings

SEVERITY: Final = {
    "critical": dg.AssetCheckSeverity.ERROR,  # the row is taken out, or its account cannot be told
    "warning": dg.AssetCheckSeverity.WARN,  # the value is left out, or only reported
    "info": dg.AssetCheckSeverity.WARN,  # nothing is computed with it
}

Judged = Iterator[tuple[Suite, Counts, dict[str, Broken]]]


def store_checks(store: str) -> dg.AssetChecksDefinition:
    """The checks of one store's tables."""

    @dg.multi_asset_check(
        name=f"contract_of_{store}",
        description=f"What {store} promises of its rows, judged by Great Expectations and by the sweep.",
        specs=[check_spec(one) for suite in suites_of(store) for one in suite.expected],
        can_subset=True,
    )
    def contract_of_store(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetCheckResult]:
        chosen = context.selected_asset_check_keys
        tables = {
            suite.table for suite in suites_of(store) if asset_of(suite.table) in {key.asset_key for key in chosen}
        }
        for suite, counts, broken in judge_store(settings, store, tables):
            for one in suite.expected:
                if dg.AssetCheckKey(asset_of(one.table), one.claim) in chosen:
                    yield verdict(one, counts[one.claim], broken[one.claim])

    return contract_of_store


def check_spec(one: Expected) -> dg.AssetCheckSpec:
    """The check of one expectation."""
    return dg.AssetCheckSpec(
        one.claim, asset=asset_of(one.table), description=one.description, metadata={"expectation": one.kind}
    )


def asset_of(table: str) -> dg.AssetKey:
    """The asset of a table, as `assets.stores.table_key` names it; a test holds the two together."""
    return dg.AssetKey([TABLES[table].store, table.removeprefix("stripe_")])


def judge_store(settings: Settings, store: str, tables: Collection[str] | None = None) -> Judged:
    """Each suite of a store, or of some of its tables, with what Great Expectations counted and what the sweep found.

    Raises:
        StoreError: a database could not be read.
        RunUnknown: no audit of the fleet has kept Stripe's lists yet.
    """
    suites = [suite for suite in suites_of(store) if tables is None or suite.table in tables]
    return judge_stripe(settings, suites) if store == "stripe" else judge_tables(settings, suites)


def judge_tables(settings: Settings, suites: Sequence[Suite]) -> Judged:
    """The suites of a store that is in a database, judged at one instant of it."""
    [database] = [name for name in DATABASES if name == DATABASE_OF[suites[0].table]]
    with open_reading(settings, database) as reading, judging_database(reading) as judge, _folder() as folder:
        for suite in suites:
            read = gather_table(reading, suite.table, Scope.fleet(), folder)
            yield suite, judge.judge(suite), sweep_suite(read.scan(), suite)


def judge_stripe(settings: Settings, suites: Sequence[Suite]) -> Judged:
    """The suites of Stripe's lists, as the last audit of the fleet kept them."""
    lake = Lake.of(settings)
    run = lake.latest()
    if run is None:
        raise RunUnknown("No audit of the fleet has kept Stripe's lists yet.", "Run `trueup audit` first.")
    snapshot = lake.open(run.run_id)
    for suite in suites:
        rows = snapshot[suite.table]
        yield suite, judge_frame(rows, suite), sweep_suite(rows, suite)


def verdict(one: Expected, counted: int, broken: Broken) -> dg.AssetCheckResult:
    """Whether nobody found a broken row; both counts, and the first keys."""
    is_agreed = counted == broken.rows
    return dg.AssetCheckResult(
        asset_key=asset_of(one.table),
        check_name=one.claim,
        passed=counted == broken.rows == 0,
        severity=SEVERITY[one.severity] if is_agreed else dg.AssetCheckSeverity.ERROR,
        metadata={
            "contract_violations": counted,
            "contract_violations_by_the_sweep": broken.rows,
            "severity": one.severity,
            **({"keys": ", ".join(broken.keys)} if broken.keys else {}),
        },
    )


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="trueup-contracts-") as folder:
        yield Path(folder)


EXPECTATION_CHECKS: Final = [store_checks(store) for store in STORES]
