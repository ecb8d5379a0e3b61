"""Story: what is wrong with one account, in one sentence.

It names what the stores say about the root finding's object, the event that has been stuck and since when, and who
mends it. It is made of the findings alone, so whatever shows them (`trueup explain`, a page, a report) opens with the
same words. Which finding is the root is decided in `trueup/drift/roots.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from trueup.drift import CODES

Row = Mapping[str, Any]
Sides = Mapping[str, Mapping[str, Any]]

STUCK: Final = ("EVT_STUCK", "EVT_STUCK_MOOT", "EVT_MALFORMED")
NAMES: Final = {"stripe": "Stripe"}  # stores whose name in prose is not their name in data
DESIRED: Final = "desired"
LISTED_MAX: Final = 3  # values of one store in the sentence; the rest stand in the table below it


def story_of(state: str | None, findings: Sequence[Row]) -> str:
    """One sentence about an account.

    Args:
        state: the account's desired state; None where no account is known to cf_prod.
        findings: its rows of `schemas.FINDINGS`.
    """
    if not findings:
        return f"Nothing disagrees: every store agrees with {state}." if state else "Nothing disagrees."
    root = root_of(findings)
    clauses = [_sides_clause(root), _stuck_clause(findings, root), _mend_clause(root), *_qualifications(root)]
    return f"{_about(root)}{'; '.join(clause for clause in clauses if clause)}."


def root_of(findings: Sequence[Row]) -> Row:
    """The finding that explains the others; one that is counted before one that is not."""
    return min(findings, key=lambda row: (row["is_suppressed"] or row["is_settling"], not row["is_root"]))


def side_by_side(finding: Row) -> list[dict[str, str]]:
    """What each store says of one finding, a row per field: `field`, a column per store, `desired` where it is decided.

    Fields on which the sides differ come first.
    """
    sides = {**_sides(finding), **_desired(finding)}
    fields = list(dict.fromkeys(field for values in sides.values() for field in values))
    rows = [{"field": field} | {side: _value(values, field) for side, values in sides.items()} for field in fields]
    return sorted(rows, key=lambda row: not _differs(row))


def _differs(row: Mapping[str, str]) -> bool:
    values = [value for name, value in row.items() if name != "field" and value]
    return len(values) > 1 and len(set(values)) > 1


def _value(values: Mapping[str, Any], field: str) -> str:
    return formatted(values[field]) if field in values else ""


def _sides(finding: Row) -> Sides:
    decoded = orjson.loads(finding["observed"] or "{}")
    sides = {store: values for store, values in decoded.items() if isinstance(values, dict)}
    return sides or ({"the row": decoded} if decoded else {})


def _desired(finding: Row) -> Sides:
    decoded = orjson.loads(finding["desired"] or "null")
    return {DESIRED: decoded} if isinstance(decoded, dict) else {}


def _about(root: Row) -> str:
    return f"{root['code']} of {root['object_id']}: " if root["object_id"] else f"{root['code']}: "


def _sides_clause(root: Row) -> str:
    """What each store says, and what it should say: only the fields on which they differ, where they share any."""
    sides = {**_sides(root), **_desired(root)}
    differing = _differing(sides)
    shown = {side: {field: values[field] for field in differing or values} for side, values in sides.items()}
    return ", ".join(
        _side_clause(side, values, is_plain=len(differing) == 1) for side, values in shown.items() if values
    )


def _differing(sides: Sides) -> list[str]:
    """The fields that every side has and that are not the same on all; the status alone where it is one of them."""
    if len(sides) < 2:  # noqa: PLR2004 -- one side differs from nothing
        return []
    first = next(iter(sides.values()))
    shared = [field for field in first if all(field in values for values in sides.values())]
    differing = [field for field in shared if len({formatted(values[field]) for values in sides.values()}) > 1]
    return ["status"] if "status" in differing else differing


def _side_clause(side: str, values: Mapping[str, Any], *, is_plain: bool) -> str:
    if values.get("is_known") is False:
        return f"{NAMES.get(side, side)} does not know it"
    listed = _listed(values, is_plain=is_plain)
    return f"it should be {listed}" if side == DESIRED else f"{NAMES.get(side, side)} says {listed}"


def _listed(values: Mapping[str, Any], *, is_plain: bool) -> str:
    """Values with their fields; a single word stands without its field."""
    items = list(values.items())[:LISTED_MAX]
    if is_plain and isinstance(items[0][1], str):
        return formatted(items[0][1])
    return " and ".join(f"{field} {formatted(value)}" for field, value in items)


def _stuck_clause(findings: Sequence[Row], root: Row) -> str:
    """The event that an account's handlers have not finished, and since which day."""
    stuck = sorted((row for row in findings if row["code"] in STUCK and row is not root), key=_received_at)
    if not stuck:
        return ""
    first = stuck[0]
    since = f" since {_day(_received_at(first))}" if _received_at(first) else ""
    more = f", with {len(stuck) - 1} more" if len(stuck) > 1 else ""
    return f"{first['object_id']} is {_status(first)}{since}{more}"


def _received_at(finding: Row) -> str:
    return str(_sides(finding).get("subs_dunning", {}).get("received_at") or "")


def _status(finding: Row) -> str:
    status = _sides(finding).get("subs_dunning", {}).get("status")
    return "malformed" if finding["code"] == "EVT_MALFORMED" else str(status or "stuck")


def _day(text: str) -> str:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{instant.day} {instant:%B %Y}"


def _mend_clause(root: Row) -> str:
    code = CODES.get(root["code"])
    if code is not None and code.corrects:
        return "a plan corrects it"
    return f"{root['owner']} mends it"


def _qualifications(root: Row) -> list[str]:
    """What keeps the finding out of the count."""
    words = {"is_suppressed": "suppressed, a store it depends on is not whole", "is_settling": "changed too recently"}
    return [f"it is not counted ({why})" for flag, why in words.items() if root[flag]]


def formatted(value: Any) -> str:  # noqa: ANN401 -- any value of JSON
    """A value of JSON as a person reads it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(formatted(one) for one in value) or "nothing"
    if isinstance(value, dict):
        return " ".join(formatted(one) for one in value.values())
    return str(value)
