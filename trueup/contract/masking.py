"""Masking: what of a text that somebody else wrote may leave this machine.

A column that we must read can hold anything: a card number as decline code, an address as status. Two rules. A value
outside its enumeration is described (`describe_value`): its class and a short hash, enough to tell two values apart and
to find the row, never its text. Free text that is kept (`mask_text`) loses addresses and numbers that pass the Luhn
check (ISO/IEC 7812-1 annex B, read on 2026-11-28), its control characters and its excess length. Ids are neither: they
name rows. Which columns are free text or an enumeration is the business of whoever writes them out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final

import polars as pl

MASKED_ADDRESS: Final = "(e-mail address)"
MASKED_NUMBER: Final = "(number withheld)"

TEXT_CHARACTERS: Final = 200
"""How much of a free text is kept."""

# 24 bits tell two values of one report apart. They do not lead back to a card number: about sixty numbers of one issuer
# share each hash.
_HASH_DIGITS: Final = 6

_ADDRESS: Final = re.compile(r"[^\s@<>(),;:\"']+@[^\s@<>(),;:\"']+")
_NUMBER: Final = re.compile(r"\d(?:[ .\-/]?\d){11,}")
_LENGTHS: Final = range(12, 20)  # digits of a card number, by ISO/IEC 7812-1
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+")
_NEEDS_A_LOOK: Final = r"@|\d(?:[ .\-/]?\d){11,}|[\x00-\x1f\x7f-\x9f\x{2028}\x{2029}]"


def mask_text(text: str) -> str:
    """One line, clipped at `TEXT_CHARACTERS`, without addresses and without numbers that pass the Luhn check."""
    line = _UNPRINTABLE.sub(" ", text).strip()
    line = _ADDRESS.sub(MASKED_ADDRESS, line)
    line = _NUMBER.sub(lambda found: MASKED_NUMBER if has_card_number(found[0]) else found[0], line)
    return line if len(line) <= TEXT_CHARACTERS else line[: TEXT_CHARACTERS - 1] + "…"


def mask_addresses(text: str) -> str:
    """The text without addresses: for ids, which may well be numbers."""
    return _ADDRESS.sub(MASKED_ADDRESS, text)


def describe_value(value: str) -> str:
    """The class, length and short hash of a value that its column may not hold: `(a code, 7 characters, #1a2b3c)`."""
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return f"({_class_of(value)}, {len(value)} characters, #{digest})"


def passes_luhn(number: str) -> bool:
    """Whether the digits of a text satisfy the check digit of card numbers; no digits do not."""
    digits = [int(character) for character in number if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return bool(digits) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def has_card_number(digits: str) -> bool:
    """Whether some neighbouring groups of digits make a number as long as a card's that passes the Luhn check."""
    groups = re.findall(r"\d+", digits)
    joined = ("".join(groups[start:end]) for start in range(len(groups)) for end in range(start + 1, len(groups) + 1))
    return any(len(number) in _LENGTHS and passes_luhn(number) for number in joined)


def masked(column: pl.Expr) -> pl.Expr:
    """`mask_text` over a column of texts; only those that need it are taken out of Polars."""
    needs_a_look = column.str.contains(_NEEDS_A_LOOK) | (column.str.len_chars() > TEXT_CHARACTERS)
    return pl.coalesce(_each(pl.when(needs_a_look).then(column), mask_text), column)


def described(column: pl.Expr) -> pl.Expr:
    """`describe_value` over a column of texts; null stays null."""
    return _each(column, describe_value)


def without_addresses(column: pl.Expr) -> pl.Expr:
    """`mask_addresses` over a column of ids."""
    has_address = column.str.contains("@", literal=True)
    return pl.coalesce(_each(pl.when(has_address).then(column), mask_addresses), column)


def _each(column: pl.Expr, function: Callable[[str], str]) -> pl.Expr:
    return column.map_batches(lambda values: _by_distinct(values, function), return_dtype=pl.String())


def _by_distinct(values: pl.Series, function: Callable[[str], str]) -> pl.Series:
    """Python is called once for each distinct value: there is no Luhn check and no SHA-256 in Polars."""
    distinct = values.drop_nulls().unique()
    answers = {value: function(value) for value in distinct}
    return values.replace_strict(answers, default=None, return_dtype=pl.String())


def _class_of(value: str) -> str:
    if not value.strip():
        return "blank"
    if _ADDRESS.search(value):
        return "an e-mail address"
    if any(has_card_number(found[0]) for found in _NUMBER.finditer(value)):
        return "a card-like number"
    if value.strip().lstrip("+-").isdigit():
        return "a number"
    if _CODE.fullmatch(value):
        return "a code"
    return "a text"
