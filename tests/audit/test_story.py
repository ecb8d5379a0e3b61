"""Story: one sentence that names the two sides, the stuck event and who mends it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from trueup.audit.story import root_of, side_by_side, story_of


def finding(code: str, observed: dict[str, Any], **values: Any) -> dict[str, Any]:
    desired = values.pop("desired", None)
    return {
        "code": code,
        "object_id": None,
        "owner": "A2 invoices",
        "is_root": True,
        "is_suppressed": False,
        "is_settling": False,
        **values,
        "observed": orjson.dumps(observed).decode(),
        "desired": orjson.dumps(desired).decode() if desired else None,
    }


PAID = finding(
    "INV_PAID_STRIPE_OPEN_INTERNAL",
    {"stripe": {"status": "paid"}, "billing_prod": {"status": "open"}},
    object_id="in_1",
)
STUCK = finding(
    "EVT_STUCK",
    {"subs_dunning": {"status": "stuck", "attempts": 5, "received_at": "2026-11-22 10:00:00+00:00"}},
    object_id="evt_1",
    owner="A3 recompute",
    is_root=False,
)


def test_the_sentence_names_both_sides_the_stuck_event_and_who_mends_it() -> None:
    expected = (
        "INV_PAID_STRIPE_OPEN_INTERNAL of in_1: Stripe says paid, billing_prod says open; "
        "evt_1 is stuck since 22 November 2026; A2 invoices mends it."
    )

    assert expected == story_of("good_standing", [STUCK, PAID])


def test_what_a_plan_corrects_is_not_sent_to_an_owner() -> None:
    wrong = finding(
        "DUN_STATE_MISMATCH", {"subs_dunning": {"state": "retrying"}}, desired={"state": "suspended"}, owner="A3"
    )
    expected = "DUN_STATE_MISMATCH: subs_dunning says retrying, it should be suspended; a plan corrects it."

    assert expected == story_of("suspended", [wrong])


def test_a_store_that_does_not_know_an_object_says_so() -> None:
    lost = finding(
        "INV_MISSING_INTERNAL", {"billing_prod": {"is_known": False}, "stripe": {"status": "open"}}, object_id="in_2"
    )

    assert "billing_prod does not know it, Stripe says status open" in story_of("retrying", [lost])


def test_an_account_without_findings_agrees() -> None:
    assert story_of("good_standing", []) == "Nothing disagrees: every store agrees with good_standing."


def test_a_finding_that_counts_is_told_before_a_root_that_does_not() -> None:
    hidden = {**PAID, "is_suppressed": True}

    assert root_of([hidden, STUCK]) is STUCK


@pytest.mark.parametrize(
    ("flag", "why"), [("is_suppressed", "a store it depends on is not whole"), ("is_settling", "changed too recently")]
)
def test_what_is_not_counted_is_said_to_be_so(flag: str, why: str) -> None:
    assert why in story_of(None, [{**PAID, flag: True}])


def test_fields_that_differ_stand_first_side_by_side() -> None:
    unequal = finding(
        "INV_STATUS_MISMATCH",
        {"stripe": {"currency": "usd", "status": "void"}, "billing_prod": {"currency": "usd", "status": "open"}},
    )
    expected = [
        {"field": "status", "stripe": "void", "billing_prod": "open"},
        {"field": "currency", "stripe": "usd", "billing_prod": "usd"},
    ]

    assert expected == side_by_side(unequal)
