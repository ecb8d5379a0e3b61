"""The gate: whether a plan may be written. Closed, unless every condition holds.

Each condition is one small function from the facts to a refusal or nothing; a refusal is typed and carries its
numbers and the way out. The decision is pure: who signed, what the stores counted and what the clock says are facts
that `trueup/stores` gathers and passes in. A fact that is missing counts against the plan. Nothing here can open the
gate by itself, and there is no way to force it: a limit is changed where limits are set, and seen there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations
from typing import Final

import polars as pl

from trueup.contract.schemas import STORES
from trueup.correction import wellformed
from trueup.correction.changes import PLANNED
from trueup.correction.limits import ApproverLimits, Limits
from trueup.correction.ownership import OWNED, is_owned
from trueup.correction.plan import AHEAD_MAX, LIFE, Plan
from trueup.correction.refusals import (
    ApproverUnknown,
    HistoryTampered,
    KillSwitchOn,
    PlanExpired,
    PlanMalformed,
    PlanNotApproved,
    PlanNotOfNow,
    PlanSuperseded,
    PlanTampered,
    PlanTooLarge,
    Refusal,
    SignatureInvalid,
    SourceNotWhole,
    SourceShrank,
    TooManySuspensions,
    WriteNotOwned,
)


@dataclass(frozen=True)
class Approval:
    """An approval, as `trueup/stores/auditor/approvals.py` judged it."""

    approver: str
    is_known: bool
    is_signature_valid: bool
    is_policy_key: bool = False
    is_in_chain: bool = True  # the audit chain knows it
    identities: frozenset[str] = frozenset()  # the logins and services that its key belongs to
    limits: ApproverLimits = field(default_factory=ApproverLimits)

    @property
    def is_sound(self) -> bool:
        return self.is_known and self.is_signature_valid


@dataclass(frozen=True)
class CheckVerdict:
    """A blocking check of the plan's run."""

    check: str
    store: str
    has_passed: bool


@dataclass(frozen=True)
class GateFacts:
    """Everything else that the gate asks about. None means that nobody could say, and closes it."""

    plan_id: str  # the id it was asked for by
    now: datetime
    status: str
    is_stored_manifest_its_own: bool
    newer_plans: tuple[str, ...] | None  # ids of newer plans that cover an account of it
    verdicts: tuple[CheckVerdict, ...] | None
    rows_now: Mapping[str, int] | None  # table → rows that its run read
    rows_before: Mapping[str, int] | None  # the same, of the runs before it; empty: there is none
    is_kill_switch_on: bool | None
    kill_switch_reason: str = ""
    chain_faults: tuple[str, ...] = ()  # where the audit chain is broken, or does not know what the plan rests on
    policy_key_accounts: int | None = 0  # accounts that policy keys alone changed within the last hour


def check(plan: Plan, approvals: tuple[Approval, ...], limits: Limits, facts: GateFacts) -> None:
    """Return if every condition holds; else raise the gravest refusal, which carries the others."""
    found = refusals(plan, approvals, limits, facts)
    if found:
        found[0].others = tuple(found[1:])
        raise found[0]


def refusals(plan: Plan, approvals: tuple[Approval, ...], limits: Limits, facts: GateFacts) -> list[Refusal]:
    """Every refusal there is, the gravest first; none means that the gate is open."""
    case = _Case(plan, approvals, limits, facts)
    return [refusal for condition in CONDITIONS if (refusal := condition(case)) is not None]


@dataclass(frozen=True)
class _Case:
    plan: Plan
    approvals: tuple[Approval, ...]
    limits: Limits
    facts: GateFacts

    @property
    def sound(self) -> tuple[Approval, ...]:
        return tuple(approval for approval in self.approvals if approval.is_sound)


def must_be_open(
    plan: Plan,
    stored_id: str,
    status: str,
    now: datetime | None,
    *,
    is_row_its_own: bool,
    limits: Limits | None = None,
) -> None:
    """Raise unless a plan is whole and still waits for a decision: what holds whoever decides.

    Args:
        plan: as its stored content gives it.
        stored_id: the id it is stored under.
        status: how far it has come.
        now: left out where its age and instant do not matter, as for who turns it down.
        is_row_its_own: the stored row says what the content gives.
        limits: how old its instant may be; the narrowest if left out.
    """
    if plan.plan_id != stored_id or not is_row_its_own:
        raise _tampered(stored_id, plan.plan_id)
    if status not in OPEN:
        raise PlanNotApproved(
            f"plan {stored_id} is {status} already.", "Make a new plan with `trueup plan`.", status=status
        )
    if now is None:
        return
    facts = GateFacts(stored_id, now, status, is_row_its_own, (), None, None, None, is_kill_switch_on=False)
    case = _Case(plan, (), limits or Limits(), facts)
    for condition in (is_write_not_owned, is_malformed, is_not_of_now, is_expired):
        if (refusal := condition(case)) is not None:
            raise refusal


