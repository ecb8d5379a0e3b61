"""History: spells of findings, runs over time, and what owners are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from tests.stores.apply.planting import AS_OF, sql
from trueup.contract.schemas import FINDINGS
from trueup.drift.healing import Sight
from trueup.stores.auditor.history import (
    AuditedRun,
    RecordedRun,
    by_store_pair,
    count_disagreeing,
    disagreements_over_time,
    history_of,
    open_findings,
    queued_accounts,
    record_run,
    runs_over_time,
)
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

NEEDS_DATABASES = ("subs_api",)


def finding(account: str | None, code: str, object_id: str | None = None, **more: Any) -> dict[str, Any]:
    facts = {
        "account_id": account, "code": code, "severity": "S1", "stores": ["billing_prod", "stripe"],
        "object_id": object_id, "observed": '{"stripe":{"status":"paid"}}', "owner": "A2 invoices", "is_root": True,
        "event_ids": ["evt_1"], "is_settling": False, "is_suppressed": False,
    }  # fmt: skip
    return dict.fromkeys(FINDINGS) | facts | more


def seen(settings: Settings, run: int, *found: dict[str, Any], **more: Any) -> RecordedRun:
    audited = AuditedRun(
        run_id=f"run-{run}",
        as_of=AS_OF + timedelta(days=run),
        policy_version="p1",
        accounts=10,
        counts=pl.DataFrame(schema=["store", "table", "rows", "observed_at"]),
        checks=pl.DataFrame(schema=["check", "store", "is_blocking", "has_passed", "detail"]),
        **{"scope": Scope.fleet(), **more},
    )
    return record_run(settings, audited, pl.DataFrame(found, schema=FINDINGS))


PAID = finding("a", "INV_PAID_STRIPE_OPEN_INTERNAL", "in_1")
STUCK = finding("a", "DUN_STUCK_AFTER_PAYMENT", stores=["subs_dunning", "stripe"], owner="A3 recompute")
ORPHAN = finding(None, "MAP_ORPHAN_CUSTOMER", "cus_1", owner="A1 setup")


def spells(settings: Settings) -> list[Any]:
    return sql(
        settings,
        """SELECT account_id, code, seen_count, first_run_id, last_run_id, healed_run_id
           FROM trueup.findings_seen ORDER BY number""",
    )


def told(settings: Settings) -> list[Any]:
    return sql(settings, "SELECT account_id, type, data ->> 'code' FROM trueup.outbox ORDER BY id")


def test_a_finding_is_first_seen_once_and_counted_each_time(settings: Settings) -> None:
    first = seen(settings, 1, PAID)
    second = seen(settings, 2, PAID)

    assert first.findings.select("first_seen_at", "seen_count").rows() == [(AS_OF + timedelta(days=1), 1)]
    assert second.findings.select("first_seen_at", "seen_count").rows() == [(AS_OF + timedelta(days=1), 2)]
    assert second.findings.schema == pl.Schema(FINDINGS)


def test_what_is_not_found_again_is_healed_and_comes_back_as_another_spell(settings: Settings) -> None:
    seen(settings, 1, PAID)
    gone = seen(settings, 2)
    back = seen(settings, 3, PAID)

    assert (gone.begun, gone.healed, back.begun) == (0, 1, 1)
    assert spells(settings) == [
        ("a", PAID["code"], 1, "run-1", "run-1", "run-2"),
        ("a", PAID["code"], 1, "run-3", "run-3", None),
    ]


def test_owners_of_other_stores_are_told_when_it_begins_and_when_it_ends(settings: Settings) -> None:
    seen(settings, 1, PAID, STUCK, ORPHAN)
    seen(settings, 2, STUCK)

    assert told(settings) == [
        ("a", "disagreement.detected", PAID["code"]),
        (None, "disagreement.detected", "MAP_ORPHAN_CUSTOMER"),
        ("a", "disagreement.resolved", PAID["code"]),
        (None, "disagreement.resolved", "MAP_ORPHAN_CUSTOMER"),
    ]
    ((data,),) = sql(settings, "SELECT data FROM trueup.outbox WHERE id = 1")
    assert data["owner"] == "A2 invoices"
    assert data["observed"] == {"stripe": {"status": "paid"}}
    assert data["provider_event_ids"] == ["evt_1"]


def test_recording_a_run_twice_counts_and_tells_once(settings: Settings) -> None:
    seen(settings, 1, PAID)
    again = seen(settings, 1, PAID)

    assert (again.begun, again.events) == (0, 0)
    assert again.findings["seen_count"].to_list() == [1]
    assert len(told(settings)) == 1


@pytest.mark.parametrize("mark", ["is_settling", "is_suppressed"])
def test_what_is_settling_or_suppressed_begins_no_spell_and_ends_none(settings: Settings, mark: str) -> None:
    unsure = PAID | {mark: True}

    assert seen(settings, 1, unsure).findings["first_seen_at"].to_list() == [None]
    seen(settings, 2, PAID)
    assert seen(settings, 3, unsure).healed == 0
    assert open_findings(settings)["seen_count"].to_list() == [1]


def test_a_run_over_other_accounts_heals_nothing(settings: Settings) -> None:
    seen(settings, 1, PAID, ORPHAN)

    assert seen(settings, 2, scope=Scope.of_accounts(["b"])).healed == 0
    assert seen(settings, 3, scope=Scope.of_accounts(["a"])).healed == 1
    assert [row[0] for row in spells(settings) if row[-1] is None] == [None]


def test_a_run_over_a_bucket_heals_what_is_in_it(settings: Settings) -> None:
    seen(settings, 1, PAID, ORPHAN)

    assert seen(settings, 2, scope=Scope.of_buckets(range(settings.bucket_count))).healed == 1
    assert seen(settings, 3, scope=Scope.of_buckets([-1])).healed == 1


def test_a_run_without_a_whole_store_heals_nothing(settings: Settings) -> None:
    seen(settings, 1, PAID)

    assert seen(settings, 2, sight=Sight(broken_stores=["stripe"])).healed == 0


def test_a_finding_of_an_indeterminate_account_is_not_healed_and_nobody_hears_that_it_is(settings: Settings) -> None:
    seen(settings, 1, PAID, STUCK, ORPHAN)

    indeterminate = pl.DataFrame({"account_id": ["a"]})
    assert seen(settings, 2, sight=Sight(indeterminate=indeterminate)).healed == 1
    assert open_findings(settings)["code"].to_list() == ["DUN_STUCK_AFTER_PAYMENT", PAID["code"]]
    assert "disagreement.resolved" not in [kind for account, kind, _ in told(settings) if account == "a"]


def test_a_run_about_an_earlier_instant_heals_nothing(settings: Settings) -> None:
    seen(settings, 5, PAID)

    assert seen(settings, 1).healed == 0


def test_runs_and_disagreements_are_kept_over_time(settings: Settings) -> None:
    seen(settings, 1, PAID, STUCK, ORPHAN)
    seen(settings, 2)

    assert runs_over_time(settings).select("run_id", "accounts_disagreeing", "findings").rows() == [
        ("run-1", 1, 3),
        ("run-2", 0, 0),
    ]
    assert disagreements_over_time(settings).select("run_id", "code", "store_a", "store_b", "findings").rows() == [
        ("run-1", "DUN_STUCK_AFTER_PAYMENT", "stripe", "subs_dunning", 1),
        ("run-1", "INV_PAID_STRIPE_OPEN_INTERNAL", "billing_prod", "stripe", 1),
        ("run-1", "MAP_ORPHAN_CUSTOMER", "billing_prod", "stripe", 1),
    ]


def test_a_finding_counts_for_each_pair_of_its_stores() -> None:
    three = finding("a", "X", stores=["c", "a", "b"])
    one = finding("b", "Y", stores=["a"])
    none = finding("c", "Z", stores=[], is_settling=True)

    pairs = by_store_pair(pl.DataFrame([three, one, none], schema=FINDINGS))

    assert pairs.select("code", "store_a", "store_b", "findings", "settling").rows() == [
        ("X", "a", "b", 1, 0),
        ("X", "a", "c", 1, 0),
        ("X", "b", "c", 1, 0),
        ("Y", "a", "a", 1, 0),
        ("Z", "none", "none", 1, 1),
    ]


def test_accounts_disagree_by_what_is_firm_and_grave_enough() -> None:
    rows = [
        finding("a", "X"),
        finding("a", "Y", severity="S3"),
        finding("b", "X", severity="S4"),
        finding("c", "X", is_settling=True),
        finding("d", "X", is_suppressed=None),
        finding(None, "X"),
    ]

    assert count_disagreeing(pl.DataFrame(rows, schema=FINDINGS)) == 1


def test_what_an_apply_queued_is_taken_by_the_next_audit_over_it(settings: Settings) -> None:
    sql(
        settings,
        """INSERT INTO trueup.audit_queue (account_id, plan_id, reason, queued_at)
           VALUES ('a', 'p', 'moved', now()), ('b', 'p', 'moved', now())""",
    )
    assert queued_accounts(settings) == {"a", "b"}

    seen(settings, 1, scope=Scope.of_accounts(["a"]))

    assert queued_accounts(settings) == {"b"}


def test_what_is_remembered_of_an_account_can_be_read_back(settings: Settings) -> None:
    seen(settings, 1, PAID)

    history = history_of(settings, "a")

    assert history["spells"].select("code", "seen_count").rows() == [(PAID["code"], 1)]
    assert history["events"]["type"].to_list() == ["disagreement.detected"]
    assert history["entries"].is_empty()
