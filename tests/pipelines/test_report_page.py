"""The page of a report: what stands first, what is not counted, and what it must not need."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipelines.cli.report_page import ACCOUNTS_MAX, page
from trueup.audit.breakdown import COLUMNS, at_stake, by_severity, not_counted
from trueup.audit.report import Report, ages_of
from trueup.contract.schemas import FINDINGS, STORES
from trueup.drift import CODES

AS_OF = datetime(2026, 11, 20, 12, tzinfo=UTC)


def findings(*rows: dict[str, Any]) -> pl.DataFrame:
    """Findings of `INV_PAID_STRIPE_OPEN_INTERNAL`, unless a row says otherwise."""
    usual = {
        "account_id": "a1",
        "code": "INV_PAID_STRIPE_OPEN_INTERNAL",
        "severity": "S1",
        "owner": "A2 invoices",
        "object_id": "in_1",
        "is_settling": False,
        "is_suppressed": False,
    }
    schema = {name: FINDINGS[name] for name in COLUMNS}
    return pl.DataFrame([{**dict.fromkeys(COLUMNS), **usual, **row} for row in rows], schema=schema)


def report(found: pl.DataFrame, wholeness: str = "whole") -> Report:
    runs = {"number": [1], "as_of": [AS_OF], "accounts": [1000], "accounts_disagreeing": [1], "findings": [1]}
    by_code = {"number": [1], "as_of": [AS_OF], "code": ["MAP_MISSING"], "category": ["identity"], "severity": ["S1"]}
    seen = [{"code": "MAP_MISSING", "severity": "S1", "owner": "A1", "first_seen_at": AS_OF - timedelta(days=3)}]
    return Report(
        scope="fleet",
        wholeness=wholeness,
        runs=pl.DataFrame({**runs, "broken": [""]}),
        by_code=pl.DataFrame({**by_code, "owner": ["A1"], "accounts": [1], "findings": [1]}),
        ages=ages_of(pl.DataFrame(seen, schema_overrides=FINDINGS), AS_OF),
        matrix=pl.DataFrame([{"store_a": a, "store_b": b, "accounts": 1} for a in STORES for b in STORES]),
        findings=found,
    )


def test_the_gravest_code_stands_first_whatever_the_alphabet_says() -> None:
    found = findings({"code": "DUN_LEDGER_COPY_MISMATCH", "severity": "S3"}, {"code": "MAP_DANGLING"})

    assert by_severity(found)["code"].to_list() == ["MAP_DANGLING", "DUN_LEDGER_COPY_MISMATCH"]


def test_an_object_with_two_findings_is_at_stake_once_and_currencies_stay_apart() -> None:
    found = findings(
        {"at_stake_minor": 500, "at_stake_currency": "usd"},
        {"code": "INV_AMOUNT_MISMATCH", "at_stake_minor": 700, "at_stake_currency": "usd"},
        {"object_id": "in_2", "at_stake_minor": 900, "at_stake_currency": "eur"},
        {"object_id": "in_3", "at_stake_minor": 900, "at_stake_currency": "eur", "is_suppressed": True},
    )
    expected = [("eur", 900, 1), ("usd", 700, 1)]

    assert expected == at_stake(found).rows()


def test_a_suppressed_finding_is_shown_as_suppressed_and_not_among_what_is_open() -> None:
    found = findings({"is_suppressed": True}, {"account_id": "a2", "is_settling": True})
    html = page(report(found))

    assert by_severity(found).is_empty()
    assert not_counted(found)["why"].to_list() == ["settling", "suppressed"]
    assert "Not counted" in html
    assert "Suppressed: a store that it depends on" in html


def test_the_accounts_of_a_code_can_be_copied_one_a_line() -> None:
    html = page(report(findings({"account_id": "a2"}, {"account_id": "a1"})))

    assert "<pre>a1\na2</pre>" in html
    assert "2 findings · 2 accounts" in html


def test_a_code_is_explained_in_words() -> None:
    assert "The customer paid, and we do not know." in page(report(findings({})))


@pytest.mark.parametrize(
    ("wholeness", "words"),
    [("whole", "Every store was read whole."), ("not whole: stripe", "Cannot tell for all: not whole: stripe.")],
)
def test_the_page_says_whose_number_it_is_and_whether_it_is_whole(wholeness: str, words: str) -> None:
    html = page(report(findings({}), wholeness))

    assert "Scope: fleet." in html
    assert words in html


def test_a_page_of_every_code_with_many_accounts_stays_under_a_megabyte() -> None:
    accounts = [f"acc_{number:08d}" for number in range(ACCOUNTS_MAX + 100)]
    found = findings(*({"code": code, "account_id": account} for code in CODES for account in accounts))
    html = page(report(found))

    assert len(html.encode()) < 1_000_000
    assert "and 100 more in findings.parquet" in html


def test_the_page_runs_no_script_and_names_no_address() -> None:
    html = page(report(findings({"account_id": "<script>"})))

    assert "<script" not in html
    assert "src=" not in html
    assert "&lt;script&gt;" in html
