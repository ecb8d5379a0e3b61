"""Does a page of the Stripe sandbox cost the same wherever it begins, and how fast does the reader come home?

    python -m bench.stripe_pages [--charges 200000]

Prints the median time of a page at the start, the middle and the end of the list, the slowest over the fastest, and the
objects a second of a whole reading by the reader, with the sandbox on the second core.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import polars as pl

from trueup.sandbox.stripe_api import StripeSandboxProcess
from trueup.stores.settings import Settings
from trueup.stores.stripe import read_stripe

PAGES = 60


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--charges", type=int, default=200_000)
    count: int = parser.parse_args().charges
    with StripeSandboxProcess() as sandbox:
        began = time.perf_counter()
        sandbox.load(fleet(count))
        print(f"loaded {3 * count:,} objects in {time.perf_counter() - began:.1f} s")
        page_times(sandbox, count)
        reading(sandbox)


def fleet(count: int) -> dict[str, pl.DataFrame]:
    """As many charges, payment intents and invoices."""
    number = pl.int_range(count).cast(pl.String).str.zfill(24)
    shared = {
        "customer_id": pl.format("cus_{}", (pl.int_range(count) // 8).cast(pl.String).str.zfill(24)),
        "created_at": 1_700_000_000 + pl.int_range(count) * 60,
    }
    paid = {"status": pl.lit("paid"), "amount_due": pl.lit(1000), "amount_paid": pl.lit(1000)}
    card = {"amount": pl.lit(1000), "payment_method_type": pl.lit("card")}
    return {
        "charges": pl.select(charge_id=pl.format("ch_{}", number), **shared, **card),
        "payment_intents": pl.select(payment_intent_id=pl.format("pi_{}", number), **shared, amount=pl.lit(1000)),
        "invoices": pl.select(invoice_id=pl.format("in_{}", number), **shared, **paid),
    }


def page_times(sandbox: StripeSandboxProcess, count: int) -> None:
    """Pages of a hundred charges at three places of the list, by turns, so that a busy machine slows all alike."""
    places = {"start": count - 1, "middle": count // 2, "end": PAGES * 100 + 1}
    times: dict[str, list[float]] = {place: [] for place in places}
    with httpx.Client(base_url=sandbox.base_url, auth=(sandbox.api_key, "")) as http:
        for page in range(PAGES):
            for place, first in places.items():
                params: dict[str, str | int] = {"limit": 100, "starting_after": f"ch_{first - page * 100:024}"}
                began = time.perf_counter()
                http.get("/v1/charges", params=params).raise_for_status()
                times[place].append(time.perf_counter() - began)
    medians = {place: statistics.median(taken) for place, taken in times.items()}
    for place, median in medians.items():
        print(f"page at the {place}: {median * 1000:.2f} ms")
    print(f"slowest / fastest: {max(medians.values()) / min(medians.values()):.2f}")


def reading(sandbox: StripeSandboxProcess) -> None:
    """The whole, by the reader."""
    settings = Settings(stripe_api_key=sandbox.api_key, stripe_api_base=sandbox.base_url)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        began, worked = time.perf_counter(), time.process_time()
        reads = read_stripe(settings, None, (), (), Path(folder))
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
        rows = sum(read.rows for read in reads.values())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"read {rows:,} objects in {seconds:.1f} s: {rows / seconds:,.0f} a second; at most {memory:.0f} MB")
    print(f"the reader's own work: {rows / worked:,.0f} objects a second of its processor time")


if __name__ == "__main__":
    main()
