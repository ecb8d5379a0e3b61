"""cf_prod: accounts, entitlements, product configuration. Writers: A1 accounts and the Entitlements API; never us."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from trueup.stores.postgres.models.base import CfProd, Money, Versioned


class Account(Versioned, CfProd):
    """A customer of ours. A null timezone means the policy's."""

    __tablename__ = "accounts"

    account_id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None]  # personal data: the auditor never reads it
    country: Mapped[str | None]
    currency: Mapped[str | None]
    timezone: Mapped[str | None]
    status: Mapped[str | None]  # active, suspended, closed
    plan_code: Mapped[str | None]
    parent_account_id: Mapped[str | None]  # its invoices are billed to this account
    created_at: Mapped[datetime | None]


class Entitlement(Versioned, CfProd):
    """A feature that an account may use, or might once."""

    __tablename__ = "entitlements"

    account_id: Mapped[str] = mapped_column(primary_key=True)
    feature: Mapped[str] = mapped_column(primary_key=True)
    active: Mapped[bool | None]
    granted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Product(Versioned, CfProd):
    """A plan, its price and its features."""

    __tablename__ = "products"

    plan_code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    amount: Mapped[Money | None]
    currency: Mapped[str | None]
    interval: Mapped[str | None]  # month, year
    features: Mapped[list[str] | None]
