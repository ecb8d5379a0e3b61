"""Every command with every kind of bad argument: exit 2 (or 3, 4), one message with the way out, and never a trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli import run
from pipelines.cli.program import COMMANDS, EXIT_BUG

NUL_FILE = "accounts-with-nul"


@pytest.fixture(autouse=True)
def _addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Addresses at which nothing answers, and a home of the test's own: no command may need more to refuse nonsense."""
    for name in ("CF_PROD", "BILLING_PROD", "SUBS_API"):
        monkeypatch.setenv(f"TRUEUP_{name}_URL", "postgresql://nobody@127.0.0.1:9/nothing?connect_timeout=1")
    monkeypatch.setenv("TRUEUP_STRIPE_API_KEY", "sk_test_x")
    monkeypatch.setenv("TRUEUP_STRIPE_API_BASE", "http://127.0.0.1:9")
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / NUL_FILE).write_bytes(b"a\x00b\n")
    (tmp_path / "a-file").write_text("")


SCOPED = ("audit", "plan")
BAD_INSTANTS = ("Tuesday", "2999-01-01T00:00:00Z", "2026-03-01", "2026-03-01T00:00:00", "0001-01-01", "\x00", "")


@pytest.mark.parametrize("command", SCOPED)
@pytest.mark.parametrize(
    "arguments",
    [
        *(["--as-of", instant] for instant in BAD_INSTANTS if instant),
        ["--accounts", "a", "--bucket", "1"],
        ["--accounts", " , "],
        ["--bucket", "-1"],
        ["--bucket", "many"],
        ["--accounts-file", NUL_FILE],
        ["--accounts-file", "nowhere"],
        ["--accounts-file", "."],
        ["--no-such-option"],
        ["an argument too many"],
    ],
)
def test_a_scope_that_cannot_be_meant_is_refused_before_anything_is_asked(
    command: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, *arguments]) == 2

    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.err.strip()
    assert said.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit", "--out", "a-file"],
        ["audit", "--out", "a-file/below"],
        ["report", "--html", "."],
        ["explain"],
        ["explain", "acc", "--as-of", "tomorrow"],
        ["explain", "acc", "--as-of", "2999-01-01T00:00:00Z"],
        ["keys", "new"],
        ["keys", "new", "--name", "", "--out", "k"],
        ["keys", "new", "--name", "two\nlines", "--out", "k"],
        ["keys", "new", "--name", "ada", "--out", "."],
        ["keys", "new", "--name", "ada", "--out", "a-file/k"],
        ["keys", "new", "--name", "ada", "--out", "k", "--role", "king"],
        ["approve"],
        ["approve", "x", "--key", "nowhere"],
        ["approve", "x", "--key", "a-file"],
        ["stop"],
        ["resume", "--reason"],
        ["plans", "--limit", "0"],
        ["demo", "--accounts", "1"],
        ["demo", "--accounts", "100", "--drift", "99"],
        ["sandbox", "--port", "65536"],
        ["ui", "--port", "0"],
        ["init-db", "--role-reader", "r", "--role-writer", "r"],
        ["relay", "--replay", "not-an-id"],
        ["no-such-command"],
    ],
)
def test_wrong_use_of_any_command_is_said_in_a_message(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2

    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    assert len(said.err.strip()) > 10


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plans"], 4),
        (["show", "x"], 4),
        (["report"], 4),
        (["verify-log"], 4),
        (["stop", "--reason", "r"], 4),
        (["reject", "x"], 4),
        (["apply", "x"], 4),
        (["doctor"], 2),
    ],
)
def test_stores_out_of_reach_are_no_bug(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == code

    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_says_what_it_is_for(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0

    assert len(capsys.readouterr().out) > 80


def test_a_reader_who_goes_away_ends_nothing_badly() -> None:
    script = f"set -o pipefail; {sys.executable} -m pipelines.cli codes --json | head -c 10; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=120)

    assert ended.stdout.endswith("0\n")
    assert ended.stderr == ""


def test_a_full_disk_behind_standard_output_is_said_and_is_no_bug() -> None:
    script = f"{sys.executable} -m pipelines.cli codes --json > /dev/full"
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=120)

    assert ended.returncode not in {0, EXIT_BUG}
    assert "Traceback" not in ended.stderr
