"""Every code has a meaning that a stranger can read, said once."""

from __future__ import annotations

from trueup.drift.codes import CODES
from trueup.drift.describe import WITHOUT_RULE, described_codes
from trueup.drift.find import RULES


def test_every_code_is_described_by_one_sentence() -> None:
    described = {row["code"]: row["meaning"] for row in described_codes()}

    assert list(described) == list(CODES)
    assert [code for code, meaning in described.items() if len(meaning) < 20 or not meaning.endswith((".", ")"))] == []


def test_a_code_with_a_rule_is_described_by_it_alone() -> None:
    assert set(WITHOUT_RULE) & set(RULES) == set()
    assert set(WITHOUT_RULE) | set(RULES) == set(CODES)
