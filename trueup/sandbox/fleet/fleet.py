"""The fleet: accounts whose six stores agree, and the disagreements planted among them.

This module decides which accounts a planted fault needs and of which archetype, which are children of which
parents, and how common everything else is. truth.py makes what happened, internal_rows.py and stripe_objects.py the
rows that the stores hold of it, and planted_faults/ changes them. Nothing here calls the engine: a fleet follows from
the text of docs/contract/DUNNING.md, so that an audit of it is an independent test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import polars as pl

from trueup.contract.schemas import TABLES, Snapshot
from trueup.sandbox.fleet import internal_rows, stripe_objects
from trueup.sandbox.fleet.archetype import Archetype
from trueup.sandbox.fleet.archetypes import ARCHETYPES
from trueup.sandbox.fleet.identify import Known, identify
from trueup.sandbox.fleet.ids import Ints
from trueup.sandbox.fleet.personal import with_personal_data
from trueup.sandbox.fleet.planted_faults import PLANTED_FAULTS, FleetEditor, PlantedFault, plan_of_drift
from trueup.sandbox.fleet.population import draw
from trueup.sandbox.fleet.stored import with_stored
from trueup.sandbox.fleet.truth import Truth, concatenated, make_truth

KNOWN: Final = (
    "account_id",
    "archetype",
    "state",
    "driver_invoice_id",
    "clock_started_on",
    "attempt_count",
    "next_retry_at",
    "has_access",
    "is_planted",
)


_MANDATES_NAMED: Final = (("subs_mandate", "stripe_mandate_id"),)
_METHODS_NAMED: Final = tuple(
    (table, "default_payment_method_id") for table in ("stripe_customers", "stripe_subscriptions", "stripe_invoices")
)


@dataclass(frozen=True)
class Fleet:
    """Everything that the six stores hold, and what is known about it by construction.

    Attributes:
        as_of: the instant at which the fleet was made true; it stays true for a day.
        frames: every table of trueup/contract/schemas.py, Stripe's as whole as Stripe has it.
        planted: what was planted: account_id (null: about no account), code, object_id, is_consequence.
        known: per account its archetype and what the stores should say of it: the columns of KNOWN. Planting
            disturbs what is stored and never what is desired, so it holds for planted accounts as well.
        seed: the seed it was made from.
    """

    as_of: datetime
    frames: dict[str, pl.DataFrame]
    planted: pl.DataFrame
    known: pl.DataFrame
    seed: int

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """PostgreSQL table → rows with all columns of docs/contract/STORES.md; e-mail addresses are invalid."""
        return with_personal_data(
            {name: frame for name, frame in self.frames.items() if not name.startswith("stripe_")}
        )

    @property
    def stripe(self) -> dict[str, pl.DataFrame]:
        """Kind of Stripe object (`customers` …) → flat records, as trueup/sandbox/stripe_api/objects.py takes them."""
        return {
            name.removeprefix("stripe_"): frame for name, frame in self.frames.items() if name.startswith("stripe_")
        }

    @property
    def disagreeing(self) -> int:
        """How many accounts were made to disagree (S1 to S3)."""
        counted = pl.Series([code for code, fault in PLANTED_FAULTS.items() if fault.is_counted])
        return self.planted.filter(pl.col("account_id").is_not_null() & pl.col("code").is_in(counted.implode()))[
            "account_id"
        ].n_unique()

    def snapshot(self) -> Snapshot:
        """The fleet as the readers would return it, without databases in between."""
        frames = {
            **self.frames,
            "stripe_mandates": _named(self.frames, "stripe_mandates", "mandate_id", _MANDATES_NAMED),
            "stripe_payment_methods": _named(
                self.frames, "stripe_payment_methods", "payment_method_id", _METHODS_NAMED
            ),
        }
        return {name: frames[name].lazy() for name in TABLES}


def _named(frames: dict[str, pl.DataFrame], table: str, key: str, namers: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Only the rows that another table names: there is no list of the others to read."""
    named = pl.concat([frames[name].select(pl.col(column).alias(key)) for name, column in namers]).unique()
    return frames[table].join(named, on=key, how="semi", maintain_order="left")


