"""The rules, told: for one invoice and one account, each rule of the engine in order, what it looked at, what it said.

Every value is the engine's own, from the frames that it leaves; nothing is decided again here. Where a rule has
branches, the words say which one the values took, and if the words and the engine should ever differ, the engine is
right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from trueup.contract.schemas import STATES
from trueup.engine.policy import Policy

Row = Mapping[str, Any]

NOT_OWED: Final = ("draft", "void")
FORGIVEN: Final = ("user_forgiven", "subscription_paused")
UNSTARTED: Final = ("incomplete", "incomplete_expired")
ENDED: Final = ("canceled", "incomplete_expired")


@dataclass(frozen=True)
class Rule:
    """One rule: its place, its question, what it looked at, and its answer."""

    number: int
    question: str
    looked_at: str
    answer: str


def rules_of_invoice(
    invoice: Row, attempts: Sequence[Row], hold_intervals: Sequence[Row], policy: Policy
) -> list[Rule]:
    """Rules 1 to 10 for one invoice of one view; what is not owed is asked no further."""
    asked = [
        Rule(
            1,
            "What is its status at this instant?",
            _said(invoice, "finalized_at", "due_at", "uncollectible_at"),
            invoice["status"],
        ),
        _outstanding(invoice),
        _owed(invoice, policy),
    ]
    if invoice["is_owed"]:
        asked += [
            _attempted(invoice, attempts),
            _clock(invoice, policy),
            _age(invoice, hold_intervals),
            _payment_method(invoice),
            _retryable(invoice),
            _cycles(invoice, policy),
        ]
    return [*asked, _rung(invoice, policy)]


def _outstanding(invoice: Row) -> Rule:
    looked_at = _said(invoice, "amount_due", "base", "reversal", "paid", "refunded", "lost", "credited", "reversal_at")
    return Rule(2, "How much is outstanding?", looked_at, _money(invoice["outstanding"], invoice["currency"]))


def _owed(invoice: Row, policy: Policy) -> Rule:
    looked_at = _said(invoice, "status", "uncollectible_reason", "billing_reason", "subscription_status", "livemode")
    if invoice["is_owed"]:
        return Rule(3, "Is it owed?", looked_at, "yes, charged off" if invoice["is_charged_off"] else "yes")
    return Rule(3, "Is it owed?", looked_at, f"no: {_why_not_owed(invoice, policy)}")


def _why_not_owed(invoice: Row, policy: Policy) -> str:
    """The first of the rule's reasons that holds."""
    status, subscription = invoice["status"], invoice["subscription_status"]
    is_other_mode = invoice["livemode"] is not None and invoice["livemode"] != policy.livemode
    reasons = {
        f"a {status} invoice is not owed": status in NOT_OWED,
        "it is paid, and nothing was given back that counts": status == "paid" and not invoice["reversal"],
        f"it was let go ({invoice['uncollectible_reason']})": status == "uncollectible"
        and invoice["uncollectible_reason"] in FORGIVEN,
        "it is the first invoice of a subscription that never started": subscription in UNSTARTED
        and invoice["billing_reason"] == "subscription_create",
        "it is of the other mode": is_other_mode,
        "its subscription has ended, and the policy leaves those out": subscription in ENDED
        and policy.ended_subscription == "exclude",
        f"what is outstanding ({invoice['outstanding']}) is within the tolerance": True,
    }
    return next(words for words, holds in reasons.items() if holds)


def _attempted(invoice: Row, attempts: Sequence[Row]) -> Rule:
    told = "; ".join(
        f"{short(a['attempted_at'])} {a['status']} ({a['trigger']}"
        + (f", {a['decline_class']}" if a["decline_class"] else "")
        + (f": {a['deciding_code']}" if a["deciding_code"] else "")
        + ")"
        for a in sorted(attempts, key=lambda a: a["attempted_at"])
    )
    return Rule(
        4, "How often did an attempt fail that counts?", told or "no attempt was made", str(invoice["failed_count"])
    )


def _clock(invoice: Row, policy: Policy) -> Rule:
    if invoice["is_reopened"]:
        looked_at, why = _said(invoice, "reversal_on"), "the day the money went back"
    elif invoice["collection_method"] == "send_invoice":
        looked_at, why = _said(invoice, "due_on"), "its due day, which itself is not late"
    else:
        looked_at = _said(invoice, "first_failure_on", "finalized_on") + f", no_attempt_days {policy.no_attempt_days}"
        why = "the first counted failure, or the day by which one should have been made"
    if invoice["clock_on"] is None:
        return Rule(5, "When does its clock start?", looked_at, "it has none")
    late = "late" if invoice["is_late"] else "not late yet"
    return Rule(5, "When does its clock start?", looked_at, f"{invoice['clock_on']} ({why}); {late}")


def _age(invoice: Row, hold_intervals: Sequence[Row]) -> Rule:
    held = "; ".join(f"{s['kind']} from {s['start_on']} to {s['end_on']}" for s in hold_intervals) or "nothing holds it"
    looked_at = f"today {invoice['today']} ({invoice['timezone']}), {held}"
    if invoice["age_days"] is None:
        return Rule(6, "How old is the debt?", looked_at, "it has no age: its clock does not run")
    return Rule(
        6, "How old is the debt?", looked_at, f"{invoice['age_days']} days, {invoice['held_days']} more were held"
    )


def _payment_method(invoice: Row) -> Rule:
    looked_at = _said(
        invoice, "payment_method_id", "payment_method_type", "expiry_on", "needs_mandate", "is_mandate_active"
    )
    if invoice["payment_method_id"] is None:
        answer = "there is none"
    elif invoice["is_unusable_hard_now"] or invoice["is_unusable_customer_action_now"]:
        answer = "dead: " + ("by a hard decline" if invoice["is_unusable_hard_now"] else "the customer has to act")
    else:
        answer = "alive"
    return Rule(7, "Is its payment method alive?", looked_at, answer)


