"""Settings: where the six stores are, and how the auditor is to behave around them.

They come from the environment (`TRUEUP_…`, as docs/contract/STORES.md names them) or from a file, `trueup.toml` in the
working folder or the one that TRUEUP_SETTINGS names, with the same names in lower case and without the prefix; the
environment wins. Every fault is named at once. How billing behaves is the policy's business (`trueup.engine.policy`),
not this file's.

Nothing here prints a password: addresses are left out of `repr`, and `shown` gives them with the password starred.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from trueup.stores.errors import SettingsError
from trueup.stores.scope import BUCKETS_MAX

Database = Literal["cf_prod", "billing_prod", "subs_api"]
DATABASES: Final[tuple[Database, ...]] = ("cf_prod", "billing_prod", "subs_api")
NEEDS: Final = (*DATABASES, "stripe")  # what a command may need; most need all four

_PROBE_BYTES: Final = 4096
MEMORY_GB: Final = 3.0  # ten million accounts need more than 1, and no more than this

_PREFIX: Final = "TRUEUP_"
_DRIVER: Final = "postgresql+psycopg"
_SCHEMES: Final = ("postgresql", "postgres")
_ENVIRONMENT_OF: Final = {
    "cf_prod": "TRUEUP_CF_PROD_URL",
    "billing_prod": "TRUEUP_BILLING_PROD_URL",
    "subs_api": "TRUEUP_SUBS_API_URL",
    "stripe": "TRUEUP_STRIPE_API_KEY",
}
_WAY_OUT: Final = (
    "Set them in the environment or in trueup.toml (the same names in lower case, without TRUEUP_). "
    "An address looks like postgresql://reader:password@host:5432/cf_prod. `trueup doctor` checks them."
)


class Settings(BaseSettings):
    """All settings, with their defaults. Addresses are stored as SQLAlchemy takes them (`postgresql+psycopg://…`)."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    cf_prod_url: str = Field(
        default="",
        repr=False,
        description="Address of database cf_prod, as postgresql://reader:password@host:5432/cf_prod.",
    )
    billing_prod_url: str = Field(default="", repr=False, description="Address of database billing_prod.")
    subs_api_url: str = Field(
        default="", repr=False, description="Address of database subs_api, with the login that reads."
    )
    subs_api_writer_url: str = Field(
        default="",
        repr=False,
        description="Address of subs_api with the login that applies plans; the reading one if unset.",
    )
    stripe_api_key: SecretStr = Field(
        default=SecretStr(""), description="Stripe's key: a restricted one that only reads."
    )
    stripe_api_base: str | None = Field(
        default=None, description="Another address than Stripe's, for a sandbox; unset in production."
    )
    stripe_requests_per_second: float = Field(
        default=25.0,
        gt=0,
        description="Stripe's limit for one endpoint; four times that over all. Four fifths of it are used.",
    )
    stripe_concurrency: int = Field(
        default=8,
        ge=1,
        le=100,
        description="Requests to Stripe at once. At a quarter of a second each, twenty use the whole rate.",
    )
    stripe_timeout_seconds: float = Field(
        default=30.0, gt=0, description="For one response of Stripe, from its first byte to its last."
    )
    stripe_give_up_seconds: float = Field(
        default=60.0,
        gt=0,
        description="For one request to Stripe with all its tries; after it the reading ends with exit code 4.",
    )

    home: Path = Field(
        default_factory=lambda: project_root() / ".trueup",
        description="The state folder: lake, Dagster home, approvers, demo databases. Default: .trueup in the project.",
    )
    lake: str = Field(
        default="",
        description="A folder or an object-store address for what was read, run by run. Default: lake in TRUEUP_HOME.",
    )
    policy: Path | None = Field(default=None, description="The policy file. Default: the shipped one.")
    approvers: Path | None = Field(
        default=None, description="The approvers' file. Default: approvers.toml in TRUEUP_HOME."
    )

    dagster_pg_url: str = Field(
        default="",
        repr=False,
        description="Where Dagster's runs, events and schedules are stored; unset: an embedded server in TRUEUP_HOME.",
    )
    dagster_storage: Literal["postgres", "sqlite"] = Field(
        default="postgres", description="`sqlite` stores them in files of TRUEUP_HOME instead."
    )

    lake_memory_gb: float = Field(
        default=MEMORY_GB, gt=0, description="Memory of a commit to the lake; the rest goes to disk."
    )
    bucket_count: int = Field(
        default=16, ge=1, le=BUCKETS_MAX, description="Buckets of the fleet, fixed by the first audit."
    )
    accounts_at_once: int = Field(default=250_000, ge=1, description="A larger fleet is judged bucket by bucket.")
    dask_scheduler: str | None = Field(
        default=None, description="tcp://host:8786: whose workers judge the buckets of a large fleet."
    )
    settle_minutes: int = Field(
        default=5, ge=0, description="Rows changed within so many minutes count as recently changed."
    )
    max_age_hours: float = Field(default=24.0, gt=0, description="A store that was read longer ago than this is stale.")
    disagreeing_share_max: float = Field(
        default=0.05, gt=0, description="Above this share of disagreeing accounts a check of the run fails."
    )
    connect_timeout_seconds: int = Field(default=10, ge=1, description="For connecting to a database.")

    webhook_url: str | None = Field(default=None, repr=False, description="Where `trueup relay` posts the outbox.")
    webhook_secret: SecretStr | None = Field(
        default=None, description="The secret that signs what it posts (Standard Webhooks)."
    )
    redis_url: str | None = Field(
        default=None, repr=False, description="Or the Redis whose stream it adds the outbox to, as redis://host:6379/0."
    )
    redis_stream: str = Field(default="trueup", description="The name of that stream.")
    relay_attempts: int = Field(default=5, ge=1, description="Refusals of one event before it is put aside.")
    relay_timeout_seconds: float = Field(default=10.0, gt=0, description="For one delivery.")

    # The gate's limits come in pairs, a share of the fleet and a count (trueup.correction.gate.Limits).
    plan_max_share: float = Field(
        default=0.25, ge=0, le=1, description="The gate: the largest share of the fleet that a plan may change."
    )
    plan_max_accounts: int = Field(
        default=10_000, ge=0, description="The gate: the most accounts that a plan may change."
    )
    plan_max_suspensions_share: float = Field(
        default=0.05, ge=0, le=1, description="The gate: the largest share of the fleet that a plan may newly suspend."
    )
    plan_max_suspensions: int = Field(
        default=1_000, ge=0, description="The gate: the most accounts that a plan may newly suspend."
    )
    plan_small_accounts: int = Field(
        default=25, ge=0, description="The gate: up to so many accounts a share says nothing."
    )
    source_max_shrink_share: float = Field(
        default=0.20,
        ge=0,
        le=1,
        description="The gate: the largest share of a table's rows that may be gone since the last run.",
    )
    source_max_shrink_rows: int = Field(
        default=10, ge=0, description="The gate: up to so many rows gone, a share says nothing."
    )
    policy_key_allowed: bool = Field(
        default=False,
        description="Whether a key without a person may approve small plans that take access from nobody.",
    )
    policy_key_max_share: float = Field(
        default=0.01, ge=0, le=1, description="The largest share of the fleet that such a key may change."
    )
    policy_key_max_accounts: int = Field(
        default=100, ge=0, description="The most accounts that such a key may change in one plan."
    )
    policy_key_max_accounts_per_hour: int = Field(
        default=1_000, ge=0, description="The most that all such keys may change in an hour."
    )
    approvals_needed: int = Field(
        default=1, ge=1, description="Approvals that a plan needs, by different keys and identities."
    )
    two_keys_above_accounts: int | None = Field(
        default=None, ge=0, description="A plan of more accounts needs two persons; unset: never."
    )
    as_of_age_max_hours: float = Field(
        default=1.0,
        gt=0,
        description="A plan whose instant is older than this is for looking only, and the gate refuses it.",
    )
    identity: str | None = Field(
        default=None,
        description="Who makes plans: a login or a service's identity. Default: the login that runs the command.",
    )
    apply_wait_seconds: float = Field(default=30.0, ge=0, description="How long an apply waits for another one.")
    apply_batch_accounts: int = Field(default=500, ge=1, description="Accounts in one transaction of an apply.")
    apply_lock_timeout_seconds: float = Field(
        default=5.0, gt=0, description="How long a transaction of an apply waits for a row's lock."
    )

    @field_validator("cf_prod_url", "billing_prod_url", "subs_api_url", "subs_api_writer_url", "dagster_pg_url")
    @classmethod
    def _is_postgres_address(cls, value: str) -> str:
        return sqlalchemy_url(value) if value else value

    @field_validator("home")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("policy", "approvers")
    @classmethod
    def _is_a_file_path(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        path = value.expanduser().absolute()
        if path.is_dir():
            raise ValueError(f"is a folder, not a file: {path}")
        return path

    @field_validator("stripe_api_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if not all("!" <= character <= "~" for character in key):
            raise ValueError("is not a key of Stripe: it holds a space, a line break or a character outside ASCII")
        return value

    @field_validator("stripe_api_base", "webhook_url")
    @classmethod
    def _is_http_address(cls, value: str | None) -> str | None:
        return None if value is None else checked_address(value, ("http", "https"))

    @field_validator("redis_url")
    @classmethod
    def _is_redis_address(cls, value: str | None) -> str | None:
        if value is None or value.startswith("unix://"):
            return value
        database = urlsplit(checked_address(value, ("redis", "rediss"))).path.strip("/")
        if database and not database.isdecimal():
            raise ValueError("names a database that is no number; it should look like redis://host:6379/0")
        return value

    @model_validator(mode="before")
    @classmethod
    def _writer_and_lake_default(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic hands over what it was given
        if not isinstance(values, dict):
            return values
        values = dict(values)
        values["subs_api_writer_url"] = values.get("subs_api_writer_url") or values.get("subs_api_url", "")
        return values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, settings_file())

    @property
    def lake_uri(self) -> str:
        """Where the lake's tables are: a folder or an object-store address."""
        return self.lake or str(self.home / "lake")

    @property
    def approvers_file(self) -> Path:
        return self.approvers or self.home / "approvers.toml"

    def url(self, database: Database) -> str:
        """The database's address, as SQLAlchemy takes it."""
        addresses = {"cf_prod": self.cf_prod_url, "billing_prod": self.billing_prod_url, "subs_api": self.subs_api_url}
        return addresses[database]

    def shown(self, database: Database) -> str:
        """The database's address for people: its password starred."""
        return make_url(self.url(database)).render_as_string(hide_password=True) if self.url(database) else "(not set)"


def load_settings(needs: Collection[str] = NEEDS, *, is_home_needed: bool = True) -> Settings:
    """The settings from the environment and the settings file.

    Args:
        needs: which of `NEEDS` must be set; a command that never talks to Stripe leaves it out.
        is_home_needed: whether the state folder must be one that can be written; only `trueup doctor` can do without.

    Raises:
        SettingsError: naming every fault at once.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        faults = [*_faults(error), *_missing_in_environment(error, needs)]
        raise SettingsError(faults, _WAY_OUT) from None
    except ValueError as error:  # the file is not TOML
        raise SettingsError([f"{settings_file()}: {error}"], "Mend the file, or move it away.") from error
    faults = [f"{_ENVIRONMENT_OF[need]} is not set" for need in NEEDS if need in needs and not _is_set(settings, need)]
    if is_home_needed and (why := why_not_writable(settings.home)):
        faults.append(f"TRUEUP_HOME {why}")
    if faults:
        raise SettingsError(faults, _WAY_OUT)
    return settings


def bucket_count_at_load() -> int:
    """How many buckets the fleet has, for what must know it before any command: the default where settings are faulty.

    The faults are reported by the command or the run that needs the settings.
    """
    try:
        return load_settings(()).bucket_count
    except SettingsError:
        return int(Settings.model_fields["bucket_count"].default)


def why_not_writable(folder: Path) -> str:
    """Why the folder, or the nearest one above it that exists, cannot be written; empty if it can.

    A file is really written there, since rights alone say nothing of a full or a read-only disk; it has no name, so
    nothing is left of it.
    """
    above = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with TemporaryFile(dir=above) as file:
            file.write(b"0" * _PROBE_BYTES)
            file.flush()
    except OSError as error:
        return f"is a folder that cannot be written: {above} ({error.strerror})"
    return ""


def settings_file() -> Path:
    """The settings file: TRUEUP_SETTINGS, else trueup.toml in the working folder. It need not exist."""
    named = os.environ.get(f"{_PREFIX}SETTINGS")
    if named and not Path(named).expanduser().is_file():
        raise SettingsError([f"TRUEUP_SETTINGS names {named}, which is not a file"], "Name a file that exists.")
    return Path(named).expanduser() if named else Path("trueup.toml")


def project_root() -> Path:
    """The folder that holds pyproject.toml; the working folder where the packages are installed apart from it."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def sqlalchemy_url(address: str) -> str:
    """Any way to write a PostgreSQL address, as SQLAlchemy's with psycopg 3.

    Text is asked for in UTF-8: of a database without an encoding (SQL_ASCII), psycopg would otherwise give bytes.
    """
    url = _parsed(address).set(drivername=_DRIVER)
    if "client_encoding" not in url.query:
        url = url.update_query_dict({"client_encoding": "utf8"})
    return url.render_as_string(hide_password=False)


def libpq_url(address: str) -> str:
    """The same address as libpq takes it, for psycopg and ADBC."""
    return _parsed(address).set(drivername="postgresql").render_as_string(hide_password=False)


def checked_address(address: str, schemes: Sequence[str]) -> str:
    """An address over the network, as it was given.

    Raises:
        ValueError: it has another scheme, no host, or no possible port; its words never repeat the address.
    """
    looks = f"it should look like {schemes[0]}://host:port/path"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError(f"has a port that is no number from 1 to 65535; {looks}") from None
    if parts.scheme not in schemes or not parts.hostname or any(c.isspace() for c in address):
        raise ValueError(f"is not an address; {looks}")
    if port == 0:
        raise ValueError(f"has a port that is no number from 1 to 65535; {looks}")
    return address


def _parsed(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # the driver's message repeats the address, password and all
        raise ValueError("is not an address; it should look like postgresql://user:password@host:5432/name") from None
    if url.drivername.split("+")[0] not in _SCHEMES:
        raise ValueError(f"is an address of {url.drivername}, not of postgresql")
    return url


def _is_set(settings: Settings, need: str) -> bool:
    given = {
        "cf_prod": settings.cf_prod_url,
        "billing_prod": settings.billing_prod_url,
        "subs_api": settings.subs_api_url,
        "stripe": settings.stripe_api_key.get_secret_value(),
    }
    return bool(given[need])


def _faults(error: ValidationError) -> list[str]:
    faults = error.errors(include_input=False, include_url=False)
    return [_fault(str(fault["loc"][0]) if fault["loc"] else "", fault["type"], fault["msg"]) for fault in faults]


def _fault(name: str, kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return f"{settings_file()}: there is no setting called {name}"
    reason = message.removeprefix("Value error, ")
    return (
        f"{_PREFIX}{name.upper()} {reason}"
        if reason.startswith(("is ", "has ", "names "))
        else f"{_PREFIX}{name.upper()}: {reason}"
    )


def _missing_in_environment(error: ValidationError, needs: Collection[str]) -> list[str]:
    """What is needed and absent, named along with what is wrong; a setting that is wrong is not absent."""
    wrong = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
    given = {name.lower() for name in os.environ if os.environ[name]}
    names = [_ENVIRONMENT_OF[need] for need in NEEDS if need in needs]
    in_file = set(TomlConfigSettingsSource(Settings, settings_file())())
    absent = [n for n in names if n.lower() not in given and n.removeprefix(_PREFIX).lower() not in wrong | in_file]
    return [f"{name} is not set" for name in absent]
