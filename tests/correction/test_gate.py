"""The gate: closed unless every condition holds; one story for each refusal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from tests.stores.apply.planting import AS_OF, change, changes_of, cleared, flagged, plan_of, suspended
from trueup.contract.schemas import STORES
from trueup.correction import gate
from trueup.correction.gate import Approval, CheckVerdict, GateFacts, check, refusals
from trueup.correction.limits import ApproverLimits, Limits
from trueup.correction.plan import Plan
from trueup.correction.refusals import PlanTooLarge, Refusal

ADA = Approval("ada", is_known=True, is_signature_valid=True, identities=frozenset({"ada@work"}))
ROBOT = Approval("robot", is_known=True, is_signature_valid=True, is_policy_key=True)
LIMITS = Limits(small_plan_accounts=0)
WITH_POLICY_KEY = replace(LIMITS, is_policy_key_allowed=True)


def plan(*rows: list[dict[str, Any]], **more: Any) -> Plan:
    return plan_of(changes_of(*(rows or (cleared("a0"),))), created_at=AS_OF, **more)


def facts(of: Plan, **more: Any) -> GateFacts:
    whole = GateFacts(
        plan_id=of.plan_id,
        now=AS_OF + timedelta(hours=1),
        status="approved",
        is_stored_manifest_its_own=True,
        newer_plans=(),
        verdicts=tuple(CheckVerdict("read_whole", store, has_passed=True) for store in STORES),
        rows_now={"stripe.stripe_invoices": 100},
        rows_before={"stripe.stripe_invoices": 100},
        is_kill_switch_on=False,
    )
    return replace(whole, **more)


def refused(of: Plan, approvals: tuple[Approval, ...] = (ADA,), limits: Limits = LIMITS, **more: Any) -> list[str]:
    return [refusal.name for refusal in refusals(of, approvals, limits, facts(of, **more))]


def test_the_gate_is_open_when_every_condition_holds() -> None:
    check(plan(), (ADA,), LIMITS, facts(plan()))


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("KillSwitchOn", {"is_kill_switch_on": True}),
        ("KillSwitchOn", {"is_kill_switch_on": None}),
        ("PlanTampered", {"plan_id": "another"}),
        ("PlanTampered", {"is_stored_manifest_its_own": False}),
        ("PlanExpired", {"now": AS_OF + timedelta(hours=24)}),
        ("PlanSuperseded", {"newer_plans": ("newer",)}),
        ("PlanSuperseded", {"newer_plans": None}),
        ("PlanNotApproved", {"status": "applied"}),
        ("HistoryTampered", {"chain_faults": ("entry 7 was changed",)}),
        ("PlanNotApproved", {"status": "rejected"}),
        ("SourceNotWhole", {"verdicts": None}),
        ("SourceNotWhole", {"verdicts": ()}),
        ("SourceNotWhole", {"verdicts": tuple(CheckVerdict("w", s, has_passed=s != "stripe") for s in STORES)}),
        ("SourceNotWhole", {"verdicts": tuple(CheckVerdict("w", s, has_passed=True) for s in STORES[1:])}),
        ("SourceShrank", {"rows_before": None}),
        ("SourceShrank", {"rows_now": {"stripe.stripe_invoices": 79}}),
        ("SourceShrank", {"rows_now": {"another": 1}}),
    ],
)
def test_each_fact_that_is_wrong_or_missing_closes_it(name: str, more: dict[str, Any]) -> None:
    assert refused(plan(), **more) == [name]


@pytest.mark.parametrize(
    ("name", "approvals"),
    [
        ("PlanNotApproved", ()),
        ("PlanNotApproved", (ROBOT,)),
        ("ApproverUnknown", (replace(ADA, is_known=False, is_signature_valid=False),)),
        ("SignatureInvalid", (replace(ADA, is_signature_valid=False),)),
        ("SignatureInvalid", (replace(ADA, is_known=False), replace(ADA, is_signature_valid=False))),
    ],
)
def test_each_approval_that_is_worth_nothing_closes_it(name: str, approvals: tuple[Approval, ...]) -> None:
    assert refused(plan(), approvals) == [name]


def test_one_sound_approval_is_enough_beside_others() -> None:
    assert refused(plan(), (replace(ADA, is_signature_valid=False), ADA)) == []


def test_a_status_opens_nothing_and_closes_nothing_that_waits() -> None:
    assert refused(plan(), status="proposed") == []
    assert refused(plan(), (), status="approved") == ["PlanNotApproved"]


def test_an_approval_that_the_audit_log_does_not_know_closes_it() -> None:
    assert refused(plan(), (replace(ADA, is_in_chain=False),)) == ["HistoryTampered"]


BOB = replace(ADA, approver="bob", identities=frozenset({"bob@work"}))


@pytest.mark.parametrize(
    ("approvals", "needed", "is_open"),
    [
        ((ADA,), 1, True),
        ((replace(ADA, identities=frozenset()),), 1, False),  # a key without identities approves nothing
        ((replace(ADA, identities=frozenset({"ada@work", "maker"})),), 1, False),  # who made it approves nothing
        ((ADA,), 2, False),
        ((ADA, ADA), 2, False),  # the same key twice
        ((ADA, replace(BOB, identities=frozenset({"ada@work"}))), 2, False),  # two keys of one person
        ((ADA, BOB), 2, True),
        ((ADA, BOB), 3, False),
    ],
)
def test_approvals_count_by_different_keys_and_identities_and_never_the_makers(
    approvals: tuple[Approval, ...],
    needed: int,
    is_open: bool,  # noqa: FBT001
) -> None:
    of = plan(maker="maker")

    assert refused(of, approvals, replace(LIMITS, approvals_needed=needed)) == ([] if is_open else ["PlanNotApproved"])


def test_above_a_size_two_persons_are_needed_and_a_policy_key_counts_for_nothing() -> None:
    large = plan(cleared("a0"), cleared("a1"))
    limits = replace(WITH_POLICY_KEY, two_keys_above_accounts=1)

    assert refused(large, (ROBOT,), limits) == refused(large, (ADA,), limits) == ["PlanNotApproved"]
    assert refused(large, (ADA, ROBOT), limits) == ["PlanNotApproved"]
    assert refused(large, (ADA, BOB), limits) == []
    assert refused(plan(), (ROBOT,), limits) == []


def test_policy_keys_together_change_so_many_accounts_an_hour() -> None:
    limits = replace(WITH_POLICY_KEY, policy_key_max_accounts_per_hour=10)

    assert refused(plan(), (ROBOT,), limits, policy_key_accounts=9) == []
    assert refused(plan(), (ROBOT,), limits, policy_key_accounts=10) == ["PlanNotApproved"]
    assert refused(plan(), (ROBOT,), limits, policy_key_accounts=None) == ["PlanNotApproved"]
    assert refused(plan(), (ADA,), limits, policy_key_accounts=10) == []


@pytest.mark.parametrize(
    ("as_of", "is_refused"),
    [
        (timedelta(), False),
        (timedelta(seconds=300), False),
        (timedelta(seconds=301), True),
        (-timedelta(hours=1), False),
        (-timedelta(hours=1, seconds=1), True),
    ],
)
def test_a_plan_of_another_instant_than_its_reading_is_for_looking_only(as_of: timedelta, is_refused: bool) -> None:  # noqa: FBT001
    of = plan(as_of=AS_OF + as_of)

    assert of.is_for_looking is is_refused
    assert refused(of) == (["PlanNotOfNow"] if is_refused else [])


def test_a_plan_whose_stores_say_they_were_read_in_the_future_is_not_of_now() -> None:
    later = AS_OF + timedelta(days=60)

    assert refused(plan(as_of=later, snapshot=dict.fromkeys(STORES, later))) == ["PlanNotOfNow"]


def test_nothing_at_all_known_closes_it_for_every_reason() -> None:
    of = plan()
    unknown = dict.fromkeys(("newer_plans", "verdicts", "rows_now", "rows_before", "is_kill_switch_on"))
    nothing = replace(facts(of), status="", **unknown)

    names = [refusal.name for refusal in refusals(of, (), LIMITS, nothing)]

    assert names == ["KillSwitchOn", "PlanSuperseded", "PlanNotApproved", "SourceNotWhole", "SourceShrank"]


@pytest.mark.parametrize(
    ("limits", "is_refused"),
    [
        ({"max_accounts": 2, "max_share": 1.0}, False),
        ({"max_accounts": 1, "max_share": 1.0}, True),  # by count
        ({"max_accounts": 100, "max_share": 0.002}, False),
        ({"max_accounts": 100, "max_share": 0.0019}, True),  # by share
        ({"max_accounts": 100, "max_share": 0.0, "small_plan_accounts": 2}, False),  # a handful
        ({"max_accounts": 1, "max_share": 0.0, "small_plan_accounts": 2}, True),  # the count binds a handful too
    ],
)
def test_a_plan_keeps_below_both_the_share_and_the_count(limits: dict[str, Any], is_refused: bool) -> None:  # noqa: FBT001
    names = refused(plan(cleared("a0"), cleared("a1")), limits=replace(LIMITS, **limits))

    assert names == (["PlanTooLarge"] if is_refused else [])


@pytest.mark.parametrize(
    ("limits", "is_refused"),
    [
        ({"max_suspensions": 2, "max_suspensions_share": 1.0}, False),
        ({"max_suspensions": 1, "max_suspensions_share": 1.0}, True),
        ({"max_suspensions": 100, "max_suspensions_share": 0.001}, True),
    ],
)
def test_access_is_taken_below_both_the_share_and_the_count(limits: dict[str, Any], is_refused: bool) -> None:  # noqa: FBT001
    names = refused(plan(suspended("a0"), suspended("a1"), cleared("a2")), limits=replace(LIMITS, **limits))

    assert names == (["TooManySuspensions"] if is_refused else [])


def test_an_empty_fleet_makes_every_share_the_whole() -> None:
    assert refused(plan(fleet_accounts=0)) == ["PlanTooLarge"]


def test_an_approvers_own_limits_tighten_and_never_widen() -> None:
    small = replace(ADA, limits=ApproverLimits(max_accounts=0))
    large = replace(ADA, limits=ApproverLimits(max_accounts=10**9, max_share=1.0))

    assert refused(plan(), (small,)) == ["PlanTooLarge"]
    assert refused(plan(), (small, ADA)) == []
    assert refused(plan(), (large,), replace(LIMITS, max_accounts=0)) == ["PlanTooLarge"]


def test_a_policy_key_approves_small_plans_that_take_access_from_nobody_where_it_is_allowed() -> None:
    assert refused(plan(), (ROBOT,), WITH_POLICY_KEY) == []
    assert refused(plan(), (ROBOT,), replace(WITH_POLICY_KEY, policy_key_max_accounts=0)) == ["PlanNotApproved"]
    assert refused(plan(), (ROBOT,), replace(WITH_POLICY_KEY, policy_key_max_share=0.0)) == ["PlanNotApproved"]
    assert refused(plan(suspended("a0")), (ROBOT,), WITH_POLICY_KEY) == ["PlanNotApproved"]
    assert refused(plan(flagged("a0")), (ROBOT,), WITH_POLICY_KEY) == ["PlanNotApproved"]


@pytest.mark.parametrize(
    "row",
    [
        change("a0", "subs_dunning", "final_notice_sent_at", None, "2026-11-20T00:00:00Z", 1),
        change("a0", "subs_dunning", "version", 1, 2, 1),
        change("a0", "subs_account", "dunning_exempt", before=False, after=True, version=1),
        change("a0", "subs_account", "bad_debt", before=None, after=True, version=None),  # we may not insert there
        change("a0", "subs_mandate", "type", "card", "sepa_debit", 1),
        change("a0", "accounts", "status", "active", "closed", 1),
        change("a0", "subs_dunning", "state", "grace", "retrying", 1) | {"store": "cf_prod"},
    ],
)
def test_a_column_outside_the_ownership_table_is_refused(row: dict[str, Any]) -> None:
    assert refused(plan([row]))[0] == "WriteNotOwned"


@pytest.mark.parametrize(
    ("before", "now", "is_refused"),
    [(100, 80, False), (100, 79, True), (10, 1, False), (10, 0, True), (0, 0, False)],
)
def test_a_store_shrank_if_share_and_count_say_so_or_nothing_is_left(
    before: int,
    now: int,
    is_refused: bool,  # noqa: FBT001
) -> None:
    names = refused(plan(), rows_before={"t": before}, rows_now={"t": now, "u": 1})

    assert names == (["SourceShrank"] if is_refused else [])


def test_a_refusal_carries_its_numbers_and_the_way_out() -> None:
    with pytest.raises(PlanTooLarge) as caught:
        check(plan(), (ADA,), replace(LIMITS, max_accounts=0), facts(plan()))

    refusal = caught.value
    assert refusal.numbers == {"accounts": 1, "share": 0.001, "max_accounts": 0, "max_share": 0.25}
    assert "trueup plan --bucket" in refusal.way_out
    assert refusal.exit_code == 3
    assert refusal.as_dict()["refusal"] == "PlanTooLarge"
    assert isinstance(refusal, Refusal)


def test_every_refusal_of_the_contract_exists() -> None:
    names = {cls.__name__ for cls in Refusal.__subclasses__()}

    assert names == {
        "PlanNotApproved", "PlanExpired", "PlanSuperseded", "PlanTampered", "ApproverUnknown", "SignatureInvalid",
        "PlanTooLarge", "TooManySuspensions", "SourceNotWhole", "WriteNotOwned", "SourceShrank", "KillSwitchOn",
        "PlanNotOfNow", "PlanMalformed", "HistoryTampered", "ApplyBusy",
    }  # fmt: skip


def test_what_may_be_written_is_the_ownership_table_without_keys_and_mechanics() -> None:
    columns = sorted(name for name in gate.WRITABLE if "subs_dunning.subs_dunning" not in name)

    assert columns == [
        "subs_account.subs_account.bad_debt",
        "subs_account.subs_account.updated_by",
        "subs_dunning.subs_mandate.network_status",
        "subs_dunning.subs_mandate.status",
        "subs_dunning.subs_stuck_events.resolved_at",
        "subs_dunning.subs_stuck_events.status",
    ]
    assert pl.Series(sorted(gate.WRITABLE)).str.contains("final_notice_sent_at").sum() == 0
