"""Ladders given as data: an ordered list of (state, conditions that must all hold), the most severe match winning.

Conditions look at what is unpaid: the invoices of one view that have a rung above 0 by the built-in ladder; at the
account's tags, which are what cf_prod says of it; and at its latest failed attempt in the deciding view.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from tests.model.invoice import Invoice
from trueup.contract.schemas import STATES


def rank(ladder: Sequence[Any], invoices: list[Invoice], decline: str | None, tags: set[str], today: date) -> int:
    """The rank of the most severe step whose conditions all hold; 0 if none does, or if nothing is unpaid."""
    unpaid = [invoice for invoice in invoices if invoice.rung(today) > 0]
    if not unpaid:
        return 0
    matching = (STATES.index(step.state) for step in ladder if holds(step.when, unpaid, decline, tags, today))
    return max(matching, default=0)


def tags_of(account: dict[str, Any]) -> set[str]:
    columns = {"plan": "plan_code", "country": "country", "currency": "currency", "status": "status"}
    return {f"{name}:{account[column]}" for name, column in columns.items() if account[column] is not None}


def holds(when: Any, unpaid: list[Invoice], decline: str | None, tags: set[str], today: date) -> bool:
    return (
        (when.unpaid_count_gte is None or len(unpaid) >= when.unpaid_count_gte)
        and (when.balance_gte_minor is None or _is_balance_reached(when.balance_gte_minor, unpaid))
        and (when.age_days_gte is None or _age_of_oldest(unpaid, today) >= when.age_days_gte)
        and (when.tag_all is None or tags.issuperset(when.tag_all))
        and (when.tag_none is None or tags.isdisjoint(when.tag_none))
        and (when.last_decline_in is None or decline in when.last_decline_in)
    )


def _is_balance_reached(floors: dict[str, int], unpaid: list[Invoice]) -> bool:
    """In at least one of the currencies; currencies are never added."""
    balances: dict[str, int] = {}
    for invoice in unpaid:
        currency = invoice.row["currency"]
        balances[currency] = balances.get(currency, 0) + invoice.outstanding
    return any(balances.get(currency, 0) >= floor for currency, floor in floors.items())


def _age_of_oldest(unpaid: list[Invoice], today: date) -> int:
    """The age of the one with the earliest clock; a charged off invoice may have no clock, and then no age."""
    dated = [invoice for invoice in unpaid if invoice.clock_on(today) is not None]
    oldest = min(dated, key=lambda invoice: (str(invoice.clock_on(today)), invoice.object_id), default=None)
    age = oldest.age_days(today) if oldest is not None else None
    return -1 if age is None else age


def last_decline(invoices: list[Invoice]) -> str | None:
    """What decided the account's latest failed attempt, on any invoice."""
    failed = [attempt for invoice in invoices for attempt in invoice.attempts if attempt.status == "failed"]
    if not failed:
        return None
    latest = max(failed, key=lambda attempt: (attempt.at, attempt.charge_id))
    return latest.decisive_code or latest.row.get("decline_code")
