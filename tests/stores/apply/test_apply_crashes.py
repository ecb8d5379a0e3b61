"""Crashes: an apply killed at any point and started again does everything once.

The soak (`pytest -m soak tests/stores/apply/test_apply_crashes.py`) kills at random until SOAK_KILLS kills have
happened (500 unless told otherwise) and prints its seed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stores.apply.crashing import EXIT_BROKEN_OFF, at_nth, disconnect
from tests.stores.apply.planting import approved, changes_of, cleared, flagged, inserted, plant, sql, still
from trueup.correction.plan import Plan
from trueup.stores.apply.apply import STEPS, apply_plan
from trueup.stores.auditor.audit_log import auditor_key, noted_heads, verify_log
from trueup.stores.auditor.connection import writing
from trueup.stores.errors import StoreUnreachable
from trueup.stores.settings import Settings

NEEDS_DATABASES = ("subs_api",)

ACCOUNTS = 12
BATCH = 5
IN_A_BATCH = STEPS[STEPS.index("copied") : STEPS.index("finished")]
KILLED = -signal.SIGKILL
SOAK_KILLS = int(os.environ.get("SOAK_KILLS", "500"))


def planned(settings: Settings, tmp_path: Path, accounts: int = ACCOUNTS) -> Plan:
    """Of every third account a row is inserted, of every third two tables change; one account is not in the plan."""
    plant(settings, accounts, missing=accounts // 3)
    rows = [cleared(f"a{n}") for n in range(accounts - accounts // 3)]
    rows += [flagged(f"a{n}") for n in range(0, accounts, 3)]
    rows += [inserted(f"a{n}") for n in range(accounts - accounts // 3, accounts)]
    sql(settings, "INSERT INTO subs_dunning (account_id, state, version) VALUES ('bystander', 'grace', 3)")
    return approved(settings, tmp_path, changes_of(*rows))


def start(
    settings: Settings, plan: Plan, step: str = "never", nth: int = 1, how: str = "kill"
) -> subprocess.Popen[bytes]:
    given = [settings.subs_api_writer_url, str(settings.home), str(BATCH), plan.plan_id, step, str(nth), how]
    process = subprocess.Popen([sys.executable, "-m", "tests.stores.apply.crashing", *given], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it is about to begin
    process.stdout.close()
    return process


def everything_happened_once(settings: Settings, plan: Plan) -> None:
    """Every change took effect once, has one audit entry and its row one event; nothing else changed."""
    ids = sorted(plan.changes["change_id"])
    assert [row[0] for row in sql(settings, "SELECT change_id FROM trueup.applied_changes ORDER BY 1")] == ids
    logged = sql(settings, "SELECT change_id FROM trueup.audit_log WHERE action = 'applied' ORDER BY 1")
    assert [row[0] for row in logged] == ids
    for table in ("subs_dunning", "subs_account"):
        versions = dict(map(tuple, sql(settings, f"SELECT account_id, version FROM {table}")))
        for key, planned_for in plan.changes.filter(table=table).select("key", "row_version").unique().iter_rows():
            assert versions[key] == (planned_for or 0) + 1
    rows = plan.changes.select("table", "key").unique()
    kinds = "('dunning.state_changed', 'account.bad_debt_changed')"
    told = sql(settings, f"SELECT account_id, type, count(*) FROM trueup.outbox WHERE type IN {kinds} GROUP BY 1, 2")
    assert sorted(row[2] for row in told) == [1] * rows.height
    gaps = sql(
        settings,
        "SELECT account_id FROM trueup.outbox GROUP BY 1 HAVING max(sequence) <> count(*) OR min(sequence) <> 1",
    )
    assert gaps == []
    assert sql(settings, "SELECT state, version FROM subs_dunning WHERE account_id = 'bystander'") == [("grace", 3)]
    with writing(settings) as connection:
        verdict = verify_log(connection, frozenset({auditor_key(settings).public}), noted_heads(settings))
    assert verdict.broken is None


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_and_started_again_it_does_everything_once(
    settings: Settings, tmp_path: Path, step: str
) -> None:
    plan = planned(settings, tmp_path)
    nth = 2 if step in IN_A_BATCH else 1  # in the second batch, so that one is written already

    assert start(settings, plan, step, nth).wait() == KILLED
    assert apply_plan(settings, plan.plan_id, regather=still(plan.changes)).exit_code == 0

    everything_happened_once(settings, plan)


@pytest.mark.parametrize("step", ["locked", "written", "logged", "committed"])
def test_cut_off_from_the_database_it_says_so_and_goes_on_when_started_again(
    settings: Settings, tmp_path: Path, step: str
) -> None:
    plan = planned(settings, tmp_path)

    cut_off = at_nth(step, 2, lambda: disconnect(settings.subs_api_url))
    batches = settings.model_copy(update={"apply_batch_accounts": BATCH})
    with pytest.raises(StoreUnreachable):
        apply_plan(batches, plan.plan_id, regather=still(plan.changes), checkpoint=cut_off)
    assert apply_plan(settings, plan.plan_id, regather=still(plan.changes)).exit_code == 0

    everything_happened_once(settings, plan)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_killed_at_random_hundreds_of_times_it_does_everything_once(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seed = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(10**9))))
    chance = random.Random(seed)  # noqa: S311 - a seed that can be told
    print(f"seed {seed}")  # noqa: T201 - to be run again with SOAK_SEED
    kills = rounds = 0
    while kills < SOAK_KILLS:
        rounds += 1
        kills += _one_round(request, tmp_path / str(rounds), chance)
        print(f"round {rounds}: {kills} kills", flush=True)  # noqa: T201 - it is watched


def _one_round(request: pytest.FixtureRequest, folder: Path, chance: random.Random) -> int:
    """Kill a fresh plan's apply again and again until one gets through; how many kills that took."""
    from tests.conftest import settings_for

    server = request.getfixturevalue("postgres")
    name = f"soak_{folder.name}"
    url = server.create_database(name, template="made_subs_api")
    settings = settings_for(dict.fromkeys(("cf_prod", "billing_prod", "subs_api"), url), home=folder / "home")
    folder.mkdir()
    plan = planned(settings, folder, accounts=60)
    kills = 0
    while (code := _killed_somewhere(settings, plan, chance)) != 0:
        assert code in {KILLED, EXIT_BROKEN_OFF}
        kills += 1
    everything_happened_once(settings, plan)
    server.drop_database(name)
    return kills


def _killed_somewhere(settings: Settings, plan: Plan, chance: random.Random) -> int:
    """Start an apply and kill it at a random step of a random batch, cut it off, or kill it after a random while."""
    kind = chance.choice(["step", "step", "disconnect", "while", "while"])
    if kind == "while":
        process = start(settings, plan)
        time.sleep(chance.uniform(0.0, 0.5))
        process.kill()
        return process.wait()
    how = "kill" if kind == "step" else "disconnect"
    step = chance.choice(STEPS)
    nth = chance.choice([1, 1, 2, 3]) if step in IN_A_BATCH else 1
    return start(settings, plan, step, nth, how).wait()
