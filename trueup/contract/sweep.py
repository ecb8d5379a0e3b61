"""The sweep: rows that break their contract, and the snapshot without them.

Two things come out. `violations` has one row per broken row, rule and account that the row touches. `frames` is the
snapshot that the engine may rely on. A row with money or attempts in it is taken out when it breaks a rule; of the
other tables the row stays and only the value that cannot be used becomes null, so that an account does not lose its
mapping because of a misspelt `created_by`. Of rows with the same key, values that all agree on stay in such a table;
from a table of money one row stays if all are the same, else none. A text that its column may not hold is described,
never repeated (`masking.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from trueup.contract.as_of import EFFECTIVE_COLUMNS
from trueup.contract.attribution import attribute
from trueup.contract.masking import described, without_addresses
from trueup.contract.rules import DUPLICATE_KEY, LATEST, UNREADABLE, Rule, rules_of
from trueup.contract.schemas import TABLES, TEXT, Snapshot

VIOLATIONS: Final[dict[str, pl.DataType]] = {
    "store": TEXT,
    "table": TEXT,
    "key": TEXT,  # the row's primary key as text, parts joined by "/"; null where it has none
    "account_id": TEXT,  # null where no account is named; a row per account where several share a customer
    "column": TEXT,
    "rule": TEXT,  # the rule's id (`rules.SENTENCES`)
    "observed": TEXT,  # a number or an instant as it is, a text by its class and hash
    "object_id": TEXT,  # what a finding about the row is about; null for the account itself
    "invoice_id": TEXT,  # the invoice it concerns, by its Stripe id where it has one; null where it names none
    "is_needed": pl.Boolean(),  # the account's result needs this row: the account is indeterminate
    "updated_at": pl.Datetime("us", "UTC"),  # when the row was last written; null for Stripe's objects
}

# Tables whose rows say what an account or an object *is*. A bad value is set to null and the row stays. Rows of all
# other tables say that something *happened*, and go.
DESCRIPTIVE: Final = frozenset(
    {
        "accounts",
        "entitlements",
        "products",
        "subs_account",
        "subs_customer",
        "subs_dunning",
        "subs_mandate",
        "dunning_states",
        "stripe_customers",
        "stripe_payment_methods",
        "stripe_mandates",
    }
)

# Stripe delivers an event at least once, so the same event twice breaks nothing.
MAY_REPEAT: Final = frozenset({"stripe_events"})


class SweepResult(NamedTuple):
    """What a sweep leaves: the frames that can be used, and what was wrong with the rest."""

    frames: dict[str, pl.LazyFrame]
    violations: pl.DataFrame


def sweep(snapshot: Snapshot, *, as_of: datetime | None = None, livemode: bool = True) -> SweepResult:
    """Take the rows that break their contract out of a snapshot, and name each with the rule it breaks.

    Args:
        snapshot: table name → rows as read, with the columns of `schemas.TABLES`.
        as_of: the instant of the run. Faults of rows that came to be later are left out, and the due-date rule looks at
            the status of that instant. None: everything that was read, as it is.
        livemode: the policy's; a Stripe object belongs to the accounts that map to its customer in this mode.

    Returns:
        SweepResult(frames, violations): `frames` has the same tables and columns; `violations` has the columns of
        `VIOLATIONS`, sorted.
    """
    rules = {name: rules_of(name, as_of) for name in snapshot}
    broken = dict(zip(snapshot, pl.collect_all([_broken(snapshot[n], rules[n]) for n in snapshot]), strict=True))
    repeated = dict(zip(snapshot, pl.collect_all([_repeated(snapshot[n], n) for n in snapshot]), strict=True))
    frames = {name: _sound(snapshot[name], name, rules[name], repeated[name]) for name in snapshot}
    violations = [_violations(snapshot, name, rules[name], broken[name], as_of, livemode=livemode) for name in snapshot]
    repeats = [_repeats(snapshot, name, repeated[name], as_of, livemode=livemode) for name in snapshot]
    return SweepResult(
        frames, pl.concat([_no_violations(), *violations, *repeats]).unique().sort(list(VIOLATIONS), nulls_last=True)
    )


def _broken(frame: pl.LazyFrame, rules: list[Rule]) -> pl.LazyFrame:
    """The rows that break any rule."""
    return frame.filter(pl.any_horizontal(*(rule.is_violated for rule in rules), *_is_unreadable(frame)))


def _is_unreadable(frame: pl.LazyFrame) -> list[pl.Expr]:
    return [pl.col("unreadable").is_not_null()] if "unreadable" in frame.collect_schema().names() else []


def _repeated(frame: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """The keys that more than one row has."""
    key = TABLES[name].key
    counted = frame.select(key).drop_nulls().group_by(key).len()
    return counted.filter(pl.col("len") > 1).select(key)


# What is left for the engine ----------------------------------------------------------------------------------------


def _sound(frame: pl.LazyFrame, name: str, rules: list[Rule], repeated: pl.DataFrame) -> pl.LazyFrame:
    """The table without what cannot be used."""
    harmful = [rule for rule in rules if not rule.is_harmless]
    once = frame if repeated.is_empty() else _each_key_once(frame, name, repeated)
    if name not in DESCRIPTIVE:
        return once.filter(~pl.any_horizontal(*(rule.is_violated for rule in harmful), *_is_unreadable(frame)))
    by_column: dict[str, list[pl.Expr]] = {}
    for rule in harmful:
        by_column.setdefault(rule.column, []).append(rule.is_violated)
    has_key = pl.all_horizontal(pl.col(column).is_not_null() for column in TABLES[name].key)
    return once.filter(has_key).with_columns(
        pl.when(~pl.any_horizontal(*breaks)).then(pl.col(column)).alias(column)
        for column, breaks in by_column.items()
        if column not in TABLES[name].key
    )


def _each_key_once(frame: pl.LazyFrame, name: str, repeated: pl.DataFrame) -> pl.LazyFrame:
    key, columns = list(TABLES[name].key), list(TABLES[name].columns)
    values = [column for column in columns if column not in key and column not in ("updated_at", "version")]
    same = frame.join(repeated.lazy(), on=key, how="semi")
    is_agreed = [pl.col(column).n_unique() == 1 for column in values]
    if name in DESCRIPTIVE:
        one = same.group_by(key).agg(
            pl.when(pl.col(column).n_unique() == 1).then(pl.col(column).first()).alias(column)
            for column in columns
            if column not in key
        )
    else:
        firsts = [pl.col(column).first() for column in columns if column not in (*key, "updated_at", "version")]
        lasts = [pl.col(column).max() for column in columns if column in ("updated_at", "version")]
        agreed = same.group_by(key).agg(*firsts, *lasts, is_agreed=pl.all_horizontal(is_agreed))
        one = agreed.filter("is_agreed")
    return pl.concat([frame.join(repeated.lazy(), on=key, how="anti"), one.select(columns)], how="diagonal")


# What was wrong -----------------------------------------------------------------------------------------------------


def _violations(
    snapshot: Snapshot, name: str, rules: list[Rule], rows: pl.DataFrame, as_of: datetime | None, *, livemode: bool
) -> pl.DataFrame:
    """One violation per broken row, rule and account."""
    rows = rows.filter(_existed(name, as_of))
    if rows.is_empty():
        return _no_violations()
    attributed = attribute(snapshot, name, rows, livemode=livemode)
    found = [_violation(attributed.filter(rule.is_violated), name, rule.column, rule.id, rule.column) for rule in rules]
    return pl.concat([*found, *([_unreadable(attributed, name)] if "unreadable" in rows.columns else [])])


def _unreadable(attributed: pl.DataFrame, name: str) -> pl.DataFrame:
    """One violation per column whose value no frame can hold."""
    columns = (
        attributed.filter(pl.col("unreadable").is_not_null())
        .with_columns(unreadable_column=pl.col("unreadable").str.split(","))
        .explode("unreadable_column", empty_as_null=True)
        .with_columns(pl.col("unreadable_column").str.strip_chars())
    )
    violations = _violation(columns, name, "unreadable", UNREADABLE, "unreadable_column")
    return violations.with_columns(column=pl.col("observed"), observed=pl.lit(None, pl.String()))


def _repeats(
    snapshot: Snapshot, name: str, repeated: pl.DataFrame, as_of: datetime | None, *, livemode: bool
) -> pl.DataFrame:
    """One violation per row of a key that several rows have."""
    if repeated.is_empty() or name in MAY_REPEAT:
        return _no_violations()
    key = list(TABLES[name].key)
    rows = snapshot[name].join(repeated.lazy(), on=key, how="semi").filter(_existed(name, as_of)).collect()
    attributed = attribute(snapshot, name, rows, livemode=livemode)
    return _violation(attributed, name, ",".join(key), DUPLICATE_KEY, None)


def _violation(attributed: pl.DataFrame, name: str, column: str, rule_id: str, shown: str | None) -> pl.DataFrame:
    """`shown` is the column whose value is observed; without one, the row's key is."""
    return attributed.select(
        store=pl.lit(TABLES[name].store),
        table=pl.lit(name),
        key=without_addresses(key_text(name)),
        account_id="attributed_account_id",
        column=pl.lit(column),
        rule=pl.lit(rule_id),
        observed=_observed(shown, attributed.schema[shown]) if shown else without_addresses(key_text(name)),
        object_id="attributed_object_id",
        invoice_id="attributed_invoice_id",
        is_needed="is_needed",
        updated_at="updated_at" if "updated_at" in attributed.columns else pl.lit(None),
    ).cast(pl.Schema(VIOLATIONS))


def key_text(name: str) -> pl.Expr:
    """A row's primary key as text; null where a part of it is."""
    return pl.concat_str([pl.col(column).cast(pl.String()) for column in TABLES[name].key], separator="/")


def _observed(column: str, dtype: pl.DataType) -> pl.Expr:
    """A broken value as it may stand in a report: a text only by its class."""
    if isinstance(dtype, pl.List):
        return pl.lit("(a list)")
    text = pl.col(column).cast(pl.String())
    is_text = isinstance(dtype, pl.String) and column != "unreadable_column"
    return described(text) if is_text else text


def _existed(name: str, as_of: datetime | None) -> pl.Expr:
    """The row had come to be by `as_of`. An instant that no calendar holds dates nothing."""
    if as_of is None:
        return pl.lit(value=True)
    later = [(pl.col(column) > as_of) & (pl.col(column) <= LATEST) for column in EFFECTIVE_COLUMNS.get(name, ())]
    return ~pl.any_horizontal(pl.lit(value=False), *(is_later.fill_null(value=False) for is_later in later))


def _no_violations() -> pl.DataFrame:
    return pl.DataFrame(schema=VIOLATIONS)
