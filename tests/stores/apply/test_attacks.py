"""Attacks: what somebody with the writer's login, a plan of another instant or a file of their own would try.

Each leaves the billing tables as they were. What a *reader* could try is in the tests of the grants.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tests.conftest import READER
from tests.stores.apply.planting import (
    approved,
    change,
    changes_of,
    cleared,
    enrolled,
    everything,
    plan_of,
    plant,
    record,
    still,
    suspended,
)  # fmt: skip
from trueup.contract.schemas import STORES
from trueup.correction import refusals
from trueup.correction.plan import Plan, PlanScope
from trueup.stores.apply.apply import apply_plan
from trueup.stores.auditor.approvers import approver_toml, load_approvers
from trueup.stores.auditor.connection import writing
from trueup.stores.auditor.gate_facts import set_kill_switch
from trueup.stores.auditor.locks import held
from trueup.stores.auditor.pins import new_approver, read_pin, trust
from trueup.stores.auditor.plans import approve_plan, load_plan, reject_plan, store_plan
from trueup.stores.errors import PrivilegeMissing, TrueupError
from trueup.stores.settings import Settings

CHANGES = changes_of(cleared("a0"))


@pytest.fixture(autouse=True)
def _planted(settings: Settings) -> None:
    plant(settings, 3)


def as_writer(settings: Settings, statement: str, **given: Any) -> int:
    """What the writer's login alone can do: rows that a statement touched."""
    with writing(settings) as connection, connection.begin():
        return connection.execute(text(statement), given).rowcount


def refuses(settings: Settings, plan: Plan, refusal: type[refusals.Refusal]) -> refusals.Refusal:
    """The plan is refused so, and no row of a billing table changes."""
    before = everything(settings)
    with pytest.raises(refusal) as error:
        apply_plan(settings, plan.plan_id, regather=still(plan.changes))
    assert everything(settings) == before
    return error.value


# --- a plan of another instant


@pytest.mark.parametrize("away", [timedelta(days=70), -timedelta(hours=2), timedelta(seconds=400)])
def test_a_plan_of_another_instant_cannot_be_approved_nor_applied(
    settings: Settings, tmp_path: Path, away: timedelta
) -> None:
    record(settings)
    now = datetime.now(UTC)
    plan = plan_of(CHANGES, as_of=now + away, snapshot=dict.fromkeys(STORES, now))
    store_plan(settings, plan)
    with pytest.raises(refusals.PlanNotOfNow):
        approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path))

    refuses(settings, plan, refusals.PlanNotOfNow)


def test_a_plan_for_looking_supersedes_none(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    now = datetime.now(UTC)
    store_plan(settings, plan_of(CHANGES, as_of=now - timedelta(days=3), snapshot=dict.fromkeys(STORES, now)))

    assert apply_plan(settings, plan.plan_id, regather=still(CHANGES)).counts["applied"] == 1


def test_a_workers_plan_over_one_account_leaves_a_larger_plan_open(settings: Settings, tmp_path: Path) -> None:
    both = changes_of(cleared("a0"), cleared("a1"))
    plan = approved(settings, tmp_path, both)
    scope = PlanScope("accounts:1", accounts=("a0",))
    store_plan(settings, plan_of(changes_of(cleared("a0")), scope=scope, origin="work"))

    assert apply_plan(settings, plan.plan_id, regather=still(both)).counts["applied"] == 2


# --- what is counted is what is written


@pytest.mark.parametrize(
    "crafted",
    [
        {"account_id": None},
        {"after": '"s\\u0075spended"'},
        {"after": '"frozen"'},
        {"account_id": "a1"},
    ],
)
def test_a_crafted_plan_is_malformed_and_never_signed(
    settings: Settings, tmp_path: Path, crafted: dict[str, Any]
) -> None:
    record(settings)
    plan = plan_of(changes_of([{**row, **crafted} for row in suspended("a0")]))
    store_plan(settings, plan)
    with pytest.raises(refusals.PlanMalformed):
        approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path))

    refuses(settings, plan, refusals.PlanMalformed)


