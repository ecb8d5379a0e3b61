"""Readings: what is said of stores that were not read as they should be, and how runs are asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trueup.audit.gather import ScopeReading, StoreRead
from trueup.audit.progress import watched_by, working_on
from trueup.audit.terms import Terms, parse_instant
from trueup.contract.schemas import STORES
from trueup.stores.errors import SettingsError
from trueup.stores.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def reading(**other: StoreRead) -> ScopeReading:
    return ScopeReading(Path(), {store: other.get(store, StoreRead(store, NOW)) for store in STORES})


def test_a_store_that_could_not_be_read_is_partial() -> None:
    partial = reading(stripe=StoreRead("stripe", NOW, fault="the connection was lost"))

    assert partial.broken(24) == {"stripe": "SRC_PARTIAL"}
    assert partial.faults() == ["the connection was lost"]


def test_a_store_that_was_read_a_day_before_the_others_is_stale() -> None:
    old = StoreRead("cf_prod", NOW - timedelta(hours=25))

    assert reading(cf_prod=old).broken(24) == {"cf_prod": "SRC_STALE"}
    assert reading(cf_prod=old).broken(26) == {}


def test_every_store_gets_a_verdict_for_the_gate() -> None:
    verdicts = reading(stripe=StoreRead("stripe", NOW, fault="down")).whole_checks(24)

    assert dict(verdicts.select("store", "has_passed").iter_rows()) == {store: store != "stripe" for store in STORES}


def test_an_instant_without_an_offset_is_utc() -> None:
    assert parse_instant("2026-03-01T12:00:00Z") == parse_instant("2026-03-01T13:00:00+01:00") == NOW


def test_a_bucket_that_there_is_not_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="there is no bucket 16"):
        Terms(buckets=(3, 16)).manifest(settings, "run", NOW)


def test_an_accounts_file_leaves_out_blank_lines_and_comments(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "accounts").write_text("# churned\n\n acc_1 \nacc_2\n")
    terms = Terms(accounts=("acc_3",), accounts_file=str(tmp_path / "accounts"))
    scope = terms.manifest(settings, "run", NOW).scope

    assert scope.accounts == {"acc_1", "acc_2", "acc_3"}


def test_work_is_told_to_whoever_watches() -> None:
    told: list[tuple[object, ...]] = []

    class Watcher:
        def started(self, work: str, total: int | None) -> None:
            told.append((work, total))

        def moved(self, work: str, units: int) -> None:
            told.append((work, units))

        def ended(self, work: str) -> None:
            told.append((work,))

    with watched_by(Watcher()), working_on("read stripe", 7) as on_rows:
        on_rows(3)

    assert told == [("read stripe", 7), ("read stripe", 3), ("read stripe",)]
