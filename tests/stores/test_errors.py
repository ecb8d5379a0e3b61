"""Errors say what happened, where, and the way out, and never a secret."""

from __future__ import annotations

import pytest

from trueup.stores.errors import AccountUnknown, SettingsError, StoreUnreachable, TableMissing, without_password


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://reader:s3cret@db:5432/x", "postgresql://reader:***@db:5432/x"),
        ("postgresql+psycopg://reader:p%40ss@/x?host=/run", "postgresql+psycopg://reader:***@/x?host=/run"),
        ("postgresql://reader:a@b@db/x", "postgresql://reader:***@db/x"),
        ("redis://:s3cret@cache/0", "redis://:***@cache/0"),
        ("postgresql://db/x?user=reader&password=s3cret&sslmode=require", None),
        ("host=db password=s3cret dbname=x", "host=db password=*** dbname=x"),
        ("password='s3 cret' host=db", "password=*** host=db"),
        ("the key sk_live_abc123 is not taken", "the key sk_live_*** is not taken"),
        ("rk_test_abc123", "rk_test_***"),
        ("postgresql://reader@db/x", "postgresql://reader@db/x"),
        ("https://example.com/a:b@c", "https://example.com/a:b@c"),
    ],
)
def test_secrets_are_starred_and_the_rest_stays(text: str, expected: str | None) -> None:
    shown = without_password(text)

    assert shown == (expected or text.replace("s3cret", "***"))


def test_an_error_names_store_table_and_way_out() -> None:
    error = TableMissing("billing_prod", "there is no such table", "Check the address.", table="charges")

    assert str(error) == "billing_prod.charges: there is no such table\nCheck the address."
    assert error.exit_code == 4


def test_an_address_in_a_message_loses_its_password() -> None:
    error = StoreUnreachable("cf_prod", "no answer from postgresql://a:hunter2@db/x", "try postgresql://a:hunter2@db/x")

    assert "hunter2" not in str(error)


def test_settings_name_every_fault() -> None:
    assert "one" in str(SettingsError(["one", "two"], "mend"))
    assert "two" in str(SettingsError(["one", "two"], "mend"))


def test_unknown_accounts_are_listed_up_to_a_point_and_then_counted() -> None:
    error = AccountUnknown(f"acct_{number:02}" for number in range(25))

    assert "acct_09 and 15 more are in no store" in str(error)
    assert error.exit_code == 2