def must_count(plan: Plan, approval: Approval) -> None:
    """Raise PlanNotApproved if an approval can never count for the plan, whatever others there are."""
    if approval.is_policy_key or different_approvers(plan.maker, (approval,)):
        return
    raise too_few(plan, (approval,), 0, 1)


def is_stopped(case: _Case) -> Refusal | None:
    """The kill switch is on, or there is nothing to say that it is off."""
    is_on = case.facts.is_kill_switch_on
    if is_on is False:
        return None
    why = case.facts.kill_switch_reason if is_on else "trueup.kill_switch has no row"
    return KillSwitchOn(
        f"the kill switch is on ({why}); nothing is written while it is.",
        "Find out why with whoever turned it on, turn it off, and apply again.",
        reason=why,
    )


def _tampered(asked: str, found: str) -> Refusal:
    return PlanTampered(
        f"plan {asked} is not what it was: its content hashes to {found}, or its row was changed.",
        "Find out who wrote to trueup.plans or trueup.plan_changes; then make a new plan.",
        plan_id=asked,
        content_id=found,
    )


def is_tampered(case: _Case) -> Refusal | None:
    """The stored content hashes to another id, or the stored manifest is not the one its content gives."""
    asked, found = case.facts.plan_id, case.plan.plan_id
    return None if asked == found and case.facts.is_stored_manifest_its_own else _tampered(asked, found)


def is_history_tampered(case: _Case) -> Refusal | None:
    """The audit chain is broken, or does not know something that the plan rests on."""
    unknown = [f"the approval of {a.approver} is not in the audit log" for a in case.sound if not a.is_in_chain]
    found = [*case.facts.chain_faults, *unknown]
    if not found:
        return None
    return HistoryTampered(
        f"plan {case.plan.plan_id} rests on a history that does not hold: {wellformed.shown(found)}.",
        "Find out who wrote to schema trueup (`trueup verify-log`). Once it is understood, make a new plan.",
        faults=found,
    )


def is_malformed(case: _Case) -> Refusal | None:
    """A change is not one that `trueup plan` makes."""
    found = wellformed.faults(case.plan.changes)
    if not found:
        return None
    return PlanMalformed(
        f"plan {case.plan.plan_id} is not well-formed: {wellformed.shown(found)}.",
        "A plan that holds such a change was not made by `trueup plan`. Find out who made it; then make a new one.",
        faults=len(found),
    )


def is_not_of_now(case: _Case) -> Refusal | None:
    """Its instant lies after its reading or the present, or too long before its reading; or it is made in the future.

    How long is too long, the plan says as its maker's settings had it; ours and the pinned ones may say less.
    """
    plan, latest = case.plan, case.facts.now + AHEAD_MAX
    earliest = plan.read_at - timedelta(hours=case.limits.as_of_age_max_hours)
    if not plan.is_for_looking and earliest <= plan.as_of <= latest and plan.created_at <= latest:
        return None
    return PlanNotOfNow(
        f"plan {plan.plan_id} reasons as of {plan.as_of.isoformat()}, and its stores were read from "
        f"{plan.read_at.isoformat()} on: it is for looking only.",
        "Make a plan of now: `trueup plan` without --as-of.",
        as_of=plan.as_of.isoformat(),
        read_at=plan.read_at.isoformat(),
    )


def is_expired(case: _Case) -> Refusal | None:
    """Its life is over."""
    plan, now = case.plan, case.facts.now
    expires_at = min(plan.expires_at, plan.created_at + LIFE)  # its maker may have given it a longer one
    if now < expires_at:
        return None
    hours = (now - plan.created_at).total_seconds() / 3600
    life = (expires_at - plan.created_at).total_seconds() / 3600
    return PlanExpired(
        f"plan {plan.plan_id} is {hours:.1f} h old and holds for {life:.0f} h.",
        "Make a new plan with `trueup plan`, and have that one approved.",
        age_hours=round(hours, 1),
        life_hours=life,
        expires_at=expires_at.isoformat(),
    )