def _retryable(invoice: Row) -> Rule:
    looked_at = _said(
        invoice, "status", "collection_method", "subscription_status", "auto_advance", "is_mandate_active"
    )
    return Rule(8, "Can the machine try again?", looked_at, _yes(invoice["is_retryable"]))


def _cycles(invoice: Row, policy: Policy) -> Rule:
    offsets = ", ".join(str(days) for days in policy.cumulative_offsets_days)
    facts = _said(invoice, "failed_count", "age_days", "instrument_on")
    looked_at = f"{facts}; retries are due {offsets} days after the first attempt"
    used = f"{invoice['cycles_used']} of {policy.attempts_allowed} cycles are used"
    return Rule(9, "Are its retries exhausted?", looked_at, f"{_yes(invoice['is_exhausted'])}: {used}")


def _rung(invoice: Row, policy: Policy) -> Rule:
    looked_at = _said(invoice, "is_owed", "is_charged_off", "is_late", "age_days", "is_exhausted", "is_retryable")
    return Rule(10, "How severe is it?", looked_at, f"{STATES[invoice['rung'] or 0]}: {_why_rung(invoice, policy)}")


def _why_rung(invoice: Row, policy: Policy) -> str:
    """Which line of the rungs decided."""
    if policy.ladder is not None:
        return "by the policy's ladder"
    state, days = STATES[invoice["rung"] or 0], invoice["age_days"]
    left = policy.attempts_allowed - (invoice["cycles_used"] or 0)
    at_once = "its payment method is dead by a hard decline, and the policy suspends at once"
    words = {
        "good_standing": "not late" if invoice["is_owed"] else "not owed",
        "grace": f"{days} days old, younger than the grace of {policy.grace_days}",
        "retrying": f"it can be tried again, and {left} attempts remain",
        "final_notice": "; ".join(_reasons_for_notice(invoice, left, policy)),
        "suspended": f"exhausted, and {days} days old (suspended from {policy.suspend_min_days})"
        if invoice["is_exhausted"]
        else at_once,
        "bad_debt": "charged off"
        if invoice["is_charged_off"]
        else f"exhausted, and {days} days old (bad debt from {policy.bad_debt_days})",
    }
    return words[state]


def _reasons_for_notice(invoice: Row, left: int, policy: Policy) -> list[str]:
    held = {
        "exhausted, and not to be suspended yet": invoice["is_exhausted"],
        "it cannot be retried": not invoice["is_retryable"],
        f"{max(left, 0)} attempt(s) remain": left <= policy.final_attempts_left,
        f"{invoice['age_days']} days old (notice from {policy.final_notice_days})": (invoice["age_days"] or 0)
        >= policy.final_notice_days,
    }
    return [words for words, holds in held.items() if holds]


def rules_of_account(answer: Row, account: Row, late: Sequence[Row], policy: Policy) -> list[Rule]:
    """Rules 1 to 5 for the account: from its invoices' rungs to its answer."""
    return [
        Rule(1, "How much is past due in each currency?", _thresholds(late, policy), _sums(late, policy)),
        Rule(
            2,
            "Which invoice decides?",
            "the highest rung, then the earliest clock, then the smallest id",
            f"{answer['driver_invoice_id']}" if answer["driver_invoice_id"] else "none",
        ),
        Rule(3, "Is it a child of another account?", _said(account, "parent_account_id"), _child(account)),
        Rule(4, "Is it exempt from dunning?", _said(account, "dunning_exempt"), _yes(account["is_exempt"])),
        Rule(
            5,
            "Can it be told for sure?",
            _said(account, "has_no_mapping", "has_several_customers", "has_shared_customer"),
            f"{answer['quality']}"
            + (f" ({', '.join(answer['reasons'])})" if answer["quality"] != "determinate" else ""),
        ),
    ]


def _child(account: Row) -> str:
    if account["parent_account_id"] is None:
        return "no"
    return (
        "yes: it takes its parent's result"
        if account["has_parent_resolved"]
        else "yes, and its parent cannot be resolved"
    )


def _thresholds(late: Sequence[Row], policy: Policy) -> str:
    currencies = sorted({invoice["currency"] for invoice in late})
    told = ", ".join(f"{currency} {policy.threshold_minor.get(currency, 0)}" for currency in currencies)
    return f"{len(late)} late invoice(s); thresholds: {told or 'none asked'}"


def _sums(late: Sequence[Row], policy: Policy) -> str:
    totals: dict[str, int] = {}
    for invoice in late:
        totals[invoice["currency"]] = totals.get(invoice["currency"], 0) + invoice["outstanding"]
    told = [
        _money(total, currency) + ("" if total >= policy.threshold_minor.get(currency, 0) else " (below its threshold)")
        for currency, total in sorted(totals.items())
    ]
    return ", ".join(told) or "nothing"


def _said(row: Row, *names: str) -> str:
    """The values that a rule looked at, those that there are."""
    return ", ".join(f"{name} {short(row[name])}" for name in names if row.get(name) is not None) or "nothing"


def short(value: Any) -> str:  # noqa: ANN401 -- any value of a frame
    """A value as people write it."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%MZ")
    if isinstance(value, bool):
        return _yes(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def _money(amount: int | None, currency: str | None) -> str:
    """Minor units, as they are: how many make a unit belongs to the currency."""
    return f"{amount or 0:,} {currency} (minor units)"


def _yes(holds: bool | None) -> str:  # noqa: FBT001 -- a word for a flag
    return "cannot tell" if holds is None else "yes" if holds else "no"
