"""docs/contract/FINDINGS.md once more, row by row: every disagreement of a snapshot, and each account's root.

Written from the text alone, like the rest of the model, and on top of its answers: which invoices decide, what is owed
and late, what the state should be. A function for each code, in a module for each few categories: `findings_identity`,
`findings_money`, `findings_retry` (retry, mandate and subscription), and `findings_account` (dunning, entitlement and
event). Faults of broken rows are the sweep's, as they are for `judge`; stale and partial stores are not modelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

from tests.model import findings_account, findings_identity, findings_money, findings_retry
from tests.model.at_stake import at_stake
from tests.model.audit import Audit, Finding
from tests.model.facts import Row

ORDER = (
    "source",
    "identity",
    "money",
    "settlement",
    "ledger",
    "tax",
    "retry and mandate",
    "subscription",
    "dunning",
    "entitlement",
)
CATEGORIES: dict[str, tuple[Callable[[Audit], Iterator[Finding]], ...]] = {
    "identity": findings_identity.RULES,
    "money": findings_money.RULES,
    "retry and mandate": findings_retry.RULES,
    "subscription": findings_retry.SUBSCRIPTION_RULES,
    "dunning": findings_account.DUNNING_RULES,
    "entitlement": findings_account.ENTITLEMENT_RULES,
}


def disagreements(
    snapshot: Mapping[str, Any], policy: Any, as_of: datetime, *, violations: Iterable[Row] = ()
) -> list[Row]:
    """Every finding with its account, code, object, severity, root and cause, one for each account, code and object."""
    known = list(violations)
    audit = Audit(snapshot, policy, as_of, known)
    by_category: dict[str, set[Finding]] = {"source": {broken_row(violation) for violation in known}}
    for category, rules in CATEGORIES.items():
        by_category[category] = {finding for rule in rules for finding in rule(audit)}
    troubled = {finding.account_id for found in by_category.values() for finding in found}
    by_category["event"] = set(findings_account.events(audit, troubled))
    rows = rooted([(category, finding) for category, found in by_category.items() for finding in found])
    return [
        {**row, "at_stake": at_stake(audit, Finding(**{name: row[name] for name in Finding._fields}))} for row in rows
    ]


def broken_row(violation: Row) -> Finding:
    return Finding(violation["account_id"], "SRC_CONTRACT", violation["key"], "S2")


def rooted(found: list[tuple[str, Finding]]) -> list[Row]:
    """Of an account's findings the first by category, severity, code and object is the root; the others name its code.

    A finding without an account has nothing beside it: it is its own root.
    """
    rows = [{**finding._asdict(), "is_root": True, "caused_by": None} for _, finding in found if not finding.account_id]
    of_accounts = sorted((entry for entry in found if entry[1].account_id), key=precedence)
    for _, group in groupby(of_accounts, key=lambda entry: entry[1].account_id):
        root, *others = [finding for _, finding in group]
        rows.append({**root._asdict(), "is_root": True, "caused_by": None})
        rows += [{**other._asdict(), "is_root": False, "caused_by": root.code} for other in others]
    return rows


def precedence(entry: tuple[str, Finding]) -> tuple[str, int, str, str, str]:
    category, finding = entry
    rank = (*ORDER, "event").index(category)
    return (finding.account_id or "", rank, finding.severity, finding.code, finding.object_id or "")
