"""Bench: how long the engine takes for a fleet, against what reading the facts alone takes in the same run.

    python bench/engine.py                                      10,000 and 100,000 accounts
    python bench/engine.py 100000 --profile                     and where the time goes
    python bench/engine.py 1000000 10000000 --only read buckets --repeat 1

The fleet is generated, with one account in seventy disagreeing, and written to Parquet files, one per table; a large
one is many of 200,000 accounts, each under names of its own, and takes a kilobyte of disk an account. Each
measure is a process of its own over the same files, so that peak memory is told apart; of several repetitions the
fastest counts, and measures take turns. Ratios and growth are of processor time, which a busy machine distorts least.
`read` scans the columns that the engine reads and sums them up: nothing that judges can be faster. `engine` is the call
of `compute` on sound facts; `swept` is the sweep and `compute` on what it leaves, as an audit does it; `buckets` is the
same from the lake, a bucket at a time, so that memory does not grow with the fleet: buckets of 10,000 accounts, and
larger ones where that would be more buckets than a lake can have.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import polars as pl  # noqa: E402 - the project's root comes first

from trueup.contract import sweep  # noqa: E402
from trueup.contract.schemas import STORES, TABLES, Snapshot, empty  # noqa: E402
from trueup.engine.engine import compute  # noqa: E402
from trueup.engine.policy import load_policy  # noqa: E402
from trueup.sandbox.fleet import make_fleet  # noqa: E402
from trueup.stores.lake.tables import Lake  # noqa: E402
from trueup.stores.scope import BUCKETS_MAX, Scope  # noqa: E402

AS_OF: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
SEED: Final = 7
ONE_DISAGREES_IN: Final = 70
TOP: Final = 15
RUN: Final = "bench"
_AS_READ, _SOUND = "as_read", "sound"
ACCOUNTS_IN_A_BUCKET: Final = 10_000
ACCOUNTS_AT_ONCE: Final = 200_000  # that are generated at once
COMPARED: Final = ("read", "engine", "swept", "buckets")

# What the engine reads of each table; the sweep reads all.
READ: Final[dict[str, str]] = {
    "accounts": "account_id country currency timezone status plan_code parent_account_id created_at",
    "invoices": """invoice_id account_id stripe_invoice_id stripe_subscription_id billing_reason status
        uncollectible_reason collection_method currency amount_due amount_paid due_at finalized_at paid_at voided_at
        uncollectible_at effective_at""",
    "charges": """charge_id invoice_id stripe_charge_id amount amount_refunded status trigger decline_code advice_code
        attempted_at effective_at updated_at""",
    "credit_notes": "invoice_id amount created_at",
    "subs_account": "account_id dunning_exempt hold_from hold_until",
    "subs_customer": "account_id stripe_customer_id livemode created_at",
    "subs_dunning": "account_id final_notice_sent_at",
    "subs_mandate": "stripe_mandate_id stripe_payment_method_id",
    "stripe_customers": "customer_id default_payment_method_id default_source_id created_at",
    "stripe_payment_methods": "payment_method_id type created_at exp_month exp_year",
    "stripe_subscriptions": "subscription_id status default_payment_method_id default_source_id created_at",
    "stripe_invoices": """invoice_id customer_id subscription_id status billing_reason collection_method currency
        amount_due amount_paid amount_remaining attempted auto_advance created_at due_at effective_at finalized_at
        paid_at voided_at uncollectible_at uncollectible_reason next_payment_attempt_at default_payment_method_id
        default_source_id livemode""",
    "stripe_invoice_payments": "invoice_id status amount_paid created_at paid_at payment_intent_id charge_id",
    "stripe_payment_intents": """payment_intent_id status created_at latest_charge_id payment_method_id
        payment_method_type""",
    "stripe_charges": """charge_id payment_intent_id status amount created_at payment_method_id payment_method_type
        failure_code decline_code advice_code network_advice_code""",
    "stripe_refunds": "refund_id charge_id payment_intent_id status amount created_at",
    "stripe_disputes": "dispute_id charge_id payment_intent_id status amount created_at balance_transaction_ats",
    "stripe_credit_notes": "invoice_id status post_payment_amount created_at effective_at voided_at",
    "stripe_mandates": "mandate_id status network_status accepted_at",
    "stripe_events": "type object_id created_at",
}


def main() -> None:
    """Measure each size and print a table of them."""
    asked = _arguments()
    if asked.measure:
        print(json.dumps(_measured(asked.measure, asked.folder)))
        return
    print(f"{'accounts':>10}  {'measure':<7} {'seconds':>8} {'cpu s':>7} {'x read':>7} {'peak MB':>8} {'growth':>7}")
    before: dict[str, float] = {}
    for accounts in asked.accounts:
        with tempfile.TemporaryDirectory() as folder:
            _in_a_process("write", folder, str(accounts))
            taken = _fastest(folder, asked.only, asked.repeat)
            _print_size(accounts, taken, before)
            before = {name: result["cpu"] for name, result in taken.items()}
            if asked.profile:
                _print_profile(_in_a_process("profile", folder)["steps"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("accounts", type=int, nargs="*", default=[10_000, 100_000], help="fleet sizes, smallest first")
    parser.add_argument("--only", nargs="+", choices=COMPARED, default=COMPARED, help="what is measured")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is measured")
    parser.add_argument("--profile", action="store_true", help="say which steps take the time")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _fastest(folder: str, measures: Sequence[str], repeat: int) -> dict[str, dict[str, Any]]:
    """Each measure's fastest run; the measures take turns."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(repeat):
        for name in measures:
            runs[name].append(_in_a_process(name, folder))
    return {name: min(results, key=lambda result: result["cpu"]) for name, results in runs.items()}