def test_a_suspension_that_is_told_as_none_is_a_conflict(settings: Settings, tmp_path: Path) -> None:
    """A crafted `before` would keep it out of the count of suspensions; the rows under the lock say otherwise."""
    lie = changes_of([change("a0", "subs_dunning", "state", "suspended", "bad_debt", 7)])
    plan = approved(settings, tmp_path, lie)
    before = everything(settings)

    assert apply_plan(settings, plan.plan_id, regather=still(lie)).counts["conflict"] == 1
    assert everything(settings) == before


# --- history is append-only


def test_a_rejected_plan_stays_rejected_whatever_its_status_says(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    reject_plan(settings, plan.plan_id, reason="no")
    as_writer(settings, "UPDATE trueup.plans SET status = 'approved'")

    refuses(settings, plan, refusals.PlanNotApproved)


REWRITING = [
    "DELETE FROM trueup.plans",
    "DELETE FROM trueup.rejections",
    "UPDATE trueup.plans SET number = 99",
    "UPDATE trueup.plans SET expires_at = now() + interval '1 year'",
    "UPDATE trueup.run_checks SET has_passed = true",
    "UPDATE trueup.source_counts SET rows = 0",
    "UPDATE trueup.kill_switch SET is_on = false",
    "INSERT INTO trueup.kill_switch VALUES (2, false, '', '', now())",
    "DELETE FROM trueup.apply_outcomes",
    "UPDATE trueup.outbox SET data = '{}'",
    "DELETE FROM trueup.audit_log",
    "UPDATE trueup.audit_log SET actor = 'x'",
    "UPDATE trueup.findings_seen SET first_seen_at = now()",
    "UPDATE trueup.audit_runs SET accounts_disagreeing = 0",
    "SELECT trueup.turn_kill_switch(false, 'r', '{\"number\": 1}')",
    "DROP TRIGGER append_only ON trueup.plans",
    "ALTER TABLE trueup.plans DISABLE TRIGGER ALL",
]


def test_the_writers_login_rewrites_nothing(settings: Settings, tmp_path: Path) -> None:
    approved(settings, tmp_path, CHANGES)

    for statement in REWRITING:
        with pytest.raises(PrivilegeMissing):
            as_writer(settings, statement)


def test_a_superseded_plan_is_not_revived_by_a_higher_number_of_its_own(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    store_plan(settings, plan_of(CHANGES, run_id="run-2", fleet_accounts=999))
    with pytest.raises(PrivilegeMissing):
        as_writer(settings, "UPDATE trueup.plans SET number = 1000 WHERE plan_id = :id", id=plan.plan_id)

    refuses(settings, plan, refusals.PlanSuperseded)


def test_an_apply_is_not_suppressed_by_outcomes_that_somebody_inserted(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    as_writer(
        settings,
        "INSERT INTO trueup.apply_outcomes VALUES (:id, 'a0', 'applied', '', now())", id=plan.plan_id,
    )  # fmt: skip

    refusal = refuses(settings, plan, refusals.HistoryTampered)
    assert "the outcome `applied` of a0 is not in the audit log" in refusal.message


def test_an_apply_is_not_suppressed_by_changes_recorded_as_applied(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    for change_id in plan.changes["change_id"]:
        as_writer(
            settings,
            "INSERT INTO trueup.applied_changes (plan_id, change_id, account_id, row_version, applied_at)"
            " VALUES (:id, :change, 'a0', 8, now())", id=plan.plan_id, change=change_id,
        )  # fmt: skip

    refuses(settings, plan, refusals.HistoryTampered)


def test_a_plan_that_says_it_is_applied_reports_nothing_of_the_kind(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    as_writer(settings, "UPDATE trueup.plans SET status = 'applied', finished_at = now()")

    refuses(settings, plan, refusals.PlanNotApproved)


def test_a_plan_row_that_was_never_proposed_is_refused(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    copied = "SELECT :other AS plan_id, {} FROM trueup.plans WHERE plan_id = :id"
    columns = (
        "run_id, as_of, policy_version, scope, scope_accounts, scope_buckets, bucket_count, manifest, created_at, "
        "expires_at, status"
    )
    other = plan.plan_id + "0"
    as_writer(
        settings,
        f"INSERT INTO trueup.plans (plan_id, {columns}) {copied.format(columns)}",
        other=other,
        id=plan.plan_id,
    )

    with pytest.raises(refusals.PlanTampered):
        apply_plan(settings, other, regather=still(CHANGES))
    assert load_plan(settings, plan.plan_id).plan_id == plan.plan_id  # a whole id names its plan
    with pytest.raises(TrueupError, match="2 plans are called"):
        load_plan(settings, plan.plan_id[:12])


def test_an_approval_with_a_true_signature_that_the_log_does_not_know_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    newer = plan_of(CHANGES, fleet_accounts=998, run_id="run-1")
    store_plan(settings, newer)
    ada = load_approvers(settings.approvers_file).listed[0]
    from trueup.stores.auditor.approvals import signed_message
    from trueup.stores.auditor.keys import read_key

    at = datetime.now(UTC)
    message = signed_message(newer, ada.name, at)
    row = {"id": newer.plan_id, "name": ada.name, "key": ada.public_key, "message": message, "at": at,
           "signature": read_key(tmp_path / "ada.pem").sign(message.encode())}  # fmt: skip
    as_writer(
        settings,
        "INSERT INTO trueup.approvals (plan_id, approver, public_key, message, signature, approved_at)"
        " VALUES (:id, :name, :key, :message, :signature, :at)", **row,
    )  # fmt: skip

    refuses(settings, newer, refusals.HistoryTampered)
    assert plan.plan_id != newer.plan_id


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO trueup.run_checks VALUES ('run-1', 'extra', 'stripe', true, true, '')",
        "INSERT INTO trueup.source_counts VALUES ('run-1', 'stripe', 'extra', 1000000, now())",
    ],
)
def test_a_runs_checks_and_counts_are_those_in_the_log(settings: Settings, tmp_path: Path, statement: str) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    as_writer(settings, statement)

    refuses(settings, plan, refusals.HistoryTampered)


def test_garbage_at_the_end_of_the_log_closes_the_gate_and_nothing_is_added_to_it(
    settings: Settings, tmp_path: Path
) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    as_writer(
        settings,
        "INSERT INTO trueup.audit_log (number, at, actor, action, detail, is_head, previous_hash, hash)"
        " SELECT max(number) + 1, now(), 'x', 'applied', '{}', true, 'x', 'x' FROM trueup.audit_log",
    )
    before = everything(settings)

    with pytest.raises(refusals.HistoryTampered):
        apply_plan(settings, plan.plan_id, regather=still(CHANGES))
    with pytest.raises(refusals.HistoryTampered):
        store_plan(settings, plan_of(changes_of(cleared("a1"))))
    assert everything(settings) == before


def test_a_kill_switch_that_its_owner_turned_off_without_an_entry_counts_as_on(
    settings: Settings, databases: dict[str, str], tmp_path: Path
) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    set_kill_switch(settings, is_on=True, reason="drill")
    owner = settings.model_copy(update={"subs_api_writer_url": databases["subs_api"]})
    as_writer(owner, "UPDATE trueup.kill_switch SET is_on = false")

    refuses(settings, plan, refusals.HistoryTampered)


# --- whose approvers


def test_another_approvers_file_closes_the_gate(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    mine = tmp_path / "mine.toml"
    stranger, _ = new_approver(
        settings.model_copy(update={"approvers": mine, "subs_api_writer_url": ""}), "eve", tmp_path / "eve.pem"
    )
    mine.write_text(approver_toml(stranger) + settings.approvers_file.read_text())

    refuses(settings.model_copy(update={"approvers": mine}), plan, refusals.ApproverUnknown)


def test_a_line_added_to_the_pinned_file_closes_the_gate_until_an_approver_trusts_it(
    settings: Settings, tmp_path: Path
) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    settings.approvers_file.write_text(settings.approvers_file.read_text() + "# by hand\n")
    refuses(settings, plan, refusals.ApproverUnknown)
    with pytest.raises(refusals.ApproverUnknown):
        enrolled(settings, tmp_path, "eve")  # nor does a new key make the changed file the trusted one

    from trueup.stores.auditor.keys import new_key, read_key

    with pytest.raises(refusals.ApproverUnknown):
        trust(settings, new_key())
    assert trust(settings, read_key(tmp_path / "ada.pem")) == "ada"
    assert apply_plan(settings, plan.plan_id, regather=still(CHANGES)).counts["applied"] == 1


def test_limits_of_the_environment_never_widen_the_pinned_ones(settings: Settings, tmp_path: Path) -> None:
    narrow = settings.model_copy(update={"plan_max_accounts": 0})
    plan = approved(narrow, tmp_path, CHANGES)

    refuses(settings, plan, refusals.PlanTooLarge)


def test_who_made_a_plan_does_not_approve_it(settings: Settings, tmp_path: Path) -> None:
    record(settings)
    plan = plan_of(CHANGES, maker="ada@work")
    store_plan(settings, plan)
    with pytest.raises(refusals.PlanNotApproved, match="ada made it"):
        approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path))

    assert approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path, "bob")).status == "approved"
    assert apply_plan(settings, plan.plan_id, regather=still(CHANGES)).counts["applied"] == 1


def test_two_keys_are_two_keys_of_two_persons(settings: Settings, tmp_path: Path) -> None:
    two = settings.model_copy(update={"approvals_needed": 2})
    record(two)
    plan = plan_of(CHANGES)
    store_plan(two, plan)
    assert approve_plan(two, plan.plan_id, enrolled(two, tmp_path)).status == "proposed"
    same = enrolled(two, tmp_path, "ada2", identities=("ada@work",))
    assert approve_plan(two, plan.plan_id, same).status == "proposed"
    refuses(two, plan, refusals.PlanNotApproved)

    assert approve_plan(two, plan.plan_id, enrolled(two, tmp_path, "bob")).status == "approved"
    assert apply_plan(two, plan.plan_id, regather=still(CHANGES)).counts["applied"] == 1


@pytest.mark.parametrize("name", ["", "  ", "ada\n[[approvers]]", "a\x1b[2K"])
def test_a_keys_name_is_one_printable_line(settings: Settings, tmp_path: Path, name: str) -> None:
    with pytest.raises(TrueupError, match="one printable line"):
        new_approver(settings, name, tmp_path / "k.pem")
    assert not (tmp_path / "k.pem").exists()


def test_what_is_pinned_is_the_file_and_the_limits(settings: Settings, tmp_path: Path) -> None:
    enrolled(settings.model_copy(update={"plan_max_accounts": 7}), tmp_path)
    with writing(settings) as connection:
        pin = read_pin(connection)

    assert pin is not None
    assert asdict(pin.limits)["max_accounts"] == 7
    assert pin.limits.narrowed_to(replace(pin.limits, max_accounts=9)).max_accounts == 7


# --- waits are bounded and seen


def test_an_apply_that_waits_says_for_whom_and_gives_up(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    waited: list[str] = []
    impatient = settings.model_copy(update={"apply_wait_seconds": 0.3})
    with held(settings, "apply", 0), pytest.raises(refusals.ApplyBusy, match="holds the lock `apply`"):
        apply_plan(impatient, plan.plan_id, regather=still(CHANGES), on_wait=waited.append)

    assert len(waited) == 1
    assert "trueup apply" in waited[0]
    assert apply_plan(settings, plan.plan_id, regather=still(CHANGES)).counts["applied"] == 1


@pytest.fixture
def reader(settings: Settings) -> Iterator[Connection]:
    url = settings.subs_api_writer_url.replace("trueup_writer", READER)
    with writing(settings.model_copy(update={"subs_api_writer_url": url})) as connection:
        yield connection


def test_a_readers_login_stops_nobody(settings: Settings, tmp_path: Path, reader: Connection) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    for name in ("trueup.apply", "trueup.audit_log", "trueup.relay"):
        reader.execute(text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), {"name": name})
    with pytest.raises(DBAPIError, match="permission denied"):
        reader.execute(text("SELECT * FROM trueup.locks FOR UPDATE"))

    assert apply_plan(settings, plan.plan_id, regather=still(CHANGES)).counts["applied"] == 1


def test_the_audit_log_of_a_plan_names_its_maker(settings: Settings, tmp_path: Path) -> None:
    approved(settings, tmp_path, CHANGES, maker="nightly")
    with writing(settings) as connection:
        detail = connection.execute(text("SELECT detail FROM trueup.audit_log WHERE action = 'proposed'")).scalar_one()

    assert json.loads(detail)["maker"] == "nightly"
