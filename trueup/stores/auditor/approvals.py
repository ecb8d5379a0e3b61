"""Approvals: who may approve a plan, and what an approval is worth.

Approvers are listed in a file (name, public key, role, limits), which whoever answers for the auditor keeps. An
approval is an Ed25519 signature under the plan's id and the hash of its manifest, so it holds for one plan, one content
and one expiry. What is in the database counts for nothing by itself: each time a plan is to be applied, its approvals
are judged afresh against the file. Whether the plan may then be written is the gate's decision.
"""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, text

from trueup.correction.gate import Approval
from trueup.correction.limits import ApproverLimits, Limits
from trueup.correction.plan import Plan
from trueup.correction.refusals import ApproverUnknown
from trueup.stores.auditor.audit_log import Entry
from trueup.stores.auditor.keys import SigningKey, is_signed, new_key, write_key
from trueup.stores.errors import SettingsError
from trueup.stores.settings import Settings

PURPOSE: Final = "trueup approval 1"

Role = Literal["person", "policy", "auditor"]
"""person: approves within limits. policy: a key without a person, for small safe plans. auditor: signs logs only."""


class Approver(BaseModel):
    """One approver, as the file lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    public_key: Annotated[str, Field(min_length=44, max_length=44)]  # base64 of 32 bytes
    role: Role = "person"
    limits: Mapping[str, float] = {}

    @property
    def own_limits(self) -> ApproverLimits:
        given = dict(self.limits)
        return ApproverLimits(
            max_share=given.get("max_share"),
            max_accounts=_whole(given.get("max_accounts")),
            max_suspensions_share=given.get("max_suspensions_share"),
            max_suspensions=_whole(given.get("max_suspensions")),
        )


@dataclass(frozen=True)
class Approvers:
    """The approvers' file, read and checked."""

    listed: tuple[Approver, ...]

    def of_key(self, public_key: str) -> Approver | None:
        """Who holds this key, if they may approve anything."""
        return next((a for a in self.listed if a.public_key == public_key and a.role != "auditor"), None)

    @property
    def auditor_keys(self) -> frozenset[str]:
        """Public keys of auditors on other machines, whose heads of the audit log count as well."""
        return frozenset(a.public_key for a in self.listed if a.role == "auditor")


def load_approvers(path: Path) -> Approvers:
    """Read the approvers' file; one that is not there lists nobody. Raises SettingsError naming every fault."""
    if not path.exists():
        return Approvers(())
    way_out = (
        f"Mend {path}: [[approvers]] with name, public_key, role (person, policy, auditor) and [approvers.limits]."
    )
    if path.stat().st_mode & stat.S_IWOTH:
        raise SettingsError([f"{path} may be written by anyone on this machine"], f"chmod o-w {path}")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        listed = tuple(Approver.model_validate(entry) for entry in document.get("approvers", []))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path} is not TOML: {error}"], way_out) from error
    except ValidationError as error:
        faults = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)]
        raise SettingsError(faults, way_out) from error
    faults = [*_repeated(listed), *_unknown_limits(listed)]
    if faults:
        raise SettingsError([f"{path}: {fault}" for fault in faults], way_out)
    return Approvers(listed)


def new_approver(settings: Settings, name: str, key_file: Path, role: Role = "person") -> tuple[Approver, bool]:
    """Make a key pair, and enrol its public half where the caller may write the approvers' file.

    Returns the approver and whether they were enrolled; if not, `approver_toml` is what the keeper of the file adds.
    """
    approvers = load_approvers(settings.approvers_file)
    if any(a.name == name for a in approvers.listed):
        raise SettingsError([f"there is an approver called {name} already"], "Give the new key a name of its own.")
    key = new_key()
    write_key(key_file, key)
    approver = Approver(name=name, public_key=key.public, role=role)
    return approver, enrol(settings.approvers_file, approver)


def enrol(path: Path, approver: Approver) -> bool:
    """Add an approver to the file; False where the caller may not write it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(approver_toml(approver))
    except PermissionError:
        return False
    return True


def approver_toml(approver: Approver) -> str:
    """The approver's lines in the approvers' file."""
    quoted = {name: json.dumps(getattr(approver, name), ensure_ascii=False) for name in ("name", "public_key", "role")}
    lines = ["[[approvers]]", *(f"{name} = {value}" for name, value in quoted.items())]
    return "\n".join([*lines, *(f"limits.{name} = {value}" for name, value in approver.limits.items()), "", ""])


def signed_message(plan: Plan, approver: str, approved_at: datetime) -> str:
    """What an approver signs: JSON, to the byte."""
    said = {
        "purpose": PURPOSE,
        "plan_id": plan.plan_id,
        "manifest_sha256": plan.manifest_hash,
        "approver": approver,
        "approved_at": approved_at.astimezone(UTC).isoformat(),
    }
    return json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def record_approval(connection: Connection, plan: Plan, key: SigningKey, approvers: Approvers, at: datetime) -> Entry:
    """Sign a plan and keep the signature; the audit entry that belongs to it. Raises ApproverUnknown."""
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
    connection.execute(_KEEP_APPROVAL, row)
    detail = {"role": approver.role, "public_key": key.public, "manifest_sha256": plan.manifest_hash}
    return Entry(actor=approver.name, action="approved", plan_id=plan.plan_id, reconciled_at=plan.as_of, detail=detail)


def approvals_of(connection: Connection, plan: Plan, approvers: Approvers) -> tuple[Approval, ...]:
    """Every approval that is kept for the plan, judged against the approvers' file as it is now."""
    rows = connection.execute(_APPROVALS, {"plan_id": plan.plan_id}).all()
    return tuple(_judged(plan, approvers, *row) for row in rows)


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
    )


_KEEP_APPROVAL: Final = text("""
    INSERT INTO trueup.approvals (plan_id, approver, public_key, message, signature, approved_at)
    VALUES (:plan_id, :approver, :public_key, :message, :signature, :approved_at)
""")
_APPROVALS: Final = text("""
    SELECT approver, public_key, message, signature, approved_at FROM trueup.approvals
    WHERE plan_id = :plan_id ORDER BY number
""")


def _judged(
    plan: Plan, approvers: Approvers, name: str, public_key: str, message: str, signature: str, approved_at: datetime
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
        limits=approver.own_limits,
    )


def _repeated(listed: tuple[Approver, ...]) -> list[str]:
    names, keys = [a.name for a in listed], [a.public_key for a in listed]
    return [
        *(f"{name} is listed more than once" for name in sorted({n for n in names if names.count(n) > 1})),
        *(f"the key {key} is listed more than once" for key in sorted({k for k in keys if keys.count(k) > 1})),
    ]


def _unknown_limits(listed: tuple[Approver, ...]) -> list[str]:
    known = set(asdict(ApproverLimits()))
    return [
        f"{approver.name}: there is no limit called {name}"
        for approver in listed
        for name in sorted(set(approver.limits) - known)
    ]


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
