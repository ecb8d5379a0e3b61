"""The fleet is true, and what is planted in it is all there is to find.

Its states were written down from docs/contract/DUNNING.md by hand, so these tests hold the engine and the rules to the
text as much as they hold the fleet.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from trueup.contract import sweep
from trueup.contract.schemas import STORES, TABLES, Snapshot
from trueup.drift import find
from trueup.engine.engine import Judged, compute
from trueup.engine.policy import load_policy
from trueup.sandbox.fleet import CODES, SCENARIOS, Fleet, load_fleet, make_fleet
from trueup.sandbox.fleet.archetypes import ARCHETYPES
from trueup.sandbox.fleet.writer import LiveWriter
from trueup.sandbox.stripe_api import StripeSandbox
from trueup.stores.postgres.reading import open_reading, read_frame, tables_in
from trueup.stores.settings import DATABASES, Settings
from trueup.stores.stripe import read_stripe

AS_OF = datetime(2026, 11, 20, 15, tzinfo=UTC)
POLICY = load_policy()
STORED = ("state", "driver_invoice_id", "clock_started_on", "attempt_count", "next_retry_at")
COUNTED = ("S1", "S2", "S3")

# Around midnight, leap days, and the weekends on which the clocks of the world change.
MOMENTS = (
    datetime(2026, 3, 29, 0, tzinfo=UTC),
    datetime(2026, 4, 5, 14, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2028, 2, 29, 23, tzinfo=UTC),
)


def audit(snapshot: Snapshot, as_of: datetime, settle_minutes: int = 5) -> tuple[Judged, pl.DataFrame]:
    swept = sweep(snapshot, as_of=as_of)
    judged = compute(swept.frames, POLICY, as_of, violations=swept.violations)
    observed_at = dict.fromkeys(STORES, as_of)
    found = find(
        judged, POLICY, as_of, violations=swept.violations, observed_at=observed_at, settle_minutes=settle_minutes
    )
    return judged, found


@cache
def consistent() -> tuple[Fleet, Judged, pl.DataFrame]:
    fleet = make_fleet(accounts=12_000, drift=0, seed=1, as_of=AS_OF)
    return (fleet, *audit(fleet.snapshot(), AS_OF))


@cache
def disturbed() -> tuple[Fleet, Judged, pl.DataFrame]:
    fleet = make_fleet(accounts=2_000, drift=250, seed=2, as_of=AS_OF)
    return (fleet, *audit(fleet.snapshot(), AS_OF))


def wrongly_known(fleet: Fleet, judged: Judged) -> pl.DataFrame:
    """Accounts of which the engine says something else than what is known by construction."""
    desired = judged.desired.with_columns(pl.col("state").cast(pl.String))
    both = fleet.known.join(desired, on="account_id", how="left", suffix="_desired")
    return both.filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_desired")) for name in STORED))


def triples(rows: pl.DataFrame) -> set[tuple[str | None, str, str | None]]:
    return set(rows.select("account_id", "code", "object_id").iter_rows())  # type: ignore[arg-type]


def test_a_seed_gives_the_same_fleet_again() -> None:
    one, other, third = (make_fleet(600, 60, seed, AS_OF) for seed in (5, 5, 6))

    assert all(one.frames[name].equals(other.frames[name]) for name in TABLES)
    assert one.planted.equals(other.planted)
    assert not one.frames["accounts"].equals(third.frames["accounts"])


def test_its_frames_are_what_the_engine_takes() -> None:
    fleet = disturbed()[0]

    assert {name: frame.schema for name, frame in fleet.frames.items()} == {
        name: TABLES[name].schema for name in TABLES
    }
    assert {name: frame.collect_schema() for name, frame in fleet.snapshot().items()} == {
        name: TABLES[name].schema for name in TABLES
    }


def test_every_kind_of_account_is_in_a_fleet() -> None:
    undisturbed = {name for name, archetype in ARCHETYPES.items() if archetype.share}

    assert set(consistent()[0].known["archetype"]) == undisturbed


def test_a_consistent_fleet_breaks_no_contract_and_has_no_finding() -> None:
    fleet, _, found = consistent()

    assert sweep(fleet.snapshot()).violations.is_empty()
    assert found.is_empty(), found.select("account_id", "code", "observed")


def test_the_engine_says_what_is_known_by_construction() -> None:
    fleet, judged, _ = consistent()

    assert wrongly_known(fleet, judged).is_empty()
    assert (judged.desired["quality"] == "determinate").all()


def test_planting_disturbs_what_is_stored_and_not_what_is_desired() -> None:
    fleet, judged, _ = disturbed()

    assert wrongly_known(fleet, judged).is_empty()


@pytest.mark.parametrize("as_of", MOMENTS)
def test_it_stays_true_for_a_day_whenever_it_was_made(as_of: datetime) -> None:
    fleet = make_fleet(accounts=2_000, drift=150, seed=3, as_of=as_of)

    for later in (timedelta(), timedelta(hours=23)):
        judged, found = audit(fleet.snapshot(), as_of + later)
        assert triples(found) == triples(fleet.planted)
        assert wrongly_known(fleet, judged).is_empty()


def test_every_code_of_the_contract_can_be_planted() -> None:
    from trueup.drift.codes import CODES as KNOWN

    faults_of_reading = {"SRC_STALE", "SRC_PARTIAL"}
    found_by_audits = {name for name, code in KNOWN.items() if code.is_found_by_audits}

    assert set(CODES) == found_by_audits - faults_of_reading


@pytest.mark.parametrize("name", [*CODES, *SCENARIOS])
def test_a_planted_fault_is_found_and_nothing_else(name: str) -> None:
    fleet, _, found = disturbed()
    planted = fleet.planted.filter(pl.col("fault") == name)
    accounts = planted["account_id"].drop_nulls().unique()
    objects = planted.filter(pl.col("account_id").is_null())["object_id"]
    is_about = pl.col("account_id").is_in(accounts.implode()) | (
        pl.col("account_id").is_null() & pl.col("object_id").is_in(objects.implode())
    )

    assert len(planted)
    assert triples(found.filter(is_about)) == triples(planted)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_root_of_a_story_is_its_first_word(name: str) -> None:
    fleet, _, found = disturbed()
    root = fleet.planted.filter((pl.col("fault") == name) & ~pl.col("is_consequence"))

    roots = found.filter("is_root").join(root.select("account_id"), on="account_id", how="semi")
    assert triples(roots) == triples(root)


def test_what_is_planted_is_found_and_what_is_found_was_planted() -> None:
    fleet, _, found = disturbed()

    assert triples(found) == triples(fleet.planted)


@pytest.mark.parametrize(("accounts", "drift"), [(300, 1), (300, 17), (700, 250), (5_000, 691)])
def test_exactly_so_many_accounts_disagree(accounts: int, drift: int) -> None:
    fleet = make_fleet(accounts, drift, seed=drift, as_of=AS_OF)
    _, found = audit(fleet.snapshot(), AS_OF)
    counted = found.filter(pl.col("severity").is_in(COUNTED) & pl.col("account_id").is_not_null())

    assert counted["account_id"].n_unique() == drift == fleet.disagreeing
    assert len(fleet.frames["accounts"]) == accounts


def test_the_default_drift_spans_the_stores_and_what_we_correct() -> None:
    fleet, _, found = disturbed()

    assert fleet.planted["code"].n_unique() >= 15
    assert set(found["stores"].explode()) == set(STORES)
    assert {"DUN_STUCK_AFTER_PAYMENT", "FLAG_BAD_DEBT_STALE", "MAN_STATUS_MISMATCH", "EVT_STUCK_MOOT"} <= set(
        fleet.planted["code"]
    )


def test_only_the_chosen_codes_are_planted() -> None:
    fleet = make_fleet(400, 9, seed=4, as_of=AS_OF, codes=["PAY_UNLINKED", "FLAG_BAD_DEBT_MISSING", "lost_webhook"])

    assert set(fleet.planted["fault"]) == {"PAY_UNLINKED", "FLAG_BAD_DEBT_MISSING", "lost_webhook"}
    assert fleet.disagreeing == 9


def test_what_cannot_be_made_is_refused_with_its_reason() -> None:
    with pytest.raises(ValueError, match="no planted fault is called PAY_TWICE"):
        make_fleet(10, 1, 0, AS_OF, ["PAY_TWICE"])
    with pytest.raises(ValueError, match="faults need 40 accounts and there are 10"):
        make_fleet(10, 40, 0, AS_OF, ["PAY_UNLINKED"])
    with pytest.raises(ValueError, match="takes 2 accounts at a time"):
        make_fleet(10, 3, 0, AS_OF, ["MAP_SHARED_CUSTOMER"])
    with pytest.raises(ValueError, match="drift -1 is negative"):
        make_fleet(10, -1, 0, AS_OF)
    with pytest.raises(ValueError, match="no timezone"):
        make_fleet(10, 0, 0, datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused


def test_addresses_are_made_up_and_never_in_the_frames() -> None:
    fleet = disturbed()[0]

    assert fleet.tables["accounts"]["email"].str.ends_with("@example.invalid").all()
    assert fleet.tables["subs_account"]["billing_email"].str.ends_with("@example.invalid").all()
    assert "email" not in fleet.frames["accounts"].columns


def test_the_readers_bring_home_what_was_loaded(settings: Settings, tmp_path: Path) -> None:
    fleet = make_fleet(500, 120, seed=8)
    seen: list[tuple[int, int]] = []
    with StripeSandbox() as sandbox:
        load_fleet(fleet, settings, sandbox, lambda _name, done, total: seen.append((done, total)))
        gathered = gather(reaching(settings, sandbox), tmp_path / "spool")

    assert seen[-1][0] == seen[-1][1]
    for name, frame in fleet.snapshot().items():
        key = list(TABLES[name].key)
        assert gathered[name].select(frame.collect_schema().names()).sort(key).equals(frame.collect().sort(key)), name


@pytest.mark.slow
def test_a_live_writer_leaves_a_consistent_fleet_behind(
    settings: Settings, databases: dict[str, str], tmp_path: Path
) -> None:
    fleet = make_fleet(1_500, 0, seed=9)
    with StripeSandbox() as sandbox:
        load_fleet(fleet, databases, sandbox)
        reachable = reaching(settings, sandbox)
        with LiveWriter(fleet, databases, sandbox, pause=0.01) as writer:
            gather(reachable, tmp_path / "meanwhile")
        gathered = gather(reachable, tmp_path / "after")
    judged, found = audit({name: rows.lazy() for name, rows in gathered.items()}, datetime.now(UTC), settle_minutes=0)
    paid = judged.desired.filter(pl.col("account_id").is_in(writer.paid))

    assert len(writer.paid) > 3
    assert set(paid["state"]) == {"good_standing"}
    assert found.is_empty(), found.select("account_id", "code", "observed")


def reaching(settings: Settings, sandbox: StripeSandbox) -> Settings:
    """The same settings with the sandbox as Stripe, in no hurry to be polite to it."""
    stripe = {
        "stripe_api_key": SecretStr(sandbox.api_key),
        "stripe_api_base": sandbox.base_url,
        "stripe_requests_per_second": 10_000.0,
    }
    return settings.model_copy(update=stripe)


def gather(settings: Settings, spool: Path) -> dict[str, pl.DataFrame]:
    """Every table, by the real readers."""
    rows: dict[str, pl.DataFrame] = {}
    for database in DATABASES:
        with open_reading(settings, database) as reading:
            rows |= {name: read_frame(reading, name) for name in tables_in(database)}
    mandates = rows["subs_mandate"]["stripe_mandate_id"].unique().to_list()
    customers = rows["subs_customer"].filter("livemode")["stripe_customer_id"].unique().to_list()
    reads = read_stripe(settings, None, mandates, customers, spool)
    return rows | {name: pl.read_parquet(read.path) for name, read in reads.items()}
