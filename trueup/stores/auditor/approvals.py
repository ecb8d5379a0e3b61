"""Approvals: signatures under a plan, and what each is worth.

An approval is an Ed25519 signature under the plan's id and the hash of its manifest, so it holds for one plan, one
content and one expiry. What is in the database counts for nothing by itself: each time a plan is to be applied, its
approvals are judged afresh against the approvers' file (`approvers`) and the audit chain. Whether the plan may then be
written is the gate's decision.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, text

from trueup.correction.gate import Approval
from trueup.correction.limits import Limits
from trueup.correction.plan import Plan
from trueup.correction.refusals import ApproverUnknown
from trueup.stores.auditor.approvers import Approvers
from trueup.stores.auditor.audit_log import Entry
from trueup.stores.auditor.keys import SigningKey, is_signed
from trueup.stores.settings import Settings

PURPOSE: Final = "trueup approval 1"


def signed_message(plan: Plan, approver: str, approved_at: datetime) -> str:
    """What an approver signs: JSON, to the byte."""
    content = {
        "purpose": PURPOSE,
        "plan_id": plan.plan_id,
        "manifest_sha256": plan.manifest_hash,
        "approver": approver,
        "approved_at": approved_at.astimezone(UTC).isoformat(),
    }
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def record_approval(connection: Connection, plan: Plan, key: SigningKey, approvers: Approvers, at: datetime) -> Entry:
    """Sign a plan and store the signature; the audit entry that belongs to it. Raises ApproverUnknown."""
    approver = approvers.of_key(key.public)
    if approver is None:
        raise ApproverUnknown(
            "this key is not in the approvers' file.",
            "Have someone in the approvers' file approve it, or have the key enrolled by whoever keeps that file.",
            public_key=key.public,
        )
    message = signed_message(plan, approver.name, at)
    row = {
        "plan_id": plan.plan_id,
        "approver": approver.name,
        "public_key": key.public,
        "message": message,
        "signature": key.sign(message.encode()),
        "approved_at": at,
    }
    connection.execute(_STORE_APPROVAL, row)
    detail = {
        "role": approver.role,
        "public_key": key.public,
        "manifest_sha256": plan.manifest_hash,
        "signature": row["signature"],
    }
    return Entry(actor=approver.name, action="approved", plan_id=plan.plan_id, reconciled_at=plan.as_of, detail=detail)


def approvals_of(
    connection: Connection, plan: Plan, approvers: Approvers, known_signatures: Collection[str]
) -> tuple[Approval, ...]:
    """Every approval that is stored for the plan, judged against the approvers' file as it is now.

    `known_signatures` are those that the audit chain has an entry of.
    """
    rows = connection.execute(_APPROVALS, {"plan_id": plan.plan_id}).all()
    return tuple(_judged(plan, approvers, known_signatures, *row) for row in rows)


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings give."""
    return Limits(
        max_share=settings.plan_max_share,
        max_accounts=settings.plan_max_accounts,
        max_suspensions_share=settings.plan_max_suspensions_share,
        max_suspensions=settings.plan_max_suspensions,
        small_plan_accounts=settings.plan_small_accounts,
        max_shrink_share=settings.source_max_shrink_share,
        max_shrink_rows=settings.source_max_shrink_rows,
        is_policy_key_allowed=settings.policy_key_allowed,
        policy_key_max_share=settings.policy_key_max_share,
        policy_key_max_accounts=settings.policy_key_max_accounts,
        policy_key_max_accounts_per_hour=settings.policy_key_max_accounts_per_hour,
        approvals_needed=settings.approvals_needed,
        two_keys_above_accounts=settings.two_keys_above_accounts,
        as_of_age_max_hours=settings.as_of_age_max_hours,
    )


_STORE_APPROVAL: Final = text("""
    INSERT INTO trueup.approvals (plan_id, approver, public_key, message, signature, approved_at)
    VALUES (:plan_id, :approver, :public_key, :message, :signature, :approved_at)
""")
_APPROVALS: Final = text("""
    SELECT approver, public_key, message, signature, approved_at FROM trueup.approvals
    WHERE plan_id = :plan_id ORDER BY number
""")


def _judged(
    plan: Plan,
    approvers: Approvers,
    known_signatures: Collection[str],
    name: str,
    public_key: str,
    message: str,
    signature: str,
    approved_at: datetime,
) -> Approval:
    approver = approvers.of_key(public_key)
    if approver is None or approver.name != name:
        return Approval(name, is_known=False, is_signature_valid=False)
    says_this_plan = message == signed_message(plan, name, approved_at)
    return Approval(
        name,
        is_known=True,
        is_signature_valid=says_this_plan and is_signed(public_key, signature, message.encode()),
        is_policy_key=approver.role == "policy",
        is_in_chain=signature in known_signatures,
        identities=frozenset(approver.identities),
        limits=approver.own_limits,
    )
