"""Settings: every fault at once, nothing secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from trueup.stores.errors import SettingsError
from trueup.stores.settings import DATABASES, NEEDS, Settings, libpq_url, load_settings, sqlalchemy_url
from trueup.stores.settings_page import PAGE, settings_page

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


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("REDIS_URL", "redis://host:99999/0", "has a port that is no number from 1 to 65535"),
        ("REDIS_URL", "redis://host:6379/first", "names a database that is no number"),
        ("REDIS_URL", "http://host:6379/0", "is not an address"),
        ("WEBHOOK_URL", "https://host:70000/hook", "has a port that is no number from 1 to 65535"),
        ("WEBHOOK_URL", "host/hook", "is not an address"),
        ("STRIPE_API_KEY", "sk_test_ hunter2", "is not a key of Stripe"),
        ("STRIPE_API_KEY", "sk_test_hunter2\n", "is not a key of Stripe"),
        ("STRIPE_API_KEY", "sk_test_hunter2\u00fc", "is not a key of Stripe"),
        ("STRIPE_API_BASE", "no address", "is not an address"),
        ("STRIPE_API_BASE", "http://:12111", "is not an address"),
        ("POLICY", "/", "is a folder, not a file"),
        ("HOME", "/proc/trueup", "is a folder that cannot be written"),
    ],
)
def test_what_cannot_work_is_refused_at_once(environment: pytest.MonkeyPatch, name: str, value: str, what: str) -> None:
    environment.setenv(f"TRUEUP_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert caught.value.exit_code == 2
    assert [fault.startswith(f"TRUEUP_{name} {what}") for fault in caught.value.faults] == [True], caught.value.faults
    assert "hunter2" not in str(caught.value)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("address", ["redis://:p%40ss@host/0", "rediss://host:6380", "unix:///run/redis.sock?db=1"])
def test_addresses_of_redis_that_work_are_taken(environment: pytest.MonkeyPatch, address: str) -> None:
    environment.setenv("TRUEUP_REDIS_URL", address)

    assert load_settings().redis_url == address


def test_a_home_that_cannot_be_written_leaves_the_doctor_working(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TRUEUP_HOME", "/proc/trueup")

    assert load_settings(is_home_needed=False).home == Path("/proc/trueup")


def test_the_page_of_settings_is_complete() -> None:
    remake = "run python -m trueup.stores.settings_page"

    assert PAGE.read_text(encoding="utf-8") == settings_page(), remake
    assert all(f"`TRUEUP_{name.upper()}`" in settings_page() for name in Settings.model_fields)
