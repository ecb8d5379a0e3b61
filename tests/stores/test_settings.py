"""Settings: every fault at once, nothing secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from trueup.stores.errors import SettingsError
from trueup.stores.settings import DATABASES, NEEDS, Settings, libpq_url, load_settings, sqlalchemy_url

ENVIRONMENT = {
    "TRUEUP_CF_PROD_URL": "postgresql://reader:hunter2@db:5432/cf_prod",
    "TRUEUP_BILLING_PROD_URL": "postgres://reader:hunter2@db/billing_prod",
    "TRUEUP_SUBS_API_URL": "postgresql+psycopg2://reader:hunter2@/subs_api?host=/run/postgres",
    "TRUEUP_STRIPE_API_KEY": "sk_test_hunter2",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.usefixtures("environment")
def test_any_spelling_of_an_address_becomes_sqlalchemys() -> None:
    settings = load_settings()

    assert {make_url(settings.url(d)).drivername for d in DATABASES} == {"postgresql+psycopg"}
    assert make_url(settings.subs_api_url).query["host"] == "/run/postgres"
    assert make_url(settings.cf_prod_url).password == "hunter2"


@pytest.mark.usefixtures("environment")
def test_the_writer_is_the_reader_unless_told() -> None:
    assert load_settings().subs_api_writer_url == load_settings().subs_api_url


def test_a_writer_of_its_own_is_kept(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TRUEUP_SUBS_API_WRITER_URL", "postgresql://writer@db/subs_api")

    assert make_url(load_settings().subs_api_writer_url).username == "writer"


@pytest.mark.usefixtures("environment")
def test_nothing_shows_a_password() -> None:
    settings = load_settings()

    shown = f"{settings!r} {settings} {[settings.shown(database) for database in DATABASES]}"
    assert "hunter2" not in shown
    assert "reader:***@" in settings.shown("cf_prod")


def test_every_fault_is_named_at_once_and_no_value_is_repeated(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TRUEUP_CF_PROD_URL", "mysql://reader:hunter2@db/cf_prod")
    environment.setenv("TRUEUP_BILLING_PROD_URL", "no address:hunter2")
    environment.setenv("TRUEUP_BUCKET_COUNT", "63")
    environment.setenv("TRUEUP_SETTLE_MINUTES", "soon")
    environment.delenv("TRUEUP_STRIPE_API_KEY")

    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert [fault.split(" ")[0].rstrip(":") for fault in caught.value.faults] == [
        "TRUEUP_CF_PROD_URL",
        "TRUEUP_BILLING_PROD_URL",
        "TRUEUP_BUCKET_COUNT",
        "TRUEUP_SETTLE_MINUTES",
        "TRUEUP_STRIPE_API_KEY",
    ]
    assert "hunter2" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("need", NEEDS)
def test_only_what_is_needed_must_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, need: str) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError) as caught:
        load_settings([need])
    assert len(caught.value.faults) == 1
    assert load_settings(()).bucket_count == 16


def test_a_settings_file_fills_in_and_the_environment_wins(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "trueup.toml").write_text('bucket_count = 8\nsettle_minutes = 1\nhome = "state"\n')
    environment.setenv("TRUEUP_SETTLE_MINUTES", "7")
    settings = load_settings()

    assert (settings.bucket_count, settings.settle_minutes, settings.home) == (8, 7, tmp_path / "state")


def test_a_setting_that_does_not_exist_is_refused_by_name(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del environment
    (tmp_path / "trueup.toml").write_text("buckets = 8\n")

    with pytest.raises(SettingsError, match="no setting called buckets"):
        load_settings()


def test_a_settings_file_that_is_not_toml_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del environment
    (tmp_path / "trueup.toml").write_text("bucket_count = \n")

    with pytest.raises(SettingsError, match=r"trueup\.toml"):
        load_settings()


def test_a_settings_file_that_is_named_must_be_there(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("TRUEUP_SETTINGS", str(tmp_path / "gone.toml"))

    with pytest.raises(SettingsError, match=r"gone\.toml"):
        load_settings()


def test_the_state_folder_is_in_the_project_unless_told(environment: pytest.MonkeyPatch) -> None:
    project = Path(__file__).parents[2]

    assert load_settings().home == project / ".trueup"
    environment.setenv("TRUEUP_HOME", "elsewhere")
    assert load_settings().home == Path.cwd() / "elsewhere"


def test_a_lake_is_in_the_state_folder_or_wherever_it_is_told() -> None:
    assert Settings(home=Path("/srv/trueup")).lake_uri == "/srv/trueup/lake"
    assert Settings(lake="s3://bucket/lake").lake_uri == "s3://bucket/lake"


def test_odd_characters_in_a_password_survive_the_translation() -> None:
    address = "postgresql://reader:p%40ss%2Fw%3Ard%25@db/cf_prod"

    assert make_url(sqlalchemy_url(address)).password == "p@ss/w:rd%"
    assert make_url(libpq_url(sqlalchemy_url(address))).password == "p@ss/w:rd%"


def test_the_key_is_a_secret() -> None:
    assert Settings(stripe_api_key=SecretStr("sk_live_1")).model_dump()["stripe_api_key"] != "sk_live_1"
