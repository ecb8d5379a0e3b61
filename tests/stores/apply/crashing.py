"""An apply that dies: run as a program by the crash tests, it applies a plan and is killed where it is told to be.

    python -m tests.stores.apply.crashing ADDRESS HOME BATCH PLAN STEP NTH HOW

HOW is `kill` (SIGKILL to itself) or `disconnect` (the server ends its connection). STEP `never` lets it finish.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.stores.apply.planting import still
from trueup.stores.apply.apply import apply_plan
from trueup.stores.auditor.plans import load_plan
from trueup.stores.errors import StoreError
from trueup.stores.settings import Settings, libpq_url

EXIT_BROKEN_OFF = 9


def main(address: str, home: str, batch: str, plan_id: str, step: str, nth: str, how: str) -> int:
    settings = Settings(
        subs_api_url=address, home=Path(home), apply_batch_accounts=int(batch), apply_lock_timeout_seconds=2.0
    )
    plan = load_plan(settings, plan_id).plan
    die = {"kill": _kill, "disconnect": lambda: disconnect(address)}[how]
    print("begins", flush=True)  # noqa: T201 - whoever kills it at a random instant waits for this
    try:
        result = apply_plan(settings, plan_id, regather=still(plan.changes), checkpoint=at_nth(step, int(nth), die))
    except StoreError:
        return EXIT_BROKEN_OFF
    return result.exit_code


def at_nth(step: str, nth: int, die: Callable[[], None]) -> Callable[[str], None]:
    """Dies when the step is told of for the nth time."""
    seen = 0

    def checkpoint(reached: str) -> None:
        nonlocal seen
        seen += reached == step
        if reached == step and seen == nth:
            die()

    return checkpoint


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def disconnect(address: str) -> None:
    """End every connection of Trueup's to the database, as an operator or a failover would."""
    with psycopg.connect(libpq_url(address), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'trueup' AND datname = current_database()"
        )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
