"""Rows that each break one claim of one suite, planted in an otherwise sound fleet."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import psycopg

from checks.expectations.suites import Expected, Suite, parameters
from trueup.contract.schemas import TABLES
from trueup.sandbox.fleet import Fleet
from trueup.stores.postgres.models import DATABASE_OF
from trueup.stores.settings import libpq_url

PERSONAL = "jane.doe@example.com"  # what a confused writer may put into any text column


def planted_in(fleet: Fleet, suites: list[Suite]) -> Fleet:
    """The fleet with a broken row, or two of one key, for each claim that a frame can break."""
    frames = dict(fleet.frames)
    for suite in suites:
        sound = frames[suite.table].head(1)
        broken = [_broken(sound, one) for one in suite.expected]
        frames[suite.table] = pl.concat([frames[suite.table], *broken])
    return replace(fleet, frames=frames)


def keys_planted(one: Expected) -> tuple[str | None, ...]:
    """The keys of the rows that break a claim; None for a row without a key."""
    if one.is_of_absence and one.columns[0] in TABLES[one.table].key:
        return (None,)
    return ("/".join(str(_key(one, column)) for column in TABLES[one.table].key),)


def let_in(urls: dict[str, str], suites: list[Suite]) -> None:
    """Take the stores' own constraints away; behind a view nobody keeps them either."""
    for suite in suites:
        with psycopg.connect(libpq_url(urls[DATABASE_OF[suite.table]])) as connection:
            connection.execute(f'ALTER TABLE "{suite.table}" DROP CONSTRAINT "{suite.table}_pkey"'.encode())
            for column in TABLES[suite.table].key:
                connection.execute(f'ALTER TABLE "{suite.table}" ALTER "{column}" DROP NOT NULL'.encode())


def make_unreadable(urls: dict[str, str], suites: list[Suite]) -> None:
    """Put an instant that no frame can hold into the rows that were planted for it."""
    for suite in suites:
        [one] = [one for one in suite.expected if one.is_of_readability]
        key = TABLES[suite.table].key[0]
        statement = f'UPDATE "{suite.table}" SET updated_at = \'infinity\' WHERE "{key}" = %s'
        with psycopg.connect(libpq_url(urls[DATABASE_OF[suite.table]])) as connection:
            connection.execute(statement.encode(), (_key(one, key),))


def _broken(sound: pl.DataFrame, one: Expected) -> pl.DataFrame:
    named = sound.with_columns(**{key: pl.lit(_key(one, key)).cast(sound.schema[key]) for key in TABLES[one.table].key})
    if one.is_of_keys:
        return pl.concat([named, named])
    if one.is_of_readability:
        return named
    values = {one.columns[0]: _bad_value(one), **_condition(one)}
    return named.with_columns(**{name: pl.lit(value).cast(sound.schema[name]) for name, value in values.items()})


def _key(one: Expected, column: str) -> str | int:
    if isinstance(TABLES[one.table].columns[column], pl.Int64):
        return 10**9 + sum(ord(letter) * 131**place for place, letter in enumerate(one.claim)) % 10**8
    return f"planted_{one.claim}"


def _bad_value(one: Expected) -> Any:
    if one.is_of_absence:
        return None
    if "value_set" in one.kwargs:
        return PERSONAL
    low, high = (_bound(one.kwargs.get(name)) for name in ("min_value", "max_value"))
    step = 1 if isinstance(high if low is None else low, int) else timedelta(days=1)
    return high + step if low is None else low - step


def _bound(value: Any) -> int | date | None:
    return parameters()[value["$PARAMETER"]] if isinstance(value, dict) else value


def _condition(one: Expected) -> dict[str, Any]:
    """What makes the row one that the claim is about."""
    found = {}
    for condition in one.kwargs.get("row_condition", {}).get("conditions", ()):
        wanted = condition["parameter"]
        found[condition["column"]["name"]] = wanted[0] if isinstance(wanted, list) else wanted
    return found
