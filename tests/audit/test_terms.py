"""Terms: what a run may be asked, and what is refused before any store is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from trueup.audit.terms import parse_instant, read_account_ids
from trueup.stores.errors import SettingsError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", "2026-03-01 12:00:00+00:00"])
def test_an_instant_with_an_offset_is_read(text: str) -> None:
    assert parse_instant(text, NOW) == NOW


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Tuesday", "is not an instant"),
        ("2026-03-01T12:00:00", "no offset"),
        ("2026-03-01", "no time of day"),
        ("20260301", "no time of day"),
        ("2026-03-01T12:00:01Z", "lies in the future"),
        ("9999-12-31T23:59:59-12:00", "lies in the future"),
        ("0001-01-01T00:00:00Z", "lies before everything"),
        ("0001-01-01", "no time of day"),
        ("0001-01-01T00:00:00+14:00", "lies before everything"),
    ],
)
def test_what_is_no_past_instant_is_refused_with_the_form_it_should_have(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        parse_instant(text, NOW)


def test_a_byte_order_mark_is_no_part_of_an_account(tmp_path: Path) -> None:
    (tmp_path / "accounts").write_bytes(b"\xef\xbb\xbfa1\r\n# a comment\r\n\r\na2\r\n")

    assert list(read_account_ids(str(tmp_path / "accounts"))) == ["a1", "a2"]


@pytest.mark.parametrize("content", [b"a1\na\x002\n", b"a\x1b[2K\n"])
def test_a_control_character_in_an_accounts_file_is_named_by_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "accounts").write_bytes(content)

    with pytest.raises(SettingsError, match="holds a control character"):
        read_account_ids(str(tmp_path / "accounts"))


@pytest.mark.parametrize("content", [b"", b"# nobody\n", b"\xff\xfe\x00"])
def test_a_file_without_accounts_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "accounts").write_bytes(content)

    with pytest.raises(SettingsError):
        read_account_ids(str(tmp_path / "accounts"))
