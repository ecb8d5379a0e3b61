"""Masking: what leaves this machine of a text that somebody else wrote."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.contract.masking import (
    TEXT_CHARACTERS,
    describe_value,
    described,
    mask_text,
    masked,
    passes_luhn,
    without_addresses,
)

CARD = "4242424242424242"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("insufficient_funds", "insufficient_funds"),
        ("call jo@example.com now", "call (e-mail address) now"),
        (f"card {CARD} declined", "card (number withheld) declined"),
        ("4242 4242-4242 4242", "(number withheld)"),
        ("order 4242424242424241", "order 4242424242424241"),  # fails the check digit: an order, not a card
        ("in 2026-11-28 12:30", "in 2026-11-28 12:30"),
        ("two\nlines\tand\x00more", "two lines and more"),
    ],
)
def test_addresses_and_card_numbers_are_masked_and_the_rest_is_kept(text: str, expected: str) -> None:
    assert mask_text(text) == expected


def test_a_long_text_is_clipped() -> None:
    assert mask_text("x" * 500) == "x" * (TEXT_CHARACTERS - 1) + "…"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("asleep", "(a code, 6 characters, #ea51ae)"),
        (CARD, "(a card-like number, 16 characters, #477bba)"),
        ("jo@example.com", "(an e-mail address, 14 characters, #f4e19d)"),
        ("-5", "(a number, 2 characters, #37aa1c)"),
        (" ", "(blank, 1 characters, #36a9e7)"),
        ("Mars/Olympus", "(a text, 12 characters, #74a57a)"),
    ],
)
def test_a_value_is_described_by_class_length_and_hash(value: str, expected: str) -> None:
    assert describe_value(value) == expected


def test_the_check_digit_is_that_of_card_numbers() -> None:
    assert passes_luhn("79927398713")
    assert not passes_luhn("79927398710")
    assert not passes_luhn("")


def test_columns_are_masked_as_single_texts_are_and_null_stays_null() -> None:
    texts = ["jo@example.com", None, CARD, "plain", "x" * 500]
    frame = pl.DataFrame({"text": texts})

    shown = frame.select(
        masked=masked(pl.col("text")), described=described(pl.col("text")), key=without_addresses(pl.col("text"))
    )

    assert shown["masked"].to_list() == [None if text is None else mask_text(text) for text in texts]
    assert shown["described"].to_list() == [None if text is None else describe_value(text) for text in texts]
    assert shown["key"].to_list() == ["(e-mail address)", None, CARD, "plain", "x" * 500]


@given(st.text(), st.text())
def test_no_card_number_and_no_address_survives_whatever_stands_around_it(before: str, after: str) -> None:
    text = f"{before} {CARD} jo@example.com {after}"

    for shown in (mask_text(text), describe_value(text)):
        assert CARD not in shown
        assert "jo@example.com" not in shown


@given(st.text())
def test_a_column_masks_what_a_single_text_masks(text: str) -> None:
    frame = pl.DataFrame({"text": [text]}, schema={"text": pl.String})

    assert mask_text(frame.select(masked(pl.col("text"))).item()) == mask_text(text)
