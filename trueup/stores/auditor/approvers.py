"""Approvers: whose keys may approve a plan, within which limits, and which file says so.

The approvers' file (name, public key, role, identities, limits) belongs to whoever answers for the auditor. Which file
is believed is not the caller's choice: the hash of its content is pinned in the audit chain (`pins`), and another file
closes the gate. What an approval is worth is judged in `approvals`.
"""

from __future__ import annotations

import hashlib
import json
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from trueup.correction.limits import ApproverLimits
from trueup.stores.errors import SettingsError

Role = Literal["person", "policy", "auditor"]
"""person: approves within limits. policy: a key without a person, for small safe plans. auditor: signs logs only."""


class Approver(BaseModel):
    """One approver, as the file lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    public_key: Annotated[str, Field(min_length=44, max_length=44)]  # base64 of 32 bytes
    role: Role = "person"
    identities: tuple[str, ...] = ()  # logins and services that the key belongs to; a key without any approves nothing
    limits: Mapping[str, float] = {}

    @field_validator("name")
    @classmethod
    def _is_one_line(cls, value: str) -> str:
        if not value.strip() or not value.isprintable():
            raise ValueError("a key's name is one printable line")
        return value

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


def file_hash(path: Path) -> str:
    """SHA-256 of the approvers' file, in hex; of a file that is not there, that of nothing."""
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


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
    named = ("name", "public_key", "role", "identities")
    quoted = {name: json.dumps(getattr(approver, name), ensure_ascii=False) for name in named}
    lines = ["[[approvers]]", *(f"{name} = {value}" for name, value in quoted.items())]
    return "\n".join([*lines, *(f"limits.{name} = {value}" for name, value in approver.limits.items()), "", ""])


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
