"""Refusals: every way in which the gate stays closed.

Each is a type of its own, since each has another way out, and carries the numbers that it was decided on. When they
are raised is the gate's business (`gate.py`), and writing them to the audit log that of `stores/`.
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_REFUSED: Final = 3


class Refusal(Exception):
    """The gate stays closed. `numbers` are what the decision was made on; `way_out` is what to do now."""

    exit_code: ClassVar[int] = EXIT_REFUSED

    others: tuple[Refusal, ...] = ()  # what else the gate would refuse it for, less grave

    def __init__(self, message: str, way_out: str, **numbers: object) -> None:
        self.message = message
        self.way_out = way_out
        self.numbers = numbers
        super().__init__(message)

    @property
    def name(self) -> str:
        return type(self).__name__

    def as_dict(self) -> dict[str, object]:
        """What the audit log and `--json` say of it."""
        return {"refusal": self.name, "message": self.message, "way_out": self.way_out, "numbers": self.numbers}

    def __str__(self) -> str:
        return f"{self.name}: {self.message}\n{self.way_out}"


class PlanNotApproved(Refusal):
    """Nobody approved it, or who did may not."""


class PlanExpired(Refusal):
    """It is older than its life."""


class PlanSuperseded(Refusal):
    """A newer plan covers an account of it."""


class PlanTampered(Refusal):
    """Its content does not match its id."""


class ApproverUnknown(Refusal):
    """It was signed with a key that the approvers' file does not list."""


class SignatureInvalid(Refusal):
    """The signature under it is not one of its id and manifest by the key it names."""


class PlanTooLarge(Refusal):
    """It changes more accounts than the limits allow."""


class TooManySuspensions(Refusal):
    """It takes access from more accounts than the limits allow."""


class SourceNotWhole(Refusal):
    """A blocking check of its run failed, or is missing."""


class WriteNotOwned(Refusal):
    """It would write a column that is not ours."""


class SourceShrank(Refusal):
    """A store returned far fewer rows than last time."""


class PlanNotOfNow(Refusal):
    """It reasons about another instant than the stores were read at: it is for looking only."""


class PlanMalformed(Refusal):
    """It holds a change that `trueup plan` never makes, so that what is counted is not what would be written."""


class HistoryTampered(Refusal):
    """The audit log is broken, or the plan rests on a row that it does not know."""


class ApplyBusy(Refusal):
    """Another apply held the lock for longer than this one waits."""


class KillSwitchOn(Refusal):
    """Somebody stopped all writing, or nothing says that nobody did."""