def is_superseded(case: _Case) -> Refusal | None:
    """A newer plan covers an account of it, or nobody could say whether one does."""
    newer = case.facts.newer_plans
    if newer is not None and not newer:
        return None
    count = "an unknown number of" if newer is None else str(len(newer))
    latest = newer[-1] if newer else "unknown"
    return PlanSuperseded(
        f"{count} newer plan(s) cover accounts of plan {case.plan.plan_id}; the latest is {latest}.",
        "Look at the newer one with `trueup show`, and approve that.",
        newer_plans=list(newer or ()),
    )


def is_not_approved(case: _Case) -> Refusal | None:
    """Turned down, or approved by too few: by nobody, its maker alone, or policy keys that may not approve this one."""
    plan, status = case.plan, case.facts.status
    if status not in OPEN or not case.approvals:
        return PlanNotApproved(
            f"plan {plan.plan_id} is {status}, with {len(case.approvals)} approval(s).",
            f"Have a person look at it (`trueup show {plan.plan_id}`) and sign it: `trueup approve PLAN --key F`.",
            status=status,
            approvals=len(case.approvals),
        )
    if not case.sound:
        return None  # ApproverUnknown and SignatureInvalid say more
    persons = tuple(approval for approval in case.sound if not approval.is_policy_key)
    needed = case.limits.needed_for(plan.blast_radius.accounts_changed)
    counted = different_approvers(plan.maker, persons)
    if counted >= needed:
        return None
    if not persons and not case.limits.is_above_one_key(plan.blast_radius.accounts_changed):
        return _policy_key_refusal(case)
    if counted < needed and _policy_keys_fill(case, counted, needed):
        return None
    return too_few(plan, persons, counted, needed)


def different_approvers(maker: str, persons: tuple[Approval, ...]) -> int:
    """How many approvals count: of keys with identities, no two of which share one, and none of which is the maker."""
    by_name = {
        approval.approver: approval for approval in persons if approval.identities and maker not in approval.identities
    }
    able = list(by_name.values())
    for size in range(len(able), 1, -1):
        if any(_are_disjoint(group) for group in combinations(able, size)):
            return size
    return min(len(able), 1)


def _are_disjoint(group: tuple[Approval, ...]) -> bool:
    return len(frozenset().union(*(a.identities for a in group))) == sum(len(a.identities) for a in group)


def _policy_keys_fill(case: _Case, counted: int, needed: int) -> bool:
    """Policy keys make up for persons where they may approve the plan at all."""
    keys = {approval.approver for approval in case.sound if approval.is_policy_key}
    is_small = not case.limits.is_above_one_key(case.plan.blast_radius.accounts_changed)
    return bool(keys) and is_small and counted + len(keys) >= needed and _policy_key_refusal(case) is None


def too_few(plan: Plan, persons: tuple[Approval, ...], counted: int, needed: int) -> Refusal:
    """The refusal for want of approvals that count, with the reason of each that does not."""
    own = sorted(a.approver for a in persons if plan.maker in a.identities)
    without = sorted(a.approver for a in persons if not a.identities)
    why = [
        *([f"{', '.join(own)} made it (as {plan.maker})"] if own else []),
        *([f"{', '.join(without)} has no identity in the approvers' file"] if without else []),
    ]
    return PlanNotApproved(
        f"{counted} of {needed} approval(s) of different keys and identities count for plan {plan.plan_id}"
        + (f": {'; '.join(why)}." if why else "."),
        "Have another person sign it: `trueup approve PLAN --key F`. A key's identities are in the approvers' file.",
        counted=counted,
        needed=needed,
        maker=plan.maker,
    )


