"""Policy: every number and choice that decides a dunning state, as data.

A policy is one TOML file. It is validated whole: a file with five faults is refused with five faults named. Its
version is a hash of its content, so a result can always say which rules it came from. What a rule does with a number
is the business of the module that names the rule; this one only says which numbers there are and which make sense
together.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from trueup.contract.currencies import CURRENCIES
from trueup.contract.schemas import STATES
from trueup.contract.timezones import TIMEZONES

SHIPPED: Final = Path(__file__).with_name("policy.toml")

DeclineClass = Literal["hard", "customer_action", "soft", "gateway"]
StateName = Literal["good_standing", "grace", "retrying", "final_notice", "suspended", "bad_debt"]


class PolicyError(ValueError):
    """A policy that cannot be used: every fault at once, each with the field that holds it."""


def load_policy(path: Path | None = None) -> Policy:
    """Read a policy file, or the shipped one.

    Fields that the file leaves out take the defaults of the shipped policy. Raises PolicyError naming every fault.
    """
    source = path or SHIPPED
    try:
        document = tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PolicyError(f"There is no policy file {source}. Point TRUEUP_POLICY at one, or unset it.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"Policy file {source} is not TOML: {error}.") from error
    return parse_policy(document, str(source))


def parse_policy(document: dict[str, object], source: str = "the policy") -> Policy:
    """A policy from its document (field → value); raises PolicyError naming every fault."""
    faults: list[str] = []
    if "decline_codes" in document:
        document = {"decline_codes_version": "unversioned", **document}
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        faults = [_describe(fault["loc"], fault["msg"], fault.get("input")) for fault in error.errors()]
    faults += _contradictions(document)
    if faults:
        raise PolicyError(f"{source} has {len(faults)} fault(s):\n" + "\n".join(f"  - {fault}" for fault in faults))
    return policy


def _contradictions(document: dict[str, object]) -> list[str]:
    """What each field allows and the fields together do not: of the raw values, to be reported with the rest."""
    return [*_faults_of_days(document), *_faults_of_ladder(document.get("ladder"))]


def _faults_of_days(document: dict[str, object]) -> list[str]:
    days = {
        name: document.get(name, Policy.model_fields[name].default) for name in ("bad_debt_days", "suspend_min_days")
    }
    bad_debt, suspend = days["bad_debt_days"], days["suspend_min_days"]
    if isinstance(bad_debt, int) and isinstance(suspend, int) and bad_debt < suspend:
        return [f"bad_debt_days: {bad_debt} is below suspend_min_days {suspend}; bad debt would come before suspension"]
    return []


def _faults_of_ladder(ladder: object) -> list[str]:
    if not isinstance(ladder, list):
        return []
    states = [step.get("state") for step in ladder if isinstance(step, dict)]
    twice = sorted({state for state in states if states.count(state) > 1}, key=str)
    return [
        *([] if ladder else ["ladder: it has no step, so nobody would ever be dunned; leave it out to use the rungs"]),
        *(f"ladder: two steps for {state}; give each state once" for state in twice),
        *(
            ["ladder: a step for good_standing; it is what an account is in when no step holds"]
            * ("good_standing" in states)
        ),
    ]


@cache
def _shipped_document() -> dict[str, object]:
    return tomllib.loads(SHIPPED.read_text(encoding="utf-8"))


def _shipped(field: str) -> Any:  # noqa: ANN401 - a field of a TOML document is of any type; pydantic judges it
    return _shipped_document()[field]


def _describe(where: tuple[int | str, ...], message: str, value: object) -> str:
    field = ".".join(map(str, where)) or "policy"
    shown = "" if isinstance(value, dict | Policy) else f" (found {value!r})"
    return f"{field}: {message.removeprefix('Value error, ')}{shown}"


def _known_currencies(amounts: dict[str, int]) -> dict[str, int]:
    unknown = sorted(set(amounts) - CURRENCIES)
    if unknown:
        raise ValueError(f"no such currency: {', '.join(unknown)}; use lower-case ISO 4217 codes")
    return amounts


def _known_timezone(name: str) -> str:
    if name not in TIMEZONES:
        raise ValueError(f"no such timezone: {name}; use an IANA name such as Europe/Paris")
    return name


Days = Annotated[int, Field(ge=0, le=36_500)]
Offset = Annotated[int, Field(ge=1, le=3_650)]
Minor = Annotated[int, Field(ge=0)]
Amounts = Annotated[dict[str, Minor], AfterValidator(_known_currencies)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class InFlightMaxDays(_Data):
    """How long a payment may be on its way before it stops holding the clock."""

    card: Days = 1
    debit: Days = 14


class Conditions(_Data):
    """What must hold, all of it, for a step of a ladder."""

    unpaid_count_gte: Annotated[int, Field(ge=0)] | None = None
    balance_gte_minor: Amounts | None = None
    age_days_gte: Days | None = None
    tag_all: list[str] | None = None
    tag_none: list[str] | None = None
    last_decline_in: list[str] | None = None


class Step(_Data):
    """One step of a ladder: the state that an account is in when the conditions hold."""

    state: StateName
    when: Conditions

    @property
    def rank(self) -> int:
        return STATES.index(self.state)


class Policy(_Data):
    """The rules of one dunning regime. Spans are days, amounts are minor units of their currency."""

    livemode: bool = True
    grace_days: Days = 3
    retry_offsets_days: list[Offset] = [3, 5, 7]
    final_attempts_left: Days = 1
    final_notice_days: Days = 21
    suspend_min_days: Days = 0
    bad_debt_days: Days = 60
    no_attempt_days: Days = 3
    threshold_minor: Amounts = {"usd": 100, "eur": 100, "gbp": 100, "jpy": 100}
    tolerance_minor: Amounts = {}
    hard_decline: Literal["virtual_cycles", "immediate_suspend"] = "virtual_cycles"
    retry_owner: Literal["internal", "stripe"] = "internal"
    reopen_on_refund: Literal["never", "uncovered", "always"] = "never"
    reopen_on_lost_dispute: bool = False
    ended_subscription: Literal["owed", "exclude"] = "owed"
    in_flight_max_days: InFlightMaxDays = InFlightMaxDays()
    dispute_max_days: Days = 90
    require_final_notice: bool = False
    min_notice_days: Days = 3
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    decline_codes_version: str = Field(default_factory=lambda: str(_shipped("decline_codes_version")))
    decline_codes: dict[str, DeclineClass] = Field(default_factory=lambda: _shipped("decline_codes"))
    ladder: list[Step] | None = None

    @property
    def attempts_allowed(self) -> int:
        """The first attempt and its retries."""
        return 1 + len(self.retry_offsets_days)

    @property
    def cumulative_offsets_days(self) -> list[int]:
        """Days from the first attempt to each retry."""
        return list(accumulate(self.retry_offsets_days))

    @property
    def version(self) -> str:
        """A hash of the content: the same rules have the same version, whatever file they stand in."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]
