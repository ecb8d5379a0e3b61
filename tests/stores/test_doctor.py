"""The doctor: one line for each thing, the mend beside what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.conftest import settings_for
from tests.stores.rows import as_role, session
from trueup.sandbox.stripe_api import StripeSandbox
from trueup.stores.auditor.provision import init_db
from trueup.stores.doctor import Diagnosis, diagnose
from trueup.stores.settings import Settings


@pytest.fixture(scope="module")
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as server:
        yield server


@pytest.fixture
def healthy(databases: dict[str, str], tmp_path: Path, sandbox: StripeSandbox) -> Settings:
    return settings_for(databases, tmp_path / "home").model_copy(
        update={"stripe_api_key": SecretStr(sandbox.api_key), "stripe_api_base": sandbox.base_url}
    )


def wrong(settings: Settings) -> dict[str, Diagnosis]:
    return {diagnosis.name: diagnosis for diagnosis in diagnose(settings) if not diagnosis.is_fine}


def test_a_healthy_set_up_has_nothing_wrong(healthy: Settings) -> None:
    diagnoses = diagnose(healthy)

    assert [d.name for d in diagnoses if not d.is_fine] == []
    assert {"cf_prod", "cf_prod.accounts", "schema trueup", "stripe", "policy", "approvers", "home"} <= {
        d.name for d in diagnoses
    }


def test_one_database_out_of_reach_hides_nothing_else(healthy: Settings, databases: dict[str, str]) -> None:
    with session(databases["subs_api"]) as owner:
        owner.execute("DROP TABLE subs_mandate")
    found = wrong(healthy.model_copy(update={"cf_prod_url": "postgresql://a:hunter2@127.0.0.1:1/cf_prod"}))

    assert {"cf_prod", "subs_api.subs_mandate"} <= set(found)
    assert "doctor" in found["cf_prod"].mend
    assert "hunter2" not in str(found)


def test_settings_that_are_not_there_are_named() -> None:
    found = wrong(Settings())

    assert found["cf_prod"].detail == "TRUEUP_CF_PROD_URL is not set"
    assert found["stripe"].detail == "TRUEUP_STRIPE_API_KEY is not set"


def test_without_the_auditors_schema_init_db_is_the_mend(bare_databases: dict[str, str], tmp_path: Path) -> None:
    bare = settings_for(bare_databases, tmp_path / "home")

    assert "init-db" in wrong(bare)["schema trueup"].mend


def test_a_column_of_a_newer_version_is_missed(healthy: Settings, databases: dict[str, str]) -> None:
    with session(databases["subs_api"]) as owner:
        owner.execute("ALTER TABLE trueup.outbox DROP COLUMN last_error")

    assert "outbox.last_error" in wrong(healthy)["schema trueup"].detail


def test_a_reader_as_writer_lacks_what_is_ours_to_write(healthy: Settings, databases: dict[str, str]) -> None:
    init_db(healthy, "doctor_reader", "doctor_writer")
    url = as_role(databases["subs_api"], "doctor_reader")
    found = wrong(healthy.model_copy(update={"subs_api_url": url, "subs_api_writer_url": url}))

    assert "it may not UPDATE subs_dunning.account_id" in found["writer: its columns"].detail


def test_the_two_roles_of_init_db_are_all_that_a_run_needs(healthy: Settings, databases: dict[str, str]) -> None:
    init_db(healthy, "doctor_reader", "doctor_writer")
    reader = {f"{name}_url": as_role(url, "doctor_reader") for name, url in databases.items()}
    writer = {"subs_api_writer_url": as_role(databases["subs_api"], "doctor_writer")}
    diagnoses = diagnose(healthy.model_copy(update=reader | writer))

    assert [d for d in diagnoses if not d.is_fine] == []
    past = next(d for d in diagnoses if d.name == "writer: the audit log's past")
    assert past.detail == "it cannot rewrite it"


def test_a_key_that_stripe_does_not_take(healthy: Settings) -> None:
    found = wrong(healthy.model_copy(update={"stripe_api_key": SecretStr("sk_test_wrong_key")}))

    assert "key" in found["stripe"].detail
    assert "sk_test_wrong_key" not in str(found)


def test_a_policy_that_cannot_be_used(healthy: Settings, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("grace_days = 'soon'\n")
    found = wrong(healthy.model_copy(update={"policy": tmp_path / "policy.toml"}))

    assert "grace_days" in found["policy"].detail


def test_an_approvers_file_that_cannot_be_used(healthy: Settings, tmp_path: Path) -> None:
    (tmp_path / "approvers.toml").write_text("[[approvers]]\nname = 'a'\n")
    found = wrong(healthy.model_copy(update={"approvers": tmp_path / "approvers.toml"}))

    assert "public_key" in found["approvers"].detail