def make_fleet(
    accounts: int,
    drift: int,
    seed: int,
    as_of: datetime | None = None,
    codes: Sequence[str] | None = None,
) -> Fleet:
    """A fleet of so many accounts, exactly `drift` of which disagree.

    Args:
        accounts: how many accounts cf_prod has.
        drift: how many of them get a disagreement of severity S1 to S3. Hygiene (S4) and what is about no account come
            on top.
        seed: the same seed and `as_of` give the same fleet.
        as_of: the instant at which it is true; default now, floored to the hour.
        codes: the codes of docs/contract/FINDINGS.md, or names of scenarios, to plant; default a realistic mix of all.

    Raises:
        ValueError: an unknown code; more drift than accounts; a naive `as_of`.
    """
    moment = _moment(as_of)
    rng = np.random.default_rng(seed)
    wanted = plan_of_drift(drift, codes)
    assigned = _assign(wanted, accounts, rng)
    truth = concatenated([_truth_of(name, ns, moment, rng) for name, ns in assigned.archetypes.items()])
    known = _known(truth, _parents(assigned, rng), moment, rng)
    editor = FleetEditor(
        {**internal_rows.make_rows(known, rng), **stripe_objects.make_objects(known, rng)}, known, moment, rng
    )
    for (fault, _), account_ns in zip(wanted, assigned.reserved, strict=True):
        editor.apply(fault, account_ns)
    return Fleet(
        moment, editor.frames, editor.planted(), _known_by_construction(known.accounts, assigned.planted), seed
    )


def _truth_of(name: str, account_ns: Ints, as_of: datetime, rng: np.random.Generator) -> Truth:
    archetype = ARCHETYPES[name]
    return make_truth(archetype, draw(archetype, account_ns, as_of, rng), rng)


def _moment(as_of: datetime | None) -> datetime:
    if as_of is None:
        return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of.isoformat()} has no timezone; give one, such as UTC")
    return as_of.astimezone(UTC)


@dataclass(frozen=True)
class _Assignment:
    """Archetype → accounts, and the accounts reserved for each planted fault, in the order of the faults."""

    archetypes: dict[str, Ints]
    reserved: list[Ints]

    @property
    def planted(self) -> Ints:
        return np.concatenate([np.array([], dtype=np.int64), *self.reserved])


def _assign(wanted: Sequence[tuple[PlantedFault, int]], accounts: int, rng: np.random.Generator) -> _Assignment:
    """Assign every account an archetype: first those that planted faults need, then the others by their shares."""
    needs = [fault.archetypes(times) for fault, times in wanted]
    count = sum(map(len, needs))
    if count > accounts:
        raise ValueError(
            f"the planted faults need {count} accounts and there are {accounts}: make more accounts or less drift"
        )
    shuffled = rng.permutation(accounts)
    reserved = np.split(shuffled[:count], np.cumsum([len(need) for need in needs])[:-1]) if needs else []
    free = shuffled[count:]
    names = np.array(list(ARCHETYPES))
    shares = np.array([archetype.share for archetype in ARCHETYPES.values()], dtype=np.float64)
    drawn = rng.choice(names, len(free), p=shares / shares.sum())
    who = np.concatenate([shuffled[:count], free])
    what = np.concatenate([np.array([name for need in needs for name in need], dtype=names.dtype), drawn])
    order = np.argsort(who)
    who, what = who[order], what[order]
    return _Assignment({name: who[what == name] for name in ARCHETYPES if (what == name).any()}, list(reserved))


def _known(truth: Truth, parents: pl.DataFrame, as_of: datetime, rng: np.random.Generator) -> Known:
    """The truth with ids; children get their parents' results."""
    known = identify(truth, as_of, rng)
    adopted = known.accounts.join(parents, on="account_n", how="left", validate="1:1", maintain_order="left")
    return Known(with_stored(adopted, known.bills), known.bills, known.charges, known.intents)


def _parents(assigned: _Assignment, rng: np.random.Generator) -> pl.DataFrame:
    """A parent for each child: account_n, parent_n. An account that is planted, closed or a child has no children."""
    children = assigned.archetypes.get("child", np.array([], dtype=np.int64))
    able = [ns for name, ns in assigned.archetypes.items() if _may_be_parent(ARCHETYPES[name])]
    candidates = np.setdiff1d(np.concatenate([np.array([], dtype=np.int64), *able]), assigned.planted)
    if len(children) and not len(candidates):
        raise ValueError(f"{len(children)} accounts need a parent and none is left undisturbed: make more accounts")
    chosen = rng.choice(candidates, len(children)) if len(children) else children
    return pl.DataFrame(
        {"account_n": pl.Series(children, dtype=pl.Int64), "parent_n": pl.Series(chosen, dtype=pl.Int64)}
    )


def _may_be_parent(archetype: Archetype) -> bool:
    return not (archetype.is_child or archetype.is_exempt) and archetype.account_status == "active"


def _known_by_construction(accounts: pl.DataFrame, planted: Ints) -> pl.DataFrame:
    """What is known by construction, as the columns of KNOWN."""
    return accounts.select(
        "account_id",
        "archetype",
        "state",
        "driver_invoice_id",
        "has_access",
        clock_started_on="clock_on",
        attempt_count="stored_attempts",
        next_retry_at="stored_retry_at",
        is_planted=pl.col("account_n").is_in(pl.Series(planted).implode()),
    ).select(KNOWN)
