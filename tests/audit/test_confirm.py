"""Confirming: what two readings say together."""

from __future__ import annotations

import polars as pl
import pytest

from trueup.audit.confirm import Confirmed
from trueup.audit.judge import StoredJudgement
from trueup.contract.schemas import DESIRED, FINDINGS
from trueup.drift.implied import IMPLIED

ALL = pl.lit(True)


def judgement(states: dict[str, str], found: list[tuple[str | None, str, str | None]]) -> StoredJudgement:
    """A reading at accounts with these states, with these findings (account, code, object)."""
    desired = pl.DataFrame({"account_id": list(states), "state": list(states.values())})
    missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in DESIRED.items() if name not in desired.columns]
    rows = [
        {"account_id": account, "code": code, "object_id": object_id, "severity": "S1", "is_settling": False}
        | {"is_suppressed": False, "is_root": True}
        for account, code, object_id in found
    ]
    implied = pl.DataFrame({"account_id": list(states)}).with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in IMPLIED.items() if name != "account_id"
    )
    answers = desired.with_columns(missing).select(list(DESIRED))
    return StoredJudgement(answers.lazy(), implied.lazy(), pl.DataFrame(rows, schema=FINDINGS), facts={})


def of(
    first: StoredJudgement, second: StoredJudgement | None, accounts: list[str], customers: list[str] | None = None
) -> Confirmed:
    read_again = pl.col("account_id").is_in(accounts).fill_null(False) | (
        pl.col("account_id").is_null() & pl.col("object_id").is_in(customers or [])
    ).fill_null(False)
    return Confirmed(first, second, ALL, read_again)


def codes(confirmed: Confirmed) -> list[tuple[str | None, str]]:
    return confirmed.findings.select("account_id", "code").rows()


def test_a_disagreement_that_is_gone_at_the_second_look_was_none() -> None:
    first = judgement({"a": "grace", "b": "grace"}, [("a", "DUN_NOT_STARTED", None), ("b", "DUN_NOT_STARTED", None)])
    second = judgement({"a": "good_standing", "b": "grace"}, [("b", "DUN_NOT_STARTED", None)])
    confirmed = of(first, second, ["a", "b"])

    assert codes(confirmed) == [("b", "DUN_NOT_STARTED")]
    assert confirmed.desired.collect()["state"].to_list() == ["good_standing", "grace"]


def test_what_only_the_second_look_sees_is_not_confirmed_yet() -> None:
    first = judgement({"a": "grace"}, [("a", "DUN_NOT_STARTED", None)])
    second = judgement({"a": "grace"}, [("a", "DUN_NOT_STARTED", None), ("a", "ENT_OFF_WHEN_GOOD", None)])

    assert codes(of(first, second, ["a"])) == [("a", "DUN_NOT_STARTED")]


def test_accounts_that_were_not_looked_at_again_keep_their_first_answer() -> None:
    first = judgement({"a": "grace", "z": "retrying"}, [("a", "DUN_NOT_STARTED", None)])
    second = judgement({"a": "grace", "z": "suspended"}, [("a", "DUN_NOT_STARTED", None)])

    assert of(first, second, ["a"]).desired.collect()["state"].to_list() == ["grace", "retrying"]


def test_a_parent_that_came_along_is_not_reported() -> None:
    first = judgement({"child": "grace"}, [("child", "DUN_NOT_STARTED", None)])
    second = judgement(
        {"child": "grace", "parent": "grace"}, [("child", "DUN_NOT_STARTED", None), ("parent", "X", None)]
    )
    confirmed = of(first, second, ["child"])

    assert confirmed.desired.collect()["account_id"].to_list() == ["child"]
    assert codes(confirmed) == [("child", "DUN_NOT_STARTED")]


@pytest.mark.parametrize("is_still_there", [True, False])
def test_a_customer_without_an_account_is_confirmed_by_itself(is_still_there: bool) -> None:  # noqa: FBT001
    orphan = (None, "MAP_ORPHAN_CUSTOMER", "cus_1")
    second = judgement({}, [orphan] if is_still_there else [])

    assert len(codes(of(judgement({}, [orphan]), second, [], ["cus_1"]))) == int(is_still_there)
