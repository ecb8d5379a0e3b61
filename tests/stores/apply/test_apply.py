"""Apply: what an approved plan does to the stores, the outbox and the audit log."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from tests.stores.apply.planting import (
    approved,
    changes_of,
    cleared,
    everything,
    flagged,
    inserted,
    log_of,
    plant,
    sql,
    still,
)
from trueup.stores.apply.apply import apply_plan
from trueup.stores.auditor.audit_log import auditor_key, noted_heads, verify_log
from trueup.stores.auditor.connection import writing
from trueup.stores.settings import Settings

NEEDS_DATABASES = ("subs_api",)


def test_an_approved_plan_is_written_with_its_events_and_entries(settings: Settings, tmp_path: Path) -> None:
    plant(settings, 3, missing=1)
    changes = changes_of(cleared("a0"), flagged("a1"), inserted("a2"))
    plan = approved(settings, tmp_path, changes)

    result = apply_plan(settings, plan.plan_id, regather=still(changes))

    assert result.counts == {"applied": 3, "already applied": 0, "superseded": 0, "conflict": 0, "blocked": 0}
    assert result.exit_code == 0
    assert sql(
        settings,
        "SELECT account_id, state, attempt_count, clock_started_on, reason, version FROM subs_dunning ORDER BY 1",
    ) == [
        ("a0", "good_standing", 0, None, "", 8),
        ("a1", "grace", 1, sql(settings, "SELECT date '2026-11-01'")[0][0], "past_due", 7),
        ("a2", "retrying", 2, None, "past_due", 1),
    ]
    assert sql(settings, "SELECT account_id, bad_debt, updated_by, version FROM subs_account WHERE bad_debt") == [
        ("a1", True, "A3", 5)
    ]
    assert sql(settings, "SELECT account_id, sequence, type FROM trueup.outbox ORDER BY 1, 2") == [
        ("a0", 1, "dunning.state_changed"),
        ("a0", 2, "dunning.cleared"),
        ("a1", 1, "account.bad_debt_changed"),
        ("a2", 1, "dunning.state_changed"),
    ]
    assert sql(settings, "SELECT count(*) FROM trueup.applied_changes") == [(12,)]
    assert [row.action for row in log_of(settings)] == [
        "audited", "proposed", "approvers_pinned", "approved", *["applied"] * 12, "finished",
    ]  # fmt: skip


def test_the_chain_holds_after_an_apply(settings: Settings, tmp_path: Path) -> None:
    plant(settings, 2)
    changes = changes_of(cleared("a0"), cleared("a1"))
    plan = approved(settings, tmp_path, changes)
    apply_plan(settings, plan.plan_id, regather=still(changes))

    with writing(settings) as connection:
        verdict = verify_log(connection, frozenset({auditor_key(settings).public}), noted_heads(settings))

    assert verdict.broken is None
    assert verdict.entries == len(log_of(settings))


def test_a_dry_run_writes_nothing_and_says_what_the_apply_will_do(settings: Settings, tmp_path: Path) -> None:
    plant(settings, 3, missing=1)
    changes = changes_of(cleared("a0"), flagged("a1"), inserted("a2"))
    plan = approved(settings, tmp_path, changes)
    before, log = everything(settings), log_of(settings)

    preview = apply_plan(settings, plan.plan_id, regather=still(changes), dry_run=True)

    assert (everything(settings), log_of(settings)) == (before, log)
    outcome = apply_plan(settings, plan.plan_id, regather=still(changes))
    assert preview.outcomes.equals(outcome.outcomes)
    assert (preview.rows_written, preview.events_emitted) == (outcome.rows_written, outcome.events_emitted)


def test_a_row_that_someone_moved_first_is_a_conflict_and_its_whole_account_is_left_alone(
    settings: Settings, tmp_path: Path
) -> None:
    plant(settings, 2)
    changes = changes_of(cleared("a0"), flagged("a0"), cleared("a1"))
    plan = approved(settings, tmp_path, changes)
    sql(settings, "UPDATE subs_account SET version = version + 1 WHERE account_id = 'a0'")

    result = apply_plan(settings, plan.plan_id, regather=still(changes))

    assert result.outcomes.select("target", "outcome").rows() == [("a0", "conflict"), ("a1", "applied")]
    assert result.exit_code == 1
    assert sql(settings, "SELECT state, version FROM subs_dunning WHERE account_id = 'a0'") == [("grace", 7)]
    assert sql(settings, "SELECT account_id, plan_id FROM trueup.audit_queue") == [("a0", plan.plan_id)]


def test_a_writer_who_forgets_the_version_is_not_overwritten_either(settings: Settings, tmp_path: Path) -> None:
    plant(settings, 1)
    changes = changes_of(cleared("a0"))
    plan = approved(settings, tmp_path, changes)
    sql(settings, "UPDATE subs_dunning SET state = 'suspended'")

    result = apply_plan(settings, plan.plan_id, regather=still(changes))

    assert result.counts["conflict"] == 1
    assert sql(settings, "SELECT state FROM subs_dunning") == [("suspended",)]


def test_a_row_inserted_meanwhile_is_a_conflict(settings: Settings, tmp_path: Path) -> None:
    plant(settings, 1, missing=1)
    changes = changes_of(inserted("a0"))
    plan = approved(settings, tmp_path, changes)
    sql(settings, "INSERT INTO subs_dunning (account_id, state) VALUES ('a0', 'grace')")

    result = apply_plan(settings, plan.plan_id, regather=still(changes))

    assert result.counts["conflict"] == 1
    assert sql(settings, "SELECT state FROM subs_dunning") == [("grace",)]


def test_an_account_of_which_something_else_is_desired_by_now_is_superseded(settings: Settings, tmp_path: Path) -> None:
    plant(settings, 3)
    changes = changes_of(cleared("a0"), cleared("a1"), cleared("a2"))
    plan = approved(settings, tmp_path, changes)

    def regather(_accounts: frozenset[str]) -> pl.DataFrame:  # nothing for a0, another state for a1
        other = pl.when((pl.col("account_id") == "a1") & (pl.col("column") == "state")).then(pl.lit('"retrying"'))
        return changes.filter(pl.col("account_id") != "a0").with_columns(after=other.otherwise("after"))

    result = apply_plan(settings, plan.plan_id, regather=regather)

    assert result.outcomes.select("target", "outcome").rows() == [
        ("a0", "superseded"),
        ("a1", "superseded"),
        ("a2", "applied"),
    ]


def test_a_finished_plan_applied_again_changes_nothing_and_says_so(settings: Settings, tmp_path: Path) -> None:
    plant(settings, 2)
    changes = changes_of(cleared("a0"), cleared("a1"))
    plan = approved(settings, tmp_path, changes)
    apply_plan(settings, plan.plan_id, regather=still(changes))
    before, log = everything(settings), log_of(settings)

    again = apply_plan(settings, plan.plan_id, regather=still(changes))

    assert again.was_finished
    assert again.counts["already applied"] == 2
    assert again.exit_code == 0
    assert (everything(settings), log_of(settings)) == (before, log)


def test_an_empty_plan_applies_to_nothing(settings: Settings, tmp_path: Path) -> None:
    plan = approved(settings, tmp_path, changes_of())

    result = apply_plan(settings, plan.plan_id, regather=still(changes_of()))

    assert result.outcomes.is_empty()
    assert result.exit_code == 0


@pytest.mark.parametrize("seed", range(5))
def test_what_a_dry_run_says_is_what_happens(settings: Settings, tmp_path: Path, seed: int) -> None:
    """Whatever moved between plan and apply: the preview is the outcome, and it wrote nothing."""
    chance = random.Random(seed)  # noqa: S311 - a seed that can be told
    plant(settings, 20, missing=5)
    rows = [cleared(f"a{n}") for n in range(15)] + [inserted(f"a{n}") for n in range(15, 20)]
    rows += [flagged(f"a{n}") for n in range(20) if chance.random() < 0.5]
    changes = changes_of(*rows)
    plan = approved(settings, tmp_path, changes)
    for n in range(20):
        match chance.randrange(6):
            case 0:
                sql(settings, "UPDATE subs_dunning SET version = version + 1 WHERE account_id = :a", a=f"a{n}")
            case 1:
                sql(settings, "UPDATE subs_account SET bad_debt = NOT bad_debt WHERE account_id = :a", a=f"a{n}")
            case 2:
                sql(settings, "DELETE FROM subs_dunning WHERE account_id = :a", a=f"a{n}")
    kept = changes.filter(~pl.col("account_id").is_in([f"a{n}" for n in range(20) if chance.random() < 0.2]))
    few = settings.model_copy(update={"apply_batch_accounts": 6})
    before = everything(settings)

    preview = apply_plan(few, plan.plan_id, regather=still(kept), dry_run=True)

    assert everything(settings) == before
    outcome = apply_plan(few, plan.plan_id, regather=still(kept))
    assert preview.outcomes.equals(outcome.outcomes)
    assert (preview.rows_written, preview.events_emitted) == (outcome.rows_written, outcome.events_emitted)
    assert {"applied", "conflict", "superseded"} >= set(outcome.outcomes["outcome"]) > {"applied"}