def _policy_key_refusal(case: _Case) -> Refusal | None:
    limits, blast = case.limits, case.plan.blast_radius
    way_out = "Have a person approve it: `trueup approve PLAN --key F`."
    if not limits.is_policy_key_allowed:
        return PlanNotApproved(
            "only a policy key approved it, and policy keys are off.",
            way_out + " Policy keys are turned on with TRUEUP_POLICY_KEY_ALLOWED.",
            is_policy_key_allowed=False,
        )
    if case.facts.policy_key_accounts is None or (
        case.facts.policy_key_accounts + blast.accounts_changed > limits.policy_key_max_accounts_per_hour
    ):
        return PlanNotApproved(
            f"only a policy key approved it; policy keys changed {case.facts.policy_key_accounts} accounts within the "
            f"last hour, and with the {blast.accounts_changed} of this plan that is more than "
            f"{limits.policy_key_max_accounts_per_hour}.",
            way_out,
            accounts=blast.accounts_changed,
            accounts_within_an_hour=case.facts.policy_key_accounts,
            max_accounts_per_hour=limits.policy_key_max_accounts_per_hour,
        )
    takes_access = blast.losing_access + blast.newly_suspended + blast.newly_bad_debt
    small = blast.accounts_changed <= limits.policy_key_max_accounts and blast.share <= limits.policy_key_max_share
    if small and not takes_access:
        return None
    return PlanNotApproved(
        f"only a policy key approved it, and it changes {blast.accounts_changed} accounts ({blast.share:.2%}), "
        f"{blast.newly_suspended} newly suspended, {blast.newly_bad_debt} newly bad debt; a policy key may approve up "
        f"to {limits.policy_key_max_accounts} accounts and {limits.policy_key_max_share:.2%}, suspending nobody.",
        way_out,
        accounts=blast.accounts_changed,
        share=blast.share,
        newly_suspended=blast.newly_suspended,
        newly_bad_debt=blast.newly_bad_debt,
    )


def is_approver_unknown(case: _Case) -> Refusal | None:
    """Every key under it is one that the approvers' file does not list."""
    unlisted = [a.approver for a in case.approvals if not a.is_known]
    if not unlisted or len(unlisted) < len(case.approvals):
        return None
    return ApproverUnknown(
        f"{', '.join(unlisted)}: the key that signed is not in the approvers' file.",
        "Have someone in the approvers' file approve it, or have the key enrolled by whoever keeps that file.",
        approvers=unlisted,
    )


def is_signature_invalid(case: _Case) -> Refusal | None:
    """Someone known signed something else, and nobody signed this."""
    forged = [a.approver for a in case.approvals if a.is_known and not a.is_signature_valid]
    if not forged or case.sound:
        return None
    return SignatureInvalid(
        f"the signature of {', '.join(forged)} is not one of plan {case.plan.plan_id} and its manifest.",
        "Have it approved again: `trueup approve PLAN --key F`. If nobody re-made the plan, find out who changed it.",
        approvers=forged,
    )


def is_write_not_owned(case: _Case) -> Refusal | None:
    """A change outside the ownership table of docs/contract/STORES.md, or an insert where we may only update."""
    changes = case.plan.changes
    foreign = changes.filter(
        ~(pl.col("store") + "." + pl.col("table") + "." + pl.col("column")).is_in(sorted(WRITABLE))
        | (pl.col("row_version").is_null() & ~pl.col("table").is_in(_MAY_INSERT))
    )
    if foreign.is_empty():
        return None
    named = sorted({f"{table}.{column}" for table, column in foreign.select("table", "column").iter_rows()})
    return WriteNotOwned(
        f"{foreign.height} change(s) would write what is not ours: {', '.join(named[:10])}.",
        "The owner of those columns must correct them. A plan that holds such a change was not made by `trueup plan`.",
        changes=foreign.height,
        columns=named,
    )


def is_too_large(case: _Case) -> Refusal | None:
    """More accounts than every sound approver may approve, by share or by count."""
    blast = case.plan.blast_radius
    return _beyond_all(case, lambda limits: _too_large(blast.accounts_changed, blast.share, limits))


def _too_large(accounts: int, share: float, limits: Limits) -> Refusal | None:
    if accounts <= limits.max_accounts and (share <= limits.max_share or accounts <= limits.small_plan_accounts):
        return None
    return PlanTooLarge(
        f"it changes {accounts} accounts, {share:.2%} of the fleet; the limits are {limits.max_accounts} accounts and "
        f"{limits.max_share:.2%}.",
        "Ask first why so much changes at once. Then plan in parts (`trueup plan --bucket N`), or raise "
        "TRUEUP_PLAN_MAX_ACCOUNTS or TRUEUP_PLAN_MAX_SHARE for good.",
        accounts=accounts,
        share=share,
        max_accounts=limits.max_accounts,
        max_share=limits.max_share,
    )


def has_too_many_suspensions(case: _Case) -> Refusal | None:
    """Access is taken from more accounts than every sound approver may approve, by share or by count."""
    losing, fleet = case.plan.blast_radius.losing_access, case.plan.fleet_accounts
    return _beyond_all(case, lambda limits: _too_many(losing, fleet, limits))