def _print_size(accounts: int, taken: dict[str, dict[str, Any]], before: dict[str, float]) -> None:
    for name, result in taken.items():
        ratio = result["cpu"] / taken[next(iter(taken))]["cpu"]
        growth = f"{result['cpu'] / before[name]:.1f}" if before else ""
        times = f"{result['seconds']:>8.2f} {result['cpu']:>7.2f}"
        print(f"{accounts:>10,}  {name:<7} {times} {ratio:>7.1f} {result['peak_mb']:>8.0f} {growth:>7}")


def _print_profile(steps: list[tuple[str, float, int]]) -> None:
    total = sum(seconds for _, seconds, _ in steps)
    print(f"\n  {total:.2f} s in {sum(count for *_, count in steps)} collects; by the line that asks for them:")
    for where, seconds, count in steps[:TOP]:
        print(f"  {seconds:>7.2f} s  {seconds / total:>4.0%}  x{count:<3} {where}")
    print()


# A measure runs in a process of its own -----------------------------------------------------------------------------


def _in_a_process(measure: str, folder: str, *accounts: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *accounts, "--measure", measure, "--folder", folder]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


def _measured(measure: str, folder: Path) -> dict[str, Any]:
    if measure == "write":
        return _write(folder)
    run = MEASURES[measure]
    began, worked = time.perf_counter(), time.process_time()
    told = run(folder)
    taken = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - worked}
    return {**taken, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **(told or {})}


