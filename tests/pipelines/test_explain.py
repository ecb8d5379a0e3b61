"""Explain: the account's answer, every rule in order, and what is account_history of it; now and as of a past day."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import polars as pl
import pytest

from tests.pipelines.conftest import Lab


def test_an_explanation_goes_from_what_the_stores_say_to_the_planned_change(lab: Lab) -> None:
    assert lab.fleet is not None
    account = lab.fleet.planted.filter(code="DUN_STUCK_AFTER_PAYMENT")["account_id"][0]
    lab.trueup("audit")
    code, told = lab.answer("explain", account)

    assert code == 0
    assert told["answer"]["state"] == "good_standing"
    assert [rule["number"] for rule in told["account_rules"]] == [1, 2, 3, 4, 5]
    assert {"cf_prod", "billing_prod", "subs_dunning", "stripe"} <= set(told["stores"])
    assert "DUN_STUCK_AFTER_PAYMENT" in {finding["code"] for finding in told["findings"]}
    assert {"column": "state", "after": '"good_standing"'}.items() <= next(
        change.items() for change in told["changes"] if change["column"] == "state"
    )
    assert told["history"]["spells"]


def test_an_owed_invoice_is_told_by_ten_rules_whose_last_is_the_state(lab: Lab) -> None:
    assert lab.fleet is not None
    account = lab.fleet.known.filter(~pl.col("is_planted"), pl.col("state") == "retrying")["account_id"][0]
    _, told = lab.answer("explain", account)
    driver = next(i for i in told["invoices"] if i["invoice_id"] == told["answer"]["driver_invoice_id"])

    assert [rule["number"] for rule in driver["rules"]] == list(range(1, 11))
    assert driver["rules"][-1]["answer"].startswith("retrying: it can be tried again")


def test_no_personal_data_is_in_an_explanation(lab: Lab) -> None:
    assert lab.trueup("explain", "acc_00000002") == 0

    said = lab.output.readouterr().out
    assert "example.invalid" not in said  # the domain of every address in the fleet
    assert re.search(r"[\w.+-]+@[\w-]+\.\w", said) is None


@pytest.mark.slow
def test_a_past_instant_is_explained_from_the_lake(lab: Lab) -> None:
    lab.trueup("audit")
    _, told = lab.answer("explain", "acc_00000002", "--as-of", datetime.now(UTC).isoformat())

    assert told["source"].startswith("from the lake")


def test_an_instant_before_the_first_audit_is_told_from_what_the_stores_say_now(lab: Lab) -> None:
    _, told = lab.answer("explain", "acc_00000002", "--as-of", "2026-10-01T00:00:00Z")

    assert told["source"] == "read now"
    assert told["as_of"].startswith("2026-10-01")
