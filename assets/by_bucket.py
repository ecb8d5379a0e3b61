"""By bucket: judging a fleet that is too large to be judged at once.

The lake keeps every row in each bucket that needs it, so a bucket can be judged by itself and gives its own accounts
the results that the whole fleet would. Buckets are judged one after the other; what is kept of all accounts is one row
each, and the rest only of accounts with a finding, so that memory is set by the bucket. How a bucket is judged is the
same as for a fleet, and is in `judging.py`.
"""

from __future__ import annotations

from dataclasses import fields, replace

import polars as pl

from assets.gathering import Look
from assets.judging import Judgement, judge, sweep_snapshot
from assets.progress import working_on
from dunning.engine import Judged
from dunning.policy import Policy, load_policy
from stores.lake import Lake
from stores.runs import Run
from stores.scope import Scope
from stores.settings import Settings


def is_to_be_parted(run: Run, look: Look, settings: Settings) -> bool:
    """Whether a run read so many accounts that it is judged by bucket. Only what is in the lake can be."""
    is_in_lake = run.scope.accounts is None and not look.faults()
    return is_in_lake and look.reads["cf_prod"].rows["accounts"] > settings.accounts_at_once


def judge_by_bucket(run: Run, look: Look, settings: Settings) -> Judgement:
    """The judgement of all that a run put into the lake."""
    lake, policy = Lake.of(settings), load_policy(settings.policy)
    parts: list[Judgement] = []
    invoices = 0
    for bucket in lake.run(run.run_id).buckets:
        with working_on(f"judge bucket {bucket}"):
            part = _judge_bucket(lake, bucket, run, look, policy, settings)
            parts.append(_needed(part, bucket, invoices, settings))
            invoices += part.judged.invoices.height
    return _together(parts)


def _judge_bucket(lake: Lake, bucket: int, run: Run, look: Look, policy: Policy, settings: Settings) -> Judgement:
    rows = {name: frame.collect().lazy() for name, frame in lake.open(run.run_id, (bucket,)).items()}
    return judge(sweep_snapshot(rows, policy, run.as_of), look, policy, run.as_of, settings)


def _needed(part: Judgement, bucket: int, invoices_before: int, settings: Settings) -> Judgement:
    """The results of the bucket's own accounts; what they were made from, only where there is a finding.

    Invoices are numbered on from those of the buckets before, so that no two have one number.
    """
    is_home = Scope.of_buckets((bucket,)).reports_on(pl.col("account_id"), settings.bucket_count)
    findings = part.findings.filter(is_home)
    with_finding = pl.col("account_id").is_in(findings["account_id"].drop_nulls().unique().implode())
    judged = part.judged
    invoices = judged.invoices.filter(with_finding)
    stretches = judged.stretches.join(invoices.select("ref"), on="ref", how="semi")
    number_on = pl.col("ref") + pl.lit(invoices_before, pl.UInt32())
    narrowed = replace(
        judged,
        desired=judged.desired.filter(is_home),
        invoices=invoices.with_columns(number_on),
        attempts=judged.attempts.filter(with_finding).with_columns(number_on),
        stretches=stretches.with_columns(number_on),
        mapping=judged.mapping.filter(with_finding),
        accounts=judged.accounts.filter(with_finding),
        view_states=judged.view_states.filter(with_finding),
        facts={},
    )
    return Judgement(narrowed, findings, part.implied.filter(is_home))


def _together(parts: list[Judgement]) -> Judgement:
    names = [field.name for field in fields(Judged) if field.name != "facts"]
    frames = {
        name: pl.concat([getattr(part.judged, name) for part in parts]).unique(maintain_order=True) for name in names
    }
    frames["desired"] = frames["desired"].sort("account_id")
    findings = pl.concat([part.findings for part in parts]).sort("account_id", "code", "object_id", nulls_last=True)
    implied = pl.concat([part.implied for part in parts]).sort("account_id")
    return Judgement(Judged(**frames, facts={}), findings, implied)
