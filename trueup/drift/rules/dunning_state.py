"""Dunning: what the stores say an account's state is, against what the engine says.

The engine's answer must be determinate, and the account not exempt, before a stored state can be wrong; a missing row
counts as good standing with nothing counted. A difference of state has one name: the dispute that explains it, or else
the way in which it is wrong. Counters are compared only where the states agree. The flag for bad debt and the ledger's
copy of the state are stored answers too, and are judged here.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.contract.masking import masked
from trueup.drift.evidence import Evidence, found, outstanding_of_account, rank

_COUNTERS: Final = ("attempt_count", "clock_started_on", "next_retry_at", "driver_invoice_id")

_SUSPENDED: Final = 4  # the rank from which access is off


def dun_exempt_ignored(evidence: Evidence) -> pl.LazyFrame:
    """An exempt account is dunned all the same."""
    stored = evidence.facts["subs_dunning"].filter(rank("state") > 0).select("account_id", stored_state="state")
    ignored = evidence.determinate.filter("is_exempt").join(stored, on="account_id", how="inner", validate="1:1")
    return found(
        ignored,
        {"subs_account": {"dunning_exempt": pl.lit(value=True)}, "subs_dunning": {"state": "stored_state"}},
        desired={"state": "state"},
        at_stake=outstanding_of_account(),
    )


def dispute_open_but_dunning(evidence: Evidence) -> pl.LazyFrame:
    """Dunned harder than it should be, while a dispute over its driver or over something it paid is open."""
    return _difference(evidence, "dispute_open_but_dunning")


def dun_stuck_after_payment(evidence: Evidence) -> pl.LazyFrame:
    """Nothing is past due any more, and the account is dunned still."""
    return _difference(evidence, "dun_stuck_after_payment")


def dun_not_started(evidence: Evidence) -> pl.LazyFrame:
    """Something is past due, and dunning has not begun."""
    return _difference(evidence, "dun_not_started")


def dun_early_suspension(evidence: Evidence) -> pl.LazyFrame:
    """Suspended or written off before its time."""
    return _difference(evidence, "dun_early_suspension")


def dun_state_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """Any other difference of state."""
    return _difference(evidence, "dun_state_mismatch")


def dun_counter_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """The state is right, and a counter beside it is not."""
    differs = evidence.stored.filter(
        pl.col("stored_rank") == pl.col("rank"),
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"stored_{name}")) for name in _COUNTERS),
    )
    stored_driver = masked(pl.col("stored_driver_invoice_id"))  # any writer's text may stand there
    return found(
        differs,
        {"subs_dunning": {**{name: f"stored_{name}" for name in _COUNTERS}, "driver_invoice_id": stored_driver}},
        desired={name: name for name in _COUNTERS},
    )


def dun_ledger_copy_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """The ledger's own copy of the state is not the desired one."""
    copies = evidence.facts["dunning_states"].select("account_id", copy="state", has_row=pl.lit(value=True))
    differs = (
        evidence.determinate.filter(~pl.col("is_exempt"))
        .join(copies, on="account_id", how="left", validate="1:1")
        .with_columns(copy=pl.when(pl.col("has_row").is_null()).then(pl.lit("good_standing")).otherwise(pl.col("copy")))
        .filter(rank("copy") != rank("state"))
    )
    return found(differs, {"billing_prod": {"state": "copy"}}, desired={"state": "state"})


def dun_orphan(evidence: Evidence) -> pl.LazyFrame:
    """A dunning row for an account that cf_prod does not know."""
    came_later = (pl.col("computed_at") > evidence.as_of).fill_null(value=False)  # with an account that came later too
    orphans = evidence.facts["subs_dunning"].filter(~came_later).join(evidence.accounts, on="account_id", how="anti")
    return found(orphans, {"cf_prod": {"is_known": pl.lit(value=False)}, "subs_dunning": {"state": "state"}})


def flag_bad_debt_stale(evidence: Evidence) -> pl.LazyFrame:
    """subs_account.bad_debt is true, and the desired state is not bad_debt."""
    return _flags(evidence, pl.col("flagged") & ~pl.col("bad_debt"))


def flag_bad_debt_missing(evidence: Evidence) -> pl.LazyFrame:
    """Desired state is bad_debt, and subs_account.bad_debt is false."""
    return _flags(evidence, ~pl.col("flagged") & pl.col("bad_debt"))


def _difference(evidence: Evidence, name: str) -> pl.LazyFrame:
    """The accounts whose stored state differs in the named way: the first way that holds gives the name."""
    stored, desired = pl.col("stored_rank"), pl.col("rank")
    ways = (
        ("dispute_open_but_dunning", (stored > desired) & pl.col("is_in_dispute")),
        ("dun_stuck_after_payment", (stored > 0) & (desired == 0)),
        ("dun_not_started", (stored == 0) & (desired > 0)),
        ("dun_early_suspension", (stored >= _SUSPENDED) & (desired < _SUSPENDED)),
        ("dun_state_mismatch", pl.lit(value=True)),
    )
    way = pl.coalesce(pl.when(holds).then(pl.lit(each)) for each, holds in ways)
    differs = (
        evidence.stored.filter(stored != desired)
        .join(_in_dispute(evidence), on="account_id", how="left", validate="1:1")
        .with_columns(pl.col("is_in_dispute").fill_null(value=False))
        .filter(way == name)
    )
    return found(
        differs,
        {"subs_dunning": {"state": "stored_state"}},
        desired={"state": "state", "driver_invoice_id": "driver_invoice_id", "reasons": "reasons"},
        at_stake=outstanding_of_account(),
    )


def _in_dispute(evidence: Evidence) -> pl.LazyFrame:
    """account_id, is_in_dispute: its driver or a paid invoice is in open dispute; of a child, its parent's."""
    disputed = evidence.invoices.filter("is_deciding", "is_disputed").select(
        "object_id", billed_account_id="account_id", is_paid=pl.col("status") == "paid"
    )
    billed = (
        evidence.judged.desired.lazy()
        .join(evidence.accounts, on="account_id", how="inner", validate="1:1")
        .select("account_id", "driver_invoice_id", billed_account_id=pl.coalesce("parent_account_id", "account_id"))
    )
    return (
        billed.join(disputed, on="billed_account_id", how="inner")
        .filter(pl.col("is_paid") | (pl.col("object_id") == pl.col("driver_invoice_id")))
        .select("account_id", is_in_dispute=pl.lit(value=True))
        .unique()
    )


def _flags(evidence: Evidence, is_wrong: pl.Expr) -> pl.LazyFrame:
    flags = evidence.facts["subs_account"].select("account_id", flagged="bad_debt")
    wrong = evidence.determinate.join(flags, on="account_id", how="inner", validate="1:1").filter(is_wrong)
    return found(
        wrong,
        {"subs_account": {"bad_debt": "flagged"}},
        desired={"bad_debt": "bad_debt", "state": "state"},
        at_stake=outstanding_of_account(),
    )


RULES: Final = (
    dun_exempt_ignored,
    dispute_open_but_dunning,
    dun_stuck_after_payment,
    dun_not_started,
    dun_early_suspension,
    dun_state_mismatch,
    dun_counter_mismatch,
    dun_ledger_copy_mismatch,
    dun_orphan,
    flag_bad_debt_stale,
    flag_bad_debt_missing,
)