def _too_many(losing: int, fleet: int, limits: Limits) -> Refusal | None:
    share = losing / fleet if fleet > 0 else float(losing > 0)
    if losing <= limits.max_suspensions and (
        share <= limits.max_suspensions_share or losing <= limits.small_plan_accounts
    ):
        return None
    return TooManySuspensions(
        f"it takes access from {losing} accounts, {share:.2%} of the fleet; the limits are {limits.max_suspensions} "
        f"accounts and {limits.max_suspensions_share:.2%}.",
        "Ask first why so many. Then plan in parts (`trueup plan --bucket N`), or raise TRUEUP_PLAN_MAX_SUSPENSIONS or "
        "TRUEUP_PLAN_MAX_SUSPENSIONS_SHARE for good.",
        losing_access=losing,
        share=share,
        max_suspensions=limits.max_suspensions,
        max_suspensions_share=limits.max_suspensions_share,
    )


def _beyond_all(case: _Case, judge: Callable[[Limits], Refusal | None]) -> Refusal | None:
    """The refusal that holds under the limits of every approver who counts; one whose limits allow it is enough."""
    persons = [a for a in case.sound if not a.is_policy_key and different_approvers(case.plan.maker, (a,))]
    counting = persons or [approval for approval in case.sound if approval.is_policy_key]
    verdicts = [judge(case.limits.within(approval.limits)) for approval in counting] or [judge(case.limits)]
    return None if None in verdicts else verdicts[0]


def is_source_not_whole(case: _Case) -> Refusal | None:
    """A blocking check failed, or a store has none, or none of its rows was counted."""
    verdicts, counted = case.facts.verdicts or (), case.facts.rows_now or {}
    failed = sorted(f"{v.check} of {v.store}" for v in verdicts if not v.has_passed)
    unchecked = sorted(set(STORES) - {v.store for v in verdicts})
    uncounted = ["every store"] if not counted else []
    if not (failed or unchecked or uncounted):
        return None
    problems = [
        *([f"failed: {', '.join(failed)}"] if failed else []),
        *([f"no blocking check of {', '.join(unchecked)}"] if unchecked else []),
        *(["no row counts"] if uncounted else []),
    ]
    return SourceNotWhole(
        f"run {case.plan.run_id} did not read every store whole: {'; '.join(problems)}.",
        "Mend the store (`trueup doctor`), audit again, and plan from that.",
        failed=failed,
        missing=unchecked,
    )


def has_source_shrunk(case: _Case) -> Refusal | None:
    """A table lost more rows since the runs before than both the share and the count allow."""
    now, before, limits = case.facts.rows_now, case.facts.rows_before, case.limits
    if before is None:
        return SourceShrank(
            "nothing says how many rows the runs before it read.", "Audit again, and plan from that.", tables={}
        )
    shrunk = {
        table: {"before": rows, "now": (now or {}).get(table, 0)}
        for table, rows in sorted(before.items())
        if _is_far_fewer(rows, (now or {}).get(table, 0), limits)
    }
    if not shrunk:
        return None
    tables = ", ".join(f"{table} {n['before']} → {n['now']}" for table, n in shrunk.items())
    return SourceShrank(
        f"fewer rows than last time: {tables}; more than {limits.max_shrink_share:.0%} are gone.",
        "Find out whether the store lost rows or the reading did. Once a few audits in a row agree on the new size, "
        "it becomes the measure; or raise TRUEUP_SOURCE_MAX_SHRINK_SHARE.",
        tables=shrunk,
    )


def _is_far_fewer(before: int, now: int, limits: Limits) -> bool:
    """Far fewer by share; a small table must also have lost everything, or more rows than the count."""
    lost = before - now
    by_share = lost > before * limits.max_shrink_share
    return by_share and (lost > limits.max_shrink_rows or now == 0)


OPEN: Final = ("proposed", "approved", "applying")
"""Statuses of a plan that still waits for something.

A status opens nothing; it can only say that a plan is done with.
"""

CONDITIONS: Final = (
    is_stopped,
    is_tampered,
    is_history_tampered,
    is_write_not_owned,
    is_malformed,
    is_not_of_now,
    is_expired,
    is_superseded,
    is_not_approved,
    is_approver_unknown,
    is_signature_invalid,
    is_source_not_whole,
    has_source_shrunk,
    is_too_large,
    has_too_many_suspensions,
)
"""Every condition, the gravest refusal first."""

WRITABLE: Final = frozenset(
    f"{OWNED[table].store}.{table}.{column}"
    for table, columns in PLANNED.items()
    for column in columns
    if is_owned(table, column)
)
"""store.table.column of everything that a plan may change: ours by the ownership table, and needed by a correction."""

_MAY_INSERT: Final = [table for table, owned in OWNED.items() if owned.may_insert]
