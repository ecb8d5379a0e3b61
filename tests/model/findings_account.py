"""Findings of the account itself: its dunning state, its flag, its entitlements, and the events that got stuck."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tests.model.account import Result
from tests.model.audit import Audit, Finding
from tests.model.facts import Row
from trueup.contract.schemas import STATES

SUSPENDED = STATES.index("suspended")


def dun_exempt_ignored(audit: Audit) -> Iterator[Finding]:
    for account_id in audit.desired:
        stored = stored_rank(audit, account_id)
        if is_exempt(audit, account_id) and stored is not None and stored > 0:
            yield Finding(account_id, "DUN_EXEMPT_IGNORED", None, "S1")


def dun_state(audit: Audit) -> Iterator[Finding]:
    """Of the codes about the stored state an account has at most one."""
    for account_id, result in told(audit):
        stored, desired = stored_rank(audit, account_id), STATES.index(result["state"])
        if is_exempt(audit, account_id) or stored is None or stored == desired:
            continue
        if stored > desired and is_in_dispute(audit, account_id):
            yield Finding(account_id, "DISPUTE_OPEN_BUT_DUNNING", None, "S1")
        elif desired == 0:
            yield Finding(account_id, "DUN_STUCK_AFTER_PAYMENT", None, "S1")
        elif stored == 0:
            yield Finding(account_id, "DUN_NOT_STARTED", None, "S2")
        elif stored >= SUSPENDED and desired < SUSPENDED:
            yield Finding(account_id, "DUN_EARLY_SUSPENSION", None, "S1")
        else:
            yield Finding(account_id, "DUN_STATE_MISMATCH", None, "S2")


def dun_counter_mismatch(audit: Audit) -> Iterator[Finding]:
    columns = ("attempt_count", "clock_started_on", "next_retry_at", "driver_invoice_id")
    for account_id, result in told(audit):
        row = audit.facts.stored_dunning.get(account_id)
        if row is None or is_exempt(audit, account_id) or row["state"] != result["state"]:
            continue
        if any(row[column] != result[column] for column in columns):
            yield Finding(account_id, "DUN_COUNTER_MISMATCH", None, "S3")


def dun_ledger_copy_mismatch(audit: Audit) -> Iterator[Finding]:
    for account_id, result in told(audit):
        row = audit.stored_copies.get(account_id)
        copy = row["state"] if row else "good_standing"
        if not is_exempt(audit, account_id) and copy is not None and copy != result["state"]:
            yield Finding(account_id, "DUN_LEDGER_COPY_MISMATCH", None, "S3")


def dun_orphan(audit: Audit) -> Iterator[Finding]:
    for account_id in audit.facts.stored_dunning:
        computed_at = audit.facts.stored_dunning[account_id]["computed_at"]
        if account_id not in audit.facts.accounts and (computed_at is None or computed_at <= audit.as_of):
            yield Finding(account_id, "DUN_ORPHAN", None, "S4")


def flag_bad_debt(audit: Audit) -> Iterator[Finding]:
    for account_id, result in told(audit):
        row = audit.facts.flags.get(account_id)
        if row is None or row["bad_debt"] is None:
            continue
        if row["bad_debt"] and not result["bad_debt"]:
            yield Finding(account_id, "FLAG_BAD_DEBT_STALE", None, "S1")
        if result["bad_debt"] and not row["bad_debt"]:
            yield Finding(account_id, "FLAG_BAD_DEBT_MISSING", None, "S2")


DUNNING_RULES = (
    dun_exempt_ignored,
    dun_state,
    dun_counter_mismatch,
    dun_ledger_copy_mismatch,
    dun_orphan,
    flag_bad_debt,
)


def ent_on_when_suspended(audit: Audit) -> Iterator[Finding]:
    for account_id, result in told(audit):
        if active_features(audit, account_id) and STATES.index(result["state"]) >= SUSPENDED:
            yield Finding(account_id, "ENT_ON_WHEN_SUSPENDED", None, "S1")


def ent_off_when_good(audit: Audit) -> Iterator[Finding]:
    for account_id, result in told(audit):
        is_good = STATES.index(result["state"]) < SUSPENDED
        is_active = audit.facts.accounts[account_id]["status"] == "active"
        if active_features(audit, account_id) or not is_active or not is_good:
            continue
        if audit.live_subscriptions_of(account_id):
            yield Finding(account_id, "ENT_OFF_WHEN_GOOD", None, "S1")


def ent_plan_mismatch(audit: Audit) -> Iterator[Finding]:
    for account_id, _ in told(audit):
        plan = audit.products.get(audit.facts.accounts[account_id]["plan_code"])
        features = active_features(audit, account_id)
        if features and plan and plan["features"] is not None:
            for feature in features ^ set(plan["features"]):
                yield Finding(account_id, "ENT_PLAN_MISMATCH", feature, "S3")


ENTITLEMENT_RULES = (ent_on_when_suspended, ent_off_when_good, ent_plan_mismatch)


def events(audit: Audit, troubled: set[str | None]) -> Iterator[Finding]:
    """Events that wait; `troubled` are the accounts that have a finding about something else."""
    for row in audit.tables["subs_stuck_events"]:
        account_id, event_id = row["account_id"], row["event_id"]
        if row["received_at"] > audit.as_of or is_resolved(audit, row):
            continue
        if not row["is_well_formed"]:
            if row["status"] != "dead":  # a person has buried it
                yield Finding(account_id, "EVT_MALFORMED", event_id, "S2")
        elif row["status"] != "dead" and row["received_at"] < audit.as_of - timedelta(hours=1):
            is_moot = account_id is None or account_id not in troubled
            yield Finding(account_id, "EVT_STUCK_MOOT" if is_moot else "EVT_STUCK", event_id, "S4" if is_moot else "S1")


def is_resolved(audit: Audit, event: Row) -> bool:
    """What was resolved after T was stuck at T."""
    return event["status"] == "resolved" and (event["resolved_at"] is None or event["resolved_at"] <= audit.as_of)


def told(audit: Audit) -> Iterator[tuple[str, Result]]:
    """Accounts of which the engine can tell what they should be."""
    for account_id, result in audit.desired.items():
        if result["quality"] == "determinate":
            yield account_id, result


def is_exempt(audit: Audit, account_id: str) -> bool:
    row = audit.facts.flags.get(account_id)
    return bool(row and row["dunning_exempt"])


def stored_rank(audit: Audit, account_id: str) -> int | None:
    """The stored state; no row is good standing, a state that nobody knows cannot be told."""
    row = audit.facts.stored_dunning.get(account_id)
    if row is None:
        return 0
    return STATES.index(row["state"]) if row["state"] is not None else None


def is_in_dispute(audit: Audit, account_id: str) -> bool:
    """The driver or a paid invoice is in open dispute today; of a child, its parent's."""
    payer = audit.facts.accounts[account_id]["parent_account_id"] or account_id
    own, driver = audit.ledgers[payer], audit.desired[account_id]["driver_invoice_id"]
    return any(
        bill.is_disputed(own.today) and (bill.object_id == driver or bill.money.status == "paid")
        for bill in own.deciding
    )


def active_features(audit: Audit, account_id: str) -> set[str]:
    return {row["feature"] for row in audit.entitlements_of[account_id] if row["active"]}
