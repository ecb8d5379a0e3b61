"""Partitions: what judging a fleet bucket by bucket needs of memory, beside judging it at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from trueup.audit.gather import ScopeReading, StoreRead, tables_of
from trueup.audit.partitions import archive_reading
from trueup.audit.run_folder import write_frame, write_json
from trueup.contract.schemas import STORES
from trueup.sandbox.fleet import make_fleet
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

AS_OF: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
ACCOUNTS: Final = 20_000
BUCKETS: Final = 10
SHARE_MAX: Final = 0.7  # a tenth of the accounts at a time needs two fifths; the rest is for busy machines

# Prints how much memory judging a reading took, in MB beyond what the program itself takes.
JUDGE: Final = """
import re, sys
from datetime import datetime
from pathlib import Path
from trueup.audit.gather import ScopeReading
from trueup.audit.judge import Basis
from trueup.audit.partitions import judge_partitions, partitions_of, sweep_partitions
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

home, folder, at_once, buckets, as_of = sys.argv[1:]
settings = Settings(home=home, accounts_at_once=int(at_once), bucket_count=int(buckets))
partitions = partitions_of(ScopeReading.at(Path(folder)), Scope.fleet(), settings, "run")
before = peak()
basis = Basis.of(settings, datetime.fromisoformat(as_of))
sweep_partitions(partitions, settings, basis)
judged = judge_partitions(partitions, settings, basis)
print(len(partitions), judged.desired.collect().height, peak() - before)
"""


def look_at(folder: Path, accounts: int = ACCOUNTS) -> ScopeReading:
    """A reading at a generated fleet, as gathering leaves it."""
    fleet = make_fleet(accounts, accounts // 20, 7, AS_OF)
    for store in STORES:
        for name in tables_of(store):
            write_frame(folder / f"{name}.parquet", fleet.frames[name])
        read = StoreRead(store, AS_OF, rows={name: fleet.frames[name].height for name in tables_of(store)})
        write_json(folder / f"{store}.json", asdict(read))
    return ScopeReading.at(folder)


def judged(settings: Settings, folder: Path, at_once: int) -> tuple[int, int, float]:
    """How many partitions a reading was judged in, how many accounts have an answer, and the memory it took."""
    terms = [str(settings.home), str(folder), str(at_once), str(BUCKETS), AS_OF.isoformat()]
    answer = subprocess.run([sys.executable, "-c", JUDGE, *terms], check=True, stdout=subprocess.PIPE, text=True)
    partitions, accounts, megabytes = answer.stdout.split()
    return int(partitions), int(accounts), float(megabytes)


@pytest.mark.slow
def test_memory_is_set_by_the_bucket_and_not_by_the_fleet(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", bucket_count=BUCKETS)
    archive_reading(look_at(tmp_path / "whole"), Scope.fleet(), settings, "run")
    shutil.copytree(tmp_path / "whole", tmp_path / "parted")

    whole_parts, whole_accounts, whole_megabytes = judged(settings, tmp_path / "whole", ACCOUNTS)
    partitions, accounts, megabytes = judged(settings, tmp_path / "parted", 1)

    assert (whole_parts, partitions) == (1, BUCKETS + 1)  # the last holds what belongs to no account
    assert whole_accounts == accounts == ACCOUNTS
    assert megabytes < SHARE_MAX * whole_megabytes, json.dumps({"parted": megabytes, "whole": whole_megabytes})
