"""Dead letters: what is answered to `trueup relay --dead`, `--replay` and `--skip`."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from trueup.stores.errors import SettingsError
from trueup.stores.publish.relay import list_dead, replay_dead, skip_dead
from trueup.stores.settings import Settings


def answer_dead(settings: Settings, replayed: str | None, skipped: str | None) -> list[dict[str, Any]] | dict[str, int]:
    """List the dead events, or decide about them: how many were replayed or skipped."""
    if replayed:
        return {"replayed": replay_dead(settings, None if replayed == "all" else event_id(replayed))}
    if skipped:
        return {"skipped": skip_dead(settings, event_id(skipped))}
    return [dataclasses.asdict(dead) for dead in list_dead(settings)]


def event_id(text: str) -> uuid.UUID:
    """An event's id; raises SettingsError for what is none."""
    try:
        return uuid.UUID(text)
    except ValueError as fault:
        raise SettingsError([f"{text!r} is no event id"], "`trueup relay --dead` lists the ids.") from fault
