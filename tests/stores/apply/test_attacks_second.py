"""Attacks on the gate that a second reading found; each was tried and held before what it guards was written.

Each test plays somebody who has one thing too much: the writer's login, a folder of TRUEUP_HOME, a policy key, an
environment of their own when a plan is made, or a machine whose clock they set.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.stores.apply.planting import (
    approved,
    changes_of,
    cleared,
    enrolled,
    everything,
    plan_of,
    plant,
    record,
    still,
)
from trueup.contract.schemas import STORES
from trueup.correction import refusals
from trueup.correction.plan import Plan
from trueup.stores.apply.apply import apply_plan
from trueup.stores.auditor.approvers import approver_toml, load_approvers
from trueup.stores.auditor.audit_log import auditor_key, entry_hash, noted_heads, verify_log
from trueup.stores.auditor.connection import copy_rows, writing
from trueup.stores.auditor.keys import read_key
from trueup.stores.auditor.pins import new_approver, trust
from trueup.stores.auditor.plans import approve_plan, store_plan
from trueup.stores.settings import Settings

NEEDS_DATABASES = ("subs_api",)
CHANGES = changes_of(cleared("a0"))


@pytest.fixture(autouse=True)
def _planted(settings: Settings) -> None:
    plant(settings, 3)


def refuses(settings: Settings, plan: Plan, refusal: type[refusals.Refusal], **more: Any) -> None:
    """The plan is refused so, and no row of a billing table changes."""
    before = everything(settings)
    with pytest.raises(refusal):
        apply_plan(settings, plan.plan_id, regather=still(plan.changes), **more)
    assert everything(settings) == before


# --- the writer's login


def inserted_before_the_first(settings: Settings, action: str, **more: Any) -> None:
    """An entry whose number nobody walks over, with a hash that fits: hashing needs no key."""
    with writing(settings) as connection, connection.begin():
        row = dict(connection.execute(text("SELECT * FROM trueup.audit_log ORDER BY number LIMIT 1")).mappings().one())
        row |= {"number": -1, "action": action, "is_head": False, "signer": None, "signature": None, **more}
        row["hash"] = entry_hash(row)
        copy_rows(connection, "trueup.audit_log", tuple(row), [tuple(row.values())])


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("finished", {"detail": json.dumps({"accounts": {"applied": 1}})}),
        ("applied", {"change_id": CHANGES["change_id"][0]}),
        ("approved", {"detail": json.dumps({"role": "person", "signature": "x"})}),
    ],
)
def test_an_entry_before_the_first_closes_the_gate(
    settings: Settings, tmp_path: Any, action: str, more: dict[str, Any]
) -> None:
    """It made an apply report what it had not written, and hid a policy key's accounts from their hourly limit."""
    plan = approved(settings, tmp_path, CHANGES)
    inserted_before_the_first(settings, action, plan_id=plan.plan_id, **more)

    refuses(settings, plan, refusals.HistoryTampered)


def test_verifying_the_log_names_an_entry_before_the_first(settings: Settings, tmp_path: Any) -> None:
    approved(settings, tmp_path, CHANGES)
    inserted_before_the_first(settings, "finished")
    with writing(settings) as connection:
        verdict = verify_log(connection, auditor_key(settings).trusted, noted_heads(settings))

    assert verdict.broken is not None
    assert verdict.broken.number == -1


# --- a folder of TRUEUP_HOME


def test_the_copy_of_the_pinned_file_counts_only_as_it_was_pinned(settings: Settings, tmp_path: Any) -> None:
    enrolled(settings, tmp_path)
    elsewhere = settings.model_copy(update={"approvers": tmp_path / "eve.toml", "subs_api_writer_url": ""})
    eve, _ = new_approver(elsewhere, "eve", tmp_path / "eve.pem")
    for copy in (settings.home / "approvers").iterdir():
        copy.write_text(copy.read_text() + approver_toml(eve))

    with pytest.raises(refusals.ApproverUnknown):
        trust(elsewhere.model_copy(update={"subs_api_writer_url": settings.subs_api_writer_url}), _key(tmp_path, "eve"))
    assert [a.name for a in load_approvers(settings.approvers_file).listed] == ["ada"]


def _key(tmp_path: Any, name: str) -> Any:
    return read_key(tmp_path / f"{name}.pem")


# --- a policy key


def test_a_policy_keys_signature_does_not_widen_what_a_person_may_approve(settings: Settings, tmp_path: Any) -> None:
    changes = changes_of(cleared("a0"), cleared("a1"))
    ada = enrolled(settings, tmp_path)
    file = settings.approvers_file
    file.write_text(file.read_text().rstrip() + "\nlimits.max_accounts = 1\n\n")
    trust(settings, ada)
    robot = enrolled(settings, tmp_path, "robot", role="policy")
    record(settings)
    plan = plan_of(changes)
    store_plan(settings, plan)
    approve_plan(settings, plan.plan_id, ada)
    approve_plan(settings, plan.plan_id, robot)

    refuses(settings, plan, refusals.PlanTooLarge)


# --- an environment of one's own when a plan is made


def test_how_old_a_plans_instant_may_be_is_not_its_makers_to_say(settings: Settings, tmp_path: Any) -> None:
    record(settings)
    now = datetime.now(UTC)
    plan = plan_of(
        CHANGES, as_of=now - timedelta(days=90), snapshot=dict.fromkeys(STORES, now), age_max=timedelta(days=365)
    )
    store_plan(settings, plan)
    with pytest.raises(refusals.PlanNotOfNow):
        approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path))

    refuses(settings, plan, refusals.PlanNotOfNow)


def test_a_plan_lives_for_a_day_whatever_life_its_maker_gave_it(settings: Settings, tmp_path: Any) -> None:
    plan = approved(settings, tmp_path, CHANGES, life=timedelta(days=365))

    refuses(settings, plan, refusals.PlanExpired, now=lambda: plan.created_at + timedelta(hours=25))


def test_a_plan_that_is_made_in_the_future_is_not_of_now(settings: Settings, tmp_path: Any) -> None:
    record(settings)
    plan = plan_of(CHANGES, created_at=datetime.now(UTC) + timedelta(days=30))
    store_plan(settings, plan)

    with pytest.raises(refusals.PlanNotOfNow):
        approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path))


# --- a clock that somebody set


def test_a_clock_set_back_revives_no_plan(settings: Settings, tmp_path: Any) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3)
    record(settings)
    plan = plan_of(CHANGES, created_at=long_ago)
    store_plan(settings, plan, at=long_ago)
    approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path), at=long_ago + timedelta(hours=1))

    refuses(settings, plan, refusals.PlanExpired, now=lambda: long_ago + timedelta(hours=2))
