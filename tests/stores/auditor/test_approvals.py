"""Keys and approvers: who may approve, as the file says it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from trueup.correction.limits import ApproverLimits
from trueup.stores.auditor.approvals import limits_of
from trueup.stores.auditor.approvers import approver_toml, load_approvers
from trueup.stores.auditor.keys import KeyUnusable, is_signed, new_key, read_key, read_or_make_key, write_key
from trueup.stores.auditor.pins import new_approver
from trueup.stores.errors import SettingsError
from trueup.stores.settings import Settings

NEEDS_DATABASES = ("subs_api",)


def test_a_key_is_readable_by_its_owner_only_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ada.pem"
    write_key(path, new_key())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(KeyUnusable, match="exists already"):
        write_key(path, new_key())
    assert list(path.parent.iterdir()) == [path]


def test_what_a_key_signed_is_its_own_and_of_this_message_only() -> None:
    key, other = new_key(), new_key()
    signature = key.sign(b"message")

    assert is_signed(key.public, signature, b"message")
    assert not is_signed(key.public, signature, b"massage")
    assert not is_signed(other.public, signature, b"message")
    assert not is_signed(key.public, "no base64", b"message")
    assert not is_signed("short", signature, b"message")
    assert repr(key) == f"SigningKey(public={key.public!r})"


def test_a_file_without_an_ed25519_key_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("not a key")

    for wrong in (path, tmp_path):
        with pytest.raises(KeyUnusable, match="no Ed25519 private key"):
            read_key(wrong)
    with pytest.raises(KeyUnusable, match="there is no key file"):
        read_key(tmp_path / "absent.pem")


def test_the_auditors_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "auditor.pem"

    assert read_or_make_key(path).public == read_or_make_key(path).public


def test_a_new_approver_is_enrolled_where_the_file_can_be_written(settings: Settings, tmp_path: Path) -> None:
    approver, is_enrolled = new_approver(settings, "ada", tmp_path / "ada.pem")

    assert is_enrolled
    listed = load_approvers(settings.approvers_file)
    assert listed.of_key(read_key(tmp_path / "ada.pem").public) == approver
    assert approver.role == "person"
    with pytest.raises(SettingsError, match="called ada already"):
        new_approver(settings, "ada", tmp_path / "other.pem")


def test_a_name_is_quoted_as_toml_wants_it(settings: Settings, tmp_path: Path) -> None:
    approver, _ = new_approver(settings, 'Ada "the\\Countess" Lövelace', tmp_path / "ada.pem")

    assert load_approvers(settings.approvers_file).listed == (approver,)
    assert approver_toml(approver).startswith("[[approvers]]\nname = ")


def test_an_approver_has_limits_of_their_own(settings: Settings, tmp_path: Path) -> None:
    new_approver(settings, "ada", tmp_path / "ada.pem")
    with settings.approvers_file.open("a") as file:
        file.write("limits.max_accounts = 10\nlimits.max_suspensions_share = 0.01\n")

    (ada,) = load_approvers(settings.approvers_file).listed

    assert ada.own_limits == ApproverLimits(max_accounts=10, max_suspensions_share=0.01)


def test_the_auditors_of_other_machines_approve_nothing(settings: Settings, tmp_path: Path) -> None:
    auditor, _ = new_approver(settings, "elsewhere", tmp_path / "auditor.pem", role="auditor")

    listed = load_approvers(settings.approvers_file)

    assert listed.auditor_keys == {auditor.public_key}
    assert listed.of_key(auditor.public_key) is None


def test_no_file_lists_nobody(tmp_path: Path) -> None:
    assert load_approvers(tmp_path / "absent.toml").listed == ()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[[approvers", "is not TOML"),
        ("[[approvers]]\nname = 'ada'\n", "public_key: Field required"),
        ("[[approvers]]\nname = 'ada'\npublic_key = 'short'\n", "public_key: String should have at least 44"),
        (f"[[approvers]]\nname = 'ada'\npublic_key = '{'A' * 43}='\nrole = 'king'\n", "role: Input should be"),
        (f"[[approvers]]\nname = 'ada'\npublic_key = '{'A' * 43}='\nlimits.max_fun = 1\n", "no limit called max_fun"),
        (2 * f"[[approvers]]\nname = 'ada'\npublic_key = '{'A' * 43}='\n", "ada is listed more than once"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_faults(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "approvers.toml"
    path.write_text(content)

    with pytest.raises(SettingsError, match=fault):
        load_approvers(path)


def test_a_file_that_anyone_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "approvers.toml"
    path.write_text("")
    path.chmod(0o666)

    with pytest.raises(SettingsError, match="may be written by anyone"):
        load_approvers(path)


def test_policy_keys_are_off_unless_they_are_turned_on(settings: Settings) -> None:
    assert not limits_of(settings).is_policy_key_allowed
