"""Entitlements: who has access, against who should.

Access is any active entitlement. An indeterminate account is not judged, nor is one whose
entitlements cannot be read for certain.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from trueup.drift.evidence import Evidence, found, outstanding_of_account


def ent_on_when_suspended(evidence: Evidence) -> pl.LazyFrame:
    """Access, though every cycle is used up."""
    wrong = _judged(evidence).filter("has_entitlements", ~pl.col("has_access"))
    return found(
        wrong,
        {"cf_prod": {"has_access": "has_entitlements"}},
        desired={"has_access": "has_access", "state": "state"},
        at_stake=outstanding_of_account(),
    )


def ent_off_when_good(evidence: Evidence) -> pl.LazyFrame:
    """An active account that subscribes and may have access has none."""
    subscribed = evidence.live_subscriptions.select("account_id").unique()
    wrong = (
        _judged(evidence)
        .filter(
            ~pl.col("has_entitlements"),
            ~pl.col("is_access_unknown"),
            pl.col("has_access"),
            pl.col("account_status") == "active",
        )
        .join(subscribed, on="account_id", how="semi")
        .join(evidence.accounts_with_violations("entitlements"), on="account_id", how="anti")
    )
    return found(
        wrong,
        {"cf_prod": {"has_access": "has_entitlements", "status": "account_status"}},
        desired={"has_access": "has_access", "state": "state"},
        at_stake=outstanding_of_account(),
    )


def ent_plan_mismatch(evidence: Evidence) -> pl.LazyFrame:
    """It has access, and not to what its plan gives: a row per feature too many or too few."""
    entitled = (
        _judged(evidence)
        .filter("has_entitlements")
        .join(evidence.facts["products"].select("plan_code", "features"), on="plan_code", how="inner", validate="m:1")
        .filter(pl.col("features").is_not_null())
        .join(evidence.accounts_with_violations("entitlements"), on="account_id", how="anti")
        .select("account_id", "plan_code", "features")
    )
    active = (
        evidence.facts["entitlements"]
        .filter("active")
        .join(entitled, on="account_id", how="semi")
        .select("account_id", "feature", is_active=pl.lit(value=True))
    )
    planned = (
        entitled.select("account_id", feature="features")
        .explode("feature", empty_as_null=True)
        .drop_nulls()
        .unique()
        .with_columns(is_planned=pl.lit(value=True))
    )
    differs = (
        active.join(planned, on=["account_id", "feature"], how="full", coalesce=True, validate="1:1")
        .with_columns(pl.col("is_active", "is_planned").fill_null(value=False))
        .filter(pl.col("is_active") != pl.col("is_planned"))
        .join(entitled.select("account_id", "plan_code"), on="account_id", how="inner", validate="m:1")
    )
    return found(
        differs,
        {
            "cf_prod": {
                "feature": "feature",
                "is_active": "is_active",
                "is_in_plan": "is_planned",
                "plan_code": "plan_code",
            }
        },
        object_id="feature",
    )


def _judged(evidence: Evidence) -> pl.LazyFrame:
    """Determinate answers beside cf_prod's account_status, plan_code, has_entitlements and is_access_unknown."""
    flags = ("has_entitlements", "is_access_unknown")
    return (
        evidence.determinate.join(evidence.accounts, on="account_id", how="inner", validate="1:1")
        .join(evidence.access, on="account_id", how="left", validate="1:1")
        .with_columns(pl.col(flags).fill_null(value=False))
    )


RULES: Final = (ent_on_when_suspended, ent_off_when_good, ent_plan_mismatch)
