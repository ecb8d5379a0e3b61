"""The screen on a pipe: whatever reads it finds ids and commands in one piece."""

from __future__ import annotations

import pytest

from pipelines.cli.screen import show_rows
from pipelines.cli.terminal import wide_console


def test_an_id_in_a_wide_table_is_one_word_on_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    row = {f"column_{number}": f"{'x' * 60}{number}" for number in range(8)}
    show_rows(wide_console(), "Rows", [row], tuple(row))

    assert list(row.values()) == capsys.readouterr().out.splitlines()[2].split()


def test_a_command_in_a_sentence_is_one_line_on_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = f"To approve it, once it was looked at: trueup approve {'0' * 200} --key FILE"
    wide_console().print(sentence)

    assert capsys.readouterr().out == f"{sentence}\n"