def _write(folder: Path) -> dict[str, Any]:
    """Generate the fleet; the number of accounts is the first argument."""
    accounts = int(sys.argv[1])
    for name in TABLES:
        for kind in (_AS_READ, _SOUND):
            (folder / kind / name).mkdir(parents=True)
    for number, first in enumerate(range(0, accounts, ACCOUNTS_AT_ONCE)):
        _write_some(folder, number, min(ACCOUNTS_AT_ONCE, accounts - first))
    count = min(BUCKETS_MAX, max(1, accounts // ACCOUNTS_IN_A_BUCKET))
    observed_at = dict.fromkeys(STORES, AS_OF)
    Lake(str(folder / "lake")).commit(RUN, _snapshot(folder, _AS_READ), observed_at, Scope.fleet(), count)
    return {}


def _write_some(folder: Path, number: int, accounts: int) -> None:
    fleet = make_fleet(accounts, accounts // ONE_DISAGREES_IN, SEED + number, AS_OF).frames
    renamed = {name: _renamed(frame, number) for name, frame in fleet.items() if name != "products" or number == 0}
    sound = sweep({name: empty(name).lazy() for name in TABLES} | renamed, as_of=AS_OF).frames
    for name, frame in renamed.items():
        frame.sink_parquet(folder / _AS_READ / name / f"{number}.parquet")
        sound[name].sink_parquet(folder / _SOUND / name / f"{number}.parquet")


def _renamed(frame: pl.DataFrame, number: int) -> pl.LazyFrame:
    """The same rows under ids that no other part of the fleet has."""
    ids = [name for name, kind in frame.schema.items() if kind == pl.String and name.endswith("_id")]
    if "id" in frame.columns:
        frame = frame.with_columns(pl.col("id") + number * ACCOUNTS_AT_ONCE * 10)
    return frame.lazy().with_columns(pl.col(name) + f"_{number}" for name in ids)


def _snapshot(folder: Path, kind: str = _SOUND) -> Snapshot:
    return {name: pl.scan_parquet(folder / kind / name) for name in TABLES}


def _read(folder: Path) -> None:
    """Bring every value that the engine reads to the processor once."""
    snapshot = _snapshot(folder)
    pl.collect_all([_summed(snapshot[name], columns.split()) for name, columns in READ.items()], engine="streaming")


def _summed(frame: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
    kinds = frame.collect_schema()
    return frame.select(_sum(column, kinds[column]).alias(column) for column in columns)


def _sum(column: str, kind: pl.DataType) -> pl.Expr:
    values = pl.col(column)
    match kind:
        case pl.String():
            return values.str.len_bytes().sum()
        case pl.List():
            return values.list.len().sum()
        case _ if kind.is_temporal():
            return values.max()
        case _:
            return values.sum()


def _engine(folder: Path) -> None:
    compute(_snapshot(folder), load_policy(), AS_OF)


def _swept(folder: Path) -> None:
    swept = sweep(_snapshot(folder, _AS_READ), as_of=AS_OF)
    compute(swept.frames, load_policy(), AS_OF, violations=swept.violations)


def _buckets(folder: Path) -> None:
    """Sweep and judge the fleet bucket by bucket from the lake: memory is set by the bucket."""
    lake = Lake(str(folder / "lake"))
    for bucket in lake.run(RUN).buckets:
        rows = {name: frame.collect().lazy() for name, frame in lake.open(RUN, (bucket,)).items()}
        swept = sweep(rows, as_of=AS_OF)
        compute(swept.frames, load_policy(), AS_OF, violations=swept.violations)


def _profile(folder: Path) -> dict[str, Any]:
    """Seconds and number of collects by the line of dunning/ that asked for each."""
    seconds: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    collect = pl.LazyFrame.collect

    def timed(self: pl.LazyFrame, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever collect takes and gives
        began = time.perf_counter()
        try:
            return collect(self, *args, **kwargs)
        finally:
            where = _asked_by()
            seconds[where] += time.perf_counter() - began
            counts[where] += 1

    pl.LazyFrame.collect = timed  # type: ignore[method-assign,assignment]
    _engine(folder)
    steps = [(where, taken, counts[where]) for where, taken in seconds.items()]
    return {"steps": sorted(steps, key=lambda step: -step[1])}


def _asked_by() -> str:
    """The innermost two places of the engine on the stack, but for the helper that settles frames."""
    places = []
    frame = sys._getframe(2)  # noqa: SLF001 - a profile reads the stack
    while frame and len(places) < 2:  # noqa: PLR2004 - who asked, and on whose behalf
        code = frame.f_code
        if "/dunning/" in code.co_filename and code.co_name != "_settle":
            places.append(f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back  # type: ignore[assignment]
    return " ← ".join(places)


MEASURES: Final[dict[str, Callable[[Path], dict[str, Any] | None]]] = {
    "write": _write,
    "read": _read,
    "engine": _engine,
    "swept": _swept,
    "buckets": _buckets,
    "profile": _profile,
}

if __name__ == "__main__":
    main()
