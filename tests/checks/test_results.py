"""Results of the checks: what passes, what fails, what cannot be told, and which numbers they give."""

from __future__ import annotations

import polars as pl
import pytest

from checks import contracts, disagreements, trend
from trueup.contract import VIOLATIONS
from trueup.contract.schemas import FINDINGS
from trueup.drift import AUDITED_CATEGORIES


def findings(*rows: tuple[str, str, str, bool]) -> pl.DataFrame:
    """account, code, severity, is_root."""
    return pl.DataFrame(
        [
            {"account_id": account, "code": code, "severity": severity, "is_root": is_root}
            | {"is_settling": False, "is_suppressed": False}
            for account, code, severity, is_root in rows
        ],
        schema=FINDINGS,
    )


def number(result: object, name: str) -> object:
    return result.metadata[name].value  # type: ignore[attr-defined]


def test_every_root_group_has_a_check() -> None:
    assert len(disagreements.GROUP_CHECKS) == len(AUDITED_CATEGORIES) == 8


def test_a_group_fails_by_its_roots_and_tells_its_findings_by_code() -> None:
    found = findings(
        ("a", "INV_PAID_STRIPE_OPEN_INTERNAL", "S1", True),
        ("a", "DUN_STUCK_AFTER_PAYMENT", "S1", False),
        ("b", "INV_AMOUNT_MISMATCH", "S1", True),
    )
    money, dunning = (disagreements.judge_group(found, group) for group in ("money", "dunning"))

    assert (money.passed, number(money, "root_accounts"), number(money, "INV_AMOUNT_MISMATCH")) == (False, 2, 1)
    assert (dunning.passed, number(dunning, "DUN_STUCK_AFTER_PAYMENT")) == (True, 1)


def test_a_settling_finding_fails_nothing() -> None:
    settling = findings(("a", "INV_AMOUNT_MISMATCH", "S1", True)).with_columns(is_settling=pl.lit(True))

    assert disagreements.judge_group(settling, "money").passed


@pytest.mark.parametrize(
    ("now", "before", "has_passed"),
    [
        (691, [], True),  # nothing to measure it against
        (110, [100, 102, 98, 101, 99], True),
        (150, [100, 102, 98, 101, 99], False),
        (12, [5, 5, 5, 5, 5], True),  # a handful more is no rise
        (16, [5, 5, 5, 5, 5], False),
        (100, [100, 102, 5000, 101, 99], True),  # one bad day does not move the measure
        (0, [100, 102, 98, 101, 99], True),
    ],
)
def test_a_rise_is_what_its_own_past_does_not_explain(now: int, before: list[int], *, has_passed: bool) -> None:
    assert trend.judge_rise(now, pl.Series(before, dtype=pl.Int64)).passed is has_passed


def test_a_store_without_faults_keeps_its_contract() -> None:
    assert contracts.judge_contract(pl.DataFrame(schema=VIOLATIONS)).passed


def test_broken_rows_are_named_by_table_key_and_rule() -> None:
    violation = {
        "store": "cf_prod",
        "table": "accounts",
        "key": "acc_1",
        "column": "currency",
        "rule": "is no currency",
    }
    result = contracts.judge_contract(pl.DataFrame([violation], schema=VIOLATIONS))

    assert not result.passed
    assert "accounts | acc_1 | currency | is no currency" in str(number(result, "rows"))
