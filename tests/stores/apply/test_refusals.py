"""Every refusal of the gate, on a real database: nothing is written but the refusal's audit entry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.stores.apply.planting import (
    approved,
    as_owner,
    change,
    changes_of,
    cleared,
    enrolled,
    everything,
    log_of,
    plan_of,
    plant,
    record,
    sql,
    still,
    suspended,
)
from trueup.correction.plan import PlanScope
from trueup.correction.refusals import ApproverUnknown, Refusal, WriteNotOwned
from trueup.stores.apply.apply import apply_plan
from trueup.stores.auditor.gate_facts import set_kill_switch
from trueup.stores.auditor.keys import new_key, read_key
from trueup.stores.auditor.plans import approve_plan, list_plans, load_plan, reject_plan, store_plan
from trueup.stores.settings import Settings

NEEDS_DATABASES = ("subs_api",)

CHANGES = changes_of(cleared("a0"), cleared("a1"))


def refused(settings: Settings, plan_id: str, **options: bool) -> str:
    """Apply the plan, see that it is refused and writes nothing but that, and say by which refusal."""
    plant_before, log = everything(settings), log_of(settings)
    with pytest.raises(Refusal) as caught:
        apply_plan(settings, plan_id, regather=_never, **options)
    assert everything(settings) == plant_before
    written = log_of(settings)[len(log) :]
    assert written
    assert {entry.action for entry in written} == {"refused"}
    told = json.loads(written[0].detail)
    assert told["refusal"] == caught.value.name
    assert told["numbers"].keys() == caught.value.numbers.keys()
    assert told["way_out"]
    assert caught.value.exit_code == 3
    return caught.value.name


@contextmanager
def undone(settings: Settings, *tables: str) -> Iterator[None]:
    """Put these tables of schema trueup back afterwards."""
    for table in tables:
        sql(settings, f"CREATE TABLE kept_{table} AS TABLE trueup.{table}")
    yield
    for table in tables:
        as_owner(settings, f"DELETE FROM trueup.{table}")
        override = "OVERRIDING SYSTEM VALUE" if table != "plan_changes" else ""
        as_owner(settings, f"INSERT INTO trueup.{table} {override} TABLE kept_{table}")
        sql(settings, f"DROP TABLE kept_{table}")


def _never(_accounts: frozenset[str]) -> pl.DataFrame:
    raise AssertionError("a refused plan must not be gathered again")


@pytest.fixture(autouse=True)
def _planted(settings: Settings) -> None:
    plant(settings, 3)


def test_a_plan_that_nobody_approved_is_refused(settings: Settings) -> None:
    record(settings)
    plan = plan_of(CHANGES)
    store_plan(settings, plan)

    assert refused(settings, plan.plan_id) == "PlanNotApproved"


def test_a_plan_that_was_turned_down_is_refused_for_good(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    reject_plan(settings, plan.plan_id, reason="not today")

    assert refused(settings, plan.plan_id) == "PlanNotApproved"
    with pytest.raises(Refusal, match="rejected already"):
        approve_plan(settings, plan.plan_id, read_key(tmp_path / "ada.pem"))


def test_setting_the_status_by_hand_approves_nothing(settings: Settings) -> None:
    record(settings)
    plan = plan_of(CHANGES)
    store_plan(settings, plan)
    sql(settings, "UPDATE trueup.plans SET status = 'approved'")

    assert refused(settings, plan.plan_id) == "PlanNotApproved"


def test_a_plan_older_than_a_day_is_refused(settings: Settings, tmp_path: Path) -> None:
    record(settings)
    made = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    plan = plan_of(CHANGES, created_at=made)
    store_plan(settings, plan, at=made)
    approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path), at=made)

    assert refused(settings, plan.plan_id) == "PlanExpired"


def test_moving_the_expiry_by_hand_is_tampering(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    as_owner(settings, "UPDATE trueup.plans SET expires_at = expires_at + interval '1 year'")

    assert refused(settings, plan.plan_id) == "PlanTampered"


def test_rewriting_the_manifest_with_the_expiry_is_seen_in_the_log(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    later = plan_of(CHANGES, created_at=plan.created_at + timedelta(hours=5))
    as_owner(
        settings,
        "UPDATE trueup.plans SET manifest = :manifest, created_at = :created, expires_at = :expires",
        manifest=later.manifest_json,
        created=later.created_at,
        expires=later.expires_at,
    )

    assert refused(settings, plan.plan_id) == "HistoryTampered"  # and the signature is not one of it


def test_a_plan_is_refused_once_a_newer_one_covers_an_account_of_it(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    store_plan(settings, plan_of(changes_of(), scope=PlanScope("accounts:1", accounts=("a1",))))

    assert refused(settings, plan.plan_id) == "PlanSuperseded"


def test_a_newer_plan_over_other_accounts_is_no_hindrance(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    store_plan(settings, plan_of(changes_of(cleared("a2")), scope=PlanScope("accounts:1", accounts=("a2",))))

    assert apply_plan(settings, plan.plan_id, regather=still(CHANGES)).counts["applied"] == 2


def test_a_newer_plan_over_the_bucket_of_an_account_supersedes(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    store_plan(settings, plan_of(changes_of(), scope=PlanScope("buckets", buckets=tuple(range(16)))))

    assert refused(settings, plan.plan_id) == "PlanSuperseded"


TAMPERED = (
    """UPDATE trueup.plan_changes SET after = '"suspended"' WHERE "column" = 'state' AND key = 'a0'""",
    """UPDATE trueup.plan_changes SET row_version = 8""",
    """DELETE FROM trueup.plan_changes WHERE "column" = 'state' AND key = 'a1'""",
    """UPDATE trueup.plans SET manifest = replace(manifest, '1000', '9999')""",
    """UPDATE trueup.plans SET manifest = 'no json'""",
    """UPDATE trueup.plans SET run_id = 'another'""",
)


def test_a_plan_whose_content_was_changed_is_refused(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    for statement in TAMPERED:
        with undone(settings, "plans", "plan_changes"):
            as_owner(settings, statement)
            assert refused(settings, plan.plan_id) == "PlanTampered", statement


def test_a_key_that_is_not_enrolled_approves_nothing(settings: Settings) -> None:
    record(settings)
    plan = plan_of(CHANGES)
    store_plan(settings, plan)

    with pytest.raises(ApproverUnknown):
        approve_plan(settings, plan.plan_id, new_key())

    assert [entry.action for entry in log_of(settings)] == ["audited", "proposed", "refused"]
    assert refused(settings, plan.plan_id) == "PlanNotApproved"


def test_an_approver_who_was_struck_off_since_is_unknown(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    settings.approvers_file.unlink()

    assert refused(settings, plan.plan_id) == "ApproverUnknown"


FORGED = (
    "UPDATE trueup.approvals SET signature = translate(signature, 'ABCDEFGHIJKLM', 'BCDEFGHIJKLMN')",
    "UPDATE trueup.approvals SET message = replace(message, 'ada', 'eve')",
    "UPDATE trueup.approvals SET approved_at = approved_at - interval '1 hour'",
    "UPDATE trueup.approvals SET signature = ''",
)


def test_a_signature_that_is_not_one_of_this_plan_is_refused(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    for statement in FORGED:
        with undone(settings, "approvals"):
            as_owner(settings, statement)
            assert refused(settings, plan.plan_id) == "SignatureInvalid", statement


def test_the_signature_of_another_plan_is_refused(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    other = plan_of(changes_of(cleared("a2")), scope=PlanScope("accounts:1", accounts=("a2",)))
    store_plan(settings, other)
    sql(
        settings,
        """INSERT INTO trueup.approvals (plan_id, approver, public_key, message, signature, approved_at)
           SELECT :other, approver, public_key, message, signature, approved_at FROM trueup.approvals""",
        other=other.plan_id,
    )
    sql(settings, "UPDATE trueup.plans SET status = 'approved'")

    assert refused(settings, other.plan_id) == "SignatureInvalid"
    assert plan.plan_id != other.plan_id


def test_a_plan_beyond_the_count_is_refused(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)

    assert refused(settings.model_copy(update={"plan_max_accounts": 1}), plan.plan_id) == "PlanTooLarge"


def test_a_plan_beyond_the_share_is_refused(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES, fleet_accounts=3)

    assert refused(settings.model_copy(update={"plan_small_accounts": 0}), plan.plan_id) == "PlanTooLarge"


def test_too_many_suspensions_are_refused(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, changes_of(suspended("a0"), suspended("a1")))

    assert refused(settings.model_copy(update={"plan_max_suspensions": 1}), plan.plan_id) == "TooManySuspensions"


def test_an_approver_with_small_limits_cannot_approve_a_large_plan(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    with settings.approvers_file.open("a") as file:
        file.write("limits.max_accounts = 1\n")

    assert refused(settings, plan.plan_id) == "PlanTooLarge"


def test_a_plan_of_a_run_that_did_not_read_a_store_whole_is_refused(settings: Settings, tmp_path: Path) -> None:
    record(settings, "run-2", failed=("stripe",))
    plan = plan_of(CHANGES, run_id="run-2")
    store_plan(settings, plan)
    approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path))

    assert refused(settings, plan.plan_id) == "SourceNotWhole"


def test_a_plan_of_a_run_that_nobody_recorded_is_refused(settings: Settings, tmp_path: Path) -> None:
    plan = plan_of(CHANGES, run_id="unheard of")
    store_plan(settings, plan)
    approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path))

    assert refused(settings, plan.plan_id) == "SourceNotWhole"
    assert [json.loads(entry.detail)["refusal"] for entry in log_of(settings)[-2:]] == [
        "SourceNotWhole",
        "SourceShrank",
    ]


def test_a_change_outside_the_ownership_table_is_refused(settings: Settings, tmp_path: Path) -> None:
    foreign = [change("a0", "subs_account", "dunning_exempt", before=False, after=True, version=4)]
    record(settings)
    plan = plan_of(changes_of(foreign))
    store_plan(settings, plan)
    with pytest.raises(WriteNotOwned):
        approve_plan(settings, plan.plan_id, enrolled(settings, tmp_path))

    assert refused(settings, plan.plan_id) == "WriteNotOwned"


def test_a_plan_of_a_run_in_which_a_store_shrank_is_refused(settings: Settings, tmp_path: Path) -> None:
    record(settings, "run-0", rows=1000)
    plan = approved(settings, tmp_path, CHANGES)  # its run read 100 rows of each table

    assert refused(settings, plan.plan_id) == "SourceShrank"


def test_one_short_reading_does_not_become_the_measure(settings: Settings, tmp_path: Path) -> None:
    record(settings, "run-0", rows=1000)
    record(settings, "run-00", rows=100)
    plan = approved(settings, tmp_path, CHANGES)

    assert refused(settings, plan.plan_id) == "SourceShrank"


@pytest.mark.parametrize(
    "statement", ["UPDATE trueup.kill_switch SET is_on = true", "UPDATE trueup.kill_switch SET number = 2"]
)
def test_nothing_is_written_while_the_kill_switch_is_on_or_missing(
    settings: Settings, tmp_path: Path, statement: str
) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    as_owner(settings, statement)

    assert refused(settings, plan.plan_id) == "KillSwitchOn"


def test_a_dry_run_is_refused_as_the_real_one_is(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    set_kill_switch(settings, is_on=True, reason="drill")

    assert refused(settings, plan.plan_id, dry_run=True) == "KillSwitchOn"
    assert load_plan(settings, plan.plan_id).status == "approved"


def test_the_kill_switch_stops_an_apply_before_its_next_batch(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, CHANGES)
    one_by_one = settings.model_copy(update={"apply_batch_accounts": 1})

    def stop_after_the_first(step: str) -> None:
        if step == "committed":
            set_kill_switch(settings, is_on=True, reason="stop")

    with pytest.raises(Refusal) as caught:
        apply_plan(one_by_one, plan.plan_id, regather=still(CHANGES), checkpoint=stop_after_the_first)

    assert caught.value.name == "KillSwitchOn"
    assert sql(settings, "SELECT account_id FROM subs_dunning WHERE version = 8") == [("a0",)]
    assert log_of(settings)[-1].action == "refused"
    set_kill_switch(settings, is_on=False, reason="go on")
    assert apply_plan(settings, plan.plan_id, regather=still(CHANGES)).counts["applied"] == 1
    assert sql(settings, "SELECT count(*) FROM subs_dunning WHERE version = 8") == [(2,)]


def test_an_expired_plan_stays_expired_when_the_same_is_planned_again(settings: Settings, tmp_path: Path) -> None:
    record(settings)
    made = datetime.now(UTC) - timedelta(hours=25)
    old = plan_of(CHANGES, created_at=made)
    store_plan(settings, old, at=made)
    approve_plan(settings, old.plan_id, enrolled(settings, tmp_path), at=made)

    again = store_plan(settings, plan_of(CHANGES))

    assert (again.plan_id, again.is_expired) == (old.plan_id, True)
    assert refused(settings, old.plan_id) == "PlanExpired"


def test_keeping_the_same_plan_twice_keeps_one(settings: Settings) -> None:
    record(settings)
    plan = plan_of(CHANGES)
    store_plan(settings, plan)
    store_plan(settings, plan_of(CHANGES, run_id="run-2"))

    (info,) = list_plans(settings)
    assert (info.run_id, info.changes, info.accounts, info.status) == ("run-1", 12, 2, "proposed")
    assert [entry.action for entry in log_of(settings)] == ["audited", "proposed"]
