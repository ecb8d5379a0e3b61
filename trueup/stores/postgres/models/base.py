"""The bases that the models of each database hang on, and the column types that docs/contract/STORES.md uses.

One base, and so one MetaData, per database: a table can be made only where it belongs. The auditor's own schema has a
base of its own, because `init-db` makes that one and never a store's.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, MetaData, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

AUDITOR_SCHEMA = "trueup"

Money = Annotated[int, mapped_column(BigInteger)]  # minor units of the row's currency
Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]

TYPES: dict[Any, Any] = {
    str: Text(),
    int: Integer(),
    bool: Boolean(),
    date: Date(),
    datetime: DateTime(timezone=True),
    list[str]: ARRAY(Text()),
    dict[str, Any]: JSONB(),
}


class CfProd(DeclarativeBase):
    """Tables of database cf_prod."""

    type_annotation_map: ClassVar[dict[Any, Any]] = TYPES
    metadata = MetaData()


class BillingProd(DeclarativeBase):
    """Tables of database billing_prod."""

    type_annotation_map: ClassVar[dict[Any, Any]] = TYPES
    metadata = MetaData()


class SubsApi(DeclarativeBase):
    """The five subs-api tables of database subs_api."""

    type_annotation_map: ClassVar[dict[Any, Any]] = TYPES
    metadata = MetaData()


class Auditor(DeclarativeBase):
    """The auditor's own tables: schema trueup of database subs_api, so that they commit with a change."""

    type_annotation_map: ClassVar[dict[Any, Any]] = TYPES
    metadata = MetaData(schema=AUDITOR_SCHEMA)


class Versioned:
    """What every internal row carries: when it was last written, and how many times. Writers add 1 with each update."""

    updated_at: Mapped[datetime | None] = mapped_column(sort_order=90)
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"), sort_order=91)
