"""Pins: which approvers' file and which limits are believed, as entries of the audit chain.

The file and the limits come from the caller's environment, and an environment is anybody's. So the hash of the file and
the limits are pinned in the chain: first by `trueup init-db`, later by `trueup keys trust`, which an approver of the
pinned file signs. `trueup keys new` pins the file that it writes, if that was the pinned one before. Another file
approves nothing; other limits can only be tighter than the pinned ones.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, text

from trueup.correction.limits import Limits
from trueup.correction.refusals import ApproverUnknown
from trueup.stores.auditor.approvals import limits_of
from trueup.stores.auditor.approvers import Approver, Role, enrol, file_hash, load_approvers
from trueup.stores.auditor.audit_log import Entry, append, auditor_key, note_head
from trueup.stores.auditor.connection import actor, identity, utc_now, writing
from trueup.stores.auditor.keys import SigningKey, new_key, write_key
from trueup.stores.errors import SettingsError
from trueup.stores.settings import Settings

ACTION: Final = "approvers_pinned"
PURPOSE: Final = "trueup approvers 1"


@dataclass(frozen=True)
class Pin:
    """The approvers' file, by the hash of its content, and the limits that are believed."""

    approvers_sha256: str
    limits: Limits


def read_pin(connection: Connection) -> Pin | None:
    """The newest pin in the audit chain; None where there is none. Whether the chain holds is asked elsewhere."""
    detail = connection.execute(_NEWEST, {"action": ACTION}).scalar_one_or_none()
    if detail is None:
        return None
    content: dict[str, Any] = json.loads(detail)
    return Pin(content["approvers_sha256"], Limits(**content["limits"]))


def pin_first(settings: Settings) -> bool:
    """Pin the approvers' file and the limits as they are, if nothing is pinned; whether they were."""
    with writing(settings) as connection:
        if read_pin(connection) is not None:
            return False
        connection.rollback()
        _pin(connection, settings, actor(), limits_of(settings), {})
        return True


def trust(settings: Settings, key: SigningKey) -> str:
    """Pin the approvers' file and the limits of these settings, on the word of an approver of the pinned file.

    Returns:
        The name of the approver.

    Raises:
        ApproverUnknown: the key is no person's of the pinned file, or that file is gone.
        SettingsError: the new file is not one.
    """
    load_approvers(settings.approvers_file)
    with writing(settings) as connection:
        pin = read_pin(connection)
        connection.rollback()
        approver = _approver_of_pin(settings, pin, key)
        message = json.dumps([PURPOSE, file_hash(settings.approvers_file), asdict(limits_of(settings))], sort_keys=True)
        signed = {"public_key": key.public, "message": message, "signature": key.sign(message.encode())}
        _pin(connection, settings, approver.name, limits_of(settings), signed)
        return approver.name


def new_approver(
    settings: Settings, name: str, key_file: Path, role: Role = "person", identities: tuple[str, ...] | None = None
) -> tuple[Approver, bool]:
    """Make a key pair, and enrol and pin its public half where the caller may write the approvers' file.

    Args:
        settings: whose approvers' file, and whose audit chain if one is set.
        name: of the approver, one printable line that no other has.
        key_file: where the private key goes.
        role: person, policy or auditor.
        identities: logins and services that the key belongs to; the caller's own if left out.

    Returns:
        The approver, and whether they were enrolled; if not, `approver_toml` is what the keeper of the file adds.

    Raises:
        SettingsError: the name is taken or no line, or the file is not one.
        ApproverUnknown: another file is pinned than the one that would be written.
    """
    approvers = load_approvers(settings.approvers_file)
    if any(a.name == name for a in approvers.listed):
        raise SettingsError([f"there is an approver called {name} already"], "Give the new key a name of its own.")
    belongs_to = (identity(settings),) if identities is None else identities
    key = new_key()
    try:
        approver = Approver(name=name, public_key=key.public, role=role, identities=belongs_to)
    except ValueError:
        raise SettingsError([f"{name!r} is no name: it is one printable line"], "Give the key another name.") from None
    _refuse_unpinned(settings)
    write_key(key_file, key)
    is_enrolled = enrol(settings.approvers_file, approver)
    if is_enrolled and settings.subs_api_writer_url:
        _pin_written(settings)
    return approver, is_enrolled


def refuse_other_file(settings: Settings, pin: Pin | None) -> None:
    """Raise ApproverUnknown if the approvers' file is not the pinned one."""
    if pin is None:
        raise ApproverUnknown(
            "no approvers' file is pinned in the audit log.",
            "As the owner of subs_api: `trueup init-db` pins the first one.",
        )
    if file_hash(settings.approvers_file) != pin.approvers_sha256:
        raise ApproverUnknown(
            f"{settings.approvers_file} is not the approvers' file that is pinned in the audit log.",
            "If it is the right one, an approver of the pinned file says so: `trueup keys trust --key F`. Else set "
            "TRUEUP_APPROVERS to the pinned one.",
            pinned_sha256=pin.approvers_sha256,
        )


def _refuse_unpinned(settings: Settings) -> None:
    """Raise if writing the file would make another file than the pinned one the trusted one."""
    if not settings.subs_api_writer_url:
        return
    with writing(settings) as connection:
        pin = read_pin(connection)
    if pin is not None:
        refuse_other_file(settings, pin)


def _pin_written(settings: Settings) -> None:
    with writing(settings) as connection:
        pin = read_pin(connection)
        connection.rollback()
        _pin(connection, settings, actor(), limits_of(settings) if pin is None else pin.limits, {})


def _approver_of_pin(settings: Settings, pin: Pin | None, key: SigningKey) -> Approver:
    """Who holds the key, by the pinned file, of which there is a copy under TRUEUP_HOME."""
    copy = None if pin is None else _copy_of(settings, pin.approvers_sha256)
    is_whole = pin is not None and copy is not None and file_hash(copy) == pin.approvers_sha256
    approver = load_approvers(copy).of_key(key.public) if copy is not None and is_whole else None
    if approver is None or approver.role != "person":
        raise ApproverUnknown(
            "this key is no person's of the approvers' file that is pinned in the audit log.",
            "Have a person of the pinned file sign it. If that file is lost, restore it from a backup.",
            public_key=key.public,
        )
    return approver


def _pin(connection: Connection, settings: Settings, who: str, limits: Limits, signed: dict[str, str]) -> None:
    digest = file_hash(settings.approvers_file)
    entry = Entry(who, ACTION, detail={"approvers_sha256": digest, "limits": asdict(limits), **signed})
    with connection.begin():
        head = append(connection, auditor_key(settings), [entry], utc_now())
    note_head(settings, head)
    copy = _copy_of(settings, digest)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(settings.approvers_file.read_bytes() if settings.approvers_file.is_file() else b"")


def _copy_of(settings: Settings, digest: str) -> Path:
    """A copy of a pinned file: what `keys trust` holds a key against once the file itself was changed."""
    return settings.home / "approvers" / f"{digest}.toml"


_NEWEST: Final = text("SELECT detail FROM trueup.audit_log WHERE action = :action ORDER BY number DESC LIMIT 1")
