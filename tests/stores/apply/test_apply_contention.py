"""Contention: other writers, other applies, locks and deadlocks. No update is lost and no account is half done."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.stores.apply.planting import approved, changes_of, cleared, flagged, inserted, plant, sql, still
from tests.stores.apply.test_apply_crashes import everything_happened_once
from trueup.correction.plan import Plan
from trueup.stores.apply.apply import apply_plan
from trueup.stores.settings import Settings, libpq_url

NEEDS_DATABASES = ("subs_api",)


@pytest.fixture
def small(settings: Settings) -> Settings:
    return settings.model_copy(update={"apply_batch_accounts": 4, "apply_lock_timeout_seconds": 0.5})


@contextmanager
def holding(settings: Settings, statement: str) -> Iterator[psycopg.Connection[Any]]:
    """Another writer's transaction, open until the block ends."""
    with psycopg.connect(libpq_url(settings.subs_api_url)) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
        yield connection
        connection.rollback()


def both_tables(settings: Settings, tmp_path: Path, accounts: int) -> Plan:
    plant(settings, accounts)
    rows = [part for n in range(accounts) for part in (cleared(f"a{n}"), flagged(f"a{n}"))]
    sql(settings, "INSERT INTO subs_dunning (account_id, state, version) VALUES ('bystander', 'grace', 3)")
    return approved(settings, tmp_path, changes_of(*rows))


def test_two_applies_of_one_plan_at_once_write_it_once(small: Settings, tmp_path: Path) -> None:
    plan = both_tables(small, tmp_path, 12)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: apply_plan(small, plan.plan_id, regather=still(plan.changes)), range(2)))

    assert sorted(result.counts["applied"] for result in results) == [0, 12]
    assert sorted(result.was_finished for result in results) == [False, True]
    everything_happened_once(small, plan)


def test_two_applies_that_forget_to_keep_apart_still_write_it_once(
    small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def together(*_: object) -> Iterator[None]:
        yield

    monkeypatch.setattr("trueup.stores.apply.apply.held", together)
    plan = both_tables(small, tmp_path, 12)
    barrier = threading.Barrier(2)

    def at_once(step: str) -> None:
        if step == "regathered":
            barrier.wait(timeout=30)

    def run(_: int) -> Any:
        return apply_plan(small, plan.plan_id, regather=still(plan.changes), checkpoint=at_once)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, range(2)))

    assert [result.exit_code for result in results] == [0, 0]
    assert sum(result.counts["applied"] for result in results) == 12
    everything_happened_once(small, plan)


def test_a_row_that_stays_locked_blocks_its_account_and_no_other(small: Settings, tmp_path: Path) -> None:
    plan = both_tables(small, tmp_path, 8)

    with holding(small, "SELECT 1 FROM subs_account WHERE account_id = 'a5' FOR UPDATE"):
        result = apply_plan(small, plan.plan_id, regather=still(plan.changes))

    assert result.outcomes.filter(outcome="blocked").select("target", "why").rows() == [("a5", "LockNotAvailable")]
    assert result.counts["applied"] == 7
    assert result.exit_code == 1
    assert sql(small, "SELECT state, version FROM subs_dunning WHERE account_id = 'a5'") == [("grace", 7)]

    again = apply_plan(small, plan.plan_id, regather=still(plan.changes))

    assert (again.counts["applied"], again.counts["already applied"], again.exit_code) == (1, 7, 0)
    everything_happened_once(small, plan)


def test_an_insert_that_another_transaction_has_not_committed_blocks_its_account(
    small: Settings, tmp_path: Path
) -> None:
    plant(small, 2, missing=1)
    plan = approved(small, tmp_path, changes_of(cleared("a0"), inserted("a1")))

    with holding(small, "INSERT INTO subs_dunning (account_id, state) VALUES ('a1', 'grace')"):
        result = apply_plan(small, plan.plan_id, regather=still(plan.changes))

    assert result.outcomes.select("target", "outcome").rows() == [("a0", "applied"), ("a1", "blocked")]


def test_a_deadlock_with_another_writer_is_got_over(small: Settings, tmp_path: Path) -> None:
    patient = small.model_copy(update={"apply_lock_timeout_seconds": 20.0})
    plan = both_tables(small, tmp_path, 2)
    have_locked, may_go_on = threading.Event(), threading.Event()

    def crosswise() -> None:
        """Takes a1's dunning row before a0's flag row; we take flags first."""
        with psycopg.connect(libpq_url(small.subs_api_url)) as connection:
            connection.execute("SET deadlock_timeout = '50ms'")
            connection.execute("SELECT 1 FROM subs_dunning WHERE account_id = 'a1' FOR UPDATE")
            have_locked.set()
            may_go_on.wait(30)
            with suppress(psycopg.errors.DeadlockDetected):
                connection.execute("SELECT 1 FROM subs_account WHERE account_id = 'a0' FOR UPDATE")
            connection.rollback()

    other = threading.Thread(target=crosswise)
    other.start()
    have_locked.wait(30)
    threading.Timer(0.5, may_go_on.set).start()
    result = apply_plan(patient, plan.plan_id, regather=still(plan.changes))
    other.join()

    assert result.counts["applied"] == 2
    everything_happened_once(small, plan)


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_writers_on_the_same_rows_lose_nothing(small: Settings, tmp_path: Path, seed: int) -> None:
    plan = both_tables(small, tmp_path, 40)
    stop = threading.Event()
    written: list[str] = []

    def hostile(chance: random.Random) -> None:
        """Counts attempts up, version and all, as a webhook handler would, on any account."""
        with psycopg.connect(libpq_url(small.subs_api_url), autocommit=True) as connection:
            while not stop.is_set():
                account = f"a{chance.randrange(40)}"
                connection.execute(
                    "UPDATE subs_dunning SET attempt_count = attempt_count + 100, version = version + 1 "
                    "WHERE account_id = %s",
                    (account,),
                )
                written.append(account)
                time.sleep(chance.uniform(0.001, 0.01))

    chances = [random.Random(seed * 10 + n) for n in range(3)]  # noqa: S311 - a seed that can be told
    writers = [threading.Thread(target=hostile, args=(chance,)) for chance in chances]
    for writer in writers:
        writer.start()
    result = apply_plan(small, plan.plan_id, regather=still(plan.changes))
    stop.set()
    for writer in writers:
        writer.join()

    outcome = dict(result.outcomes.select("target", "outcome").iter_rows())
    rows = sql(
        small, "SELECT account_id, state, attempt_count, version FROM subs_dunning WHERE account_id <> 'bystander'"
    )
    flags = dict(map(tuple, sql(small, "SELECT account_id, bad_debt FROM subs_account")))
    assert set(outcome.values()) <= {"applied", "conflict"}
    for account, state, attempt_count, version in rows:
        is_applied = outcome[account] == "applied"
        assert attempt_count == 100 * written.count(account) + (0 if is_applied else 1)  # nothing of theirs is lost
        assert version == 7 + written.count(account) + is_applied
        assert state == ("good_standing" if is_applied else "grace")
        assert flags[account] is is_applied  # and no account is half done
