"""One invoice under all of the rules of docs/contract/DUNNING.md, in either view.

Everything that depends on facts alone is worked out once, as of T; everything that depends on the day is a question
with `today` as its argument. So recomputing an invoice day by day from the facts of T is asking again with another day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from tests.model.attempts import Attempt
from tests.model.calendar import Span, held_days, local_date
from tests.model.facts import Facts, Row
from tests.model.money import ENDED, Money
from tests.model.payment_method import Instrument


@dataclass
class Invoice:
    """An invoice of one view with what was known of it at T.

    `collected_by`: the Stripe invoice whose retryability, instrument and schedule hold for it (itself in the Stripe
    view, the same invoice in the internal view, none when Stripe does not know it).
    """

    row: Row
    money: Money
    owed: bool
    attempts: list[Attempt]
    instrument: Instrument
    subscription: Row | None
    holds: list[Span]
    disputes: list[Span]
    flights: list[Span]
    notice_sent_at: datetime | None
    facts: Facts = field(repr=False)
    policy: Any = field(repr=False)
    timezone: str
    stripe_row: Row | None
    collected_by: Invoice | None = None

    # What it is.

    @property
    def object_id(self) -> str:
        return str(self.row.get("stripe_invoice_id") or self.row["invoice_id"])

    @property
    def outstanding(self) -> int:
        return self.money.outstanding

    @property
    def is_reopened(self) -> bool:
        return self.owed and self.money.reversal_at is not None

    @property
    def is_charged_off(self) -> bool:
        return self.owed and self.money.status == "uncollectible"

    @cached_property
    def counted(self) -> list[Attempt]:
        """Failed attempts that used up a cycle, in order of time."""
        return sorted(
            (attempt for attempt in self.attempts if attempt.is_counted(self.money.reversal_at)),
            key=lambda attempt: attempt.at,
        )

    @property
    def failed_count(self) -> int:
        return len(self.counted)

    # Rule 5: the clock.

    def clock_on(self, today: date) -> date | None:
        clock = self._own_clock(today)
        if self.is_charged_off:
            known = [day for day in (clock, self._local(self.row["uncollectible_at"])) if day is not None]
            return min(known, default=None)
        return clock

    def _own_clock(self, today: date) -> date | None:
        if self.money.reversal_at is not None:
            return self._reversed_on
        if self.row["collection_method"] == "send_invoice":
            return self._due_on
        if self._attempt_due_on is None or today < self._attempt_due_on:
            return self._failed_on
        return self._attempt_due_on if self._failed_on is None else min(self._failed_on, self._attempt_due_on)

    @cached_property
    def _reversed_on(self) -> date | None:
        return self._local(self.money.reversal_at)

    @cached_property
    def _due_on(self) -> date | None:
        return self._local(self.row["due_at"])

    @cached_property
    def _failed_on(self) -> date | None:
        return self._local(self.counted[0].at) if self.counted else None

    @cached_property
    def _attempt_due_on(self) -> date | None:
        """The day by which somebody should have tried; a clock only once it is reached."""
        finalized_on = self._local(self.facts.past(self.row["finalized_at"]))
        return None if finalized_on is None else finalized_on + timedelta(days=self.policy.no_attempt_days)

    def is_late(self, today: date) -> bool:
        clock = self.clock_on(today)
        if clock is None:
            return False
        if self.row["collection_method"] == "send_invoice" and self.money.reversal_at is None:
            return clock < today
        return clock <= today

    # Rule 6: the age.

    def age_days(self, today: date) -> int | None:
        clock = self.clock_on(today)
        return None if clock is None else self._age(clock, today)

    def _age(self, clock: date, day: date) -> int:
        return (day - clock).days - held_days([*self.holds, *self.disputes, *self.flights], clock, day)

    def is_held(self, today: date) -> bool:
        return any(span.is_running_on(today) for span in self.holds)

    def is_disputed(self, today: date) -> bool:
        return any(span.is_running_on(today) for span in self.disputes)

    def is_in_flight(self, today: date) -> bool:
        return any(span.is_running_on(today) for span in self.flights)

    # Rule 8: can it be retried?

    def is_retryable(self, today: date) -> bool:
        if self.collected_by is not None and self.collected_by is not self:
            return self.collected_by.is_retryable(today)
        return self.money.status == "open" and not self.obstacles(today)

    def obstacles(self, today: date) -> list[str]:
        """What keeps an open invoice from being retried, in the words of the reasons."""
        found = []
        if self.row["collection_method"] == "send_invoice":
            found.append("send_invoice")
        if self.instrument.is_unusable(today):
            found.append("hard_decline" if self.instrument.is_unusable_hard(today) else "customer_action")
        if self.collected_by is None:
            return found
        if self.instrument.payment_method_id is None:
            found.append("no_payment_method")
        if self.instrument.needs_mandate and not self.instrument.has_active_mandate:
            found.append("mandate_inactive")
        if self.subscription is not None and self.subscription["status"] in ENDED:
            found.append("subscription_ended")
        if self.subscription is not None and self.subscription["status"] == "paused":
            found.append("subscription_paused")
        if self.row["auto_advance"] is False:
            found.append("auto_advance_off")
        return found

    # Rule 9: cycles.

    def cycles_used(self, today: date) -> int:
        clock = self.clock_on(today)
        if clock is None:
            return self.failed_count
        if not self.is_retryable(today):
            return max(self.failed_count, self._used(self._age(clock, today)))
        came_on = self._local(self.instrument.came_at)
        if came_on is not None and came_on > clock:
            return max(self.failed_count, self._used(self._age(clock, came_on)))
        return self.failed_count

    def _used(self, age: int) -> int:
        """The first attempt, and one more for each cumulative offset that the age has reached."""
        used, cumulative = 1, 0
        for offset in self.policy.retry_offsets_days:
            cumulative += offset
            used += cumulative <= age
        return used

    def is_exhausted(self, today: date) -> bool:
        if self.cycles_used(today) >= attempts_allowed(self.policy):
            return True
        return self.policy.retry_owner == "stripe" and self._has_stripe_given_up()

    def _has_stripe_given_up(self) -> bool:
        return (
            self.money.status == "open"
            and self.row["collection_method"] == "charge_automatically"
            and self.stripe_row is not None
            and self.stripe_row["attempted"] is True
            and self.stripe_row["next_payment_attempt_at"] is None
        )

    # Rule 10: the rung.

    def rung(self, today: date) -> int:  # noqa: PLR0911 - one answer per line of the rule, first match
        policy = self.policy
        if not self.owed:
            return 0
        if self.is_charged_off:
            return 5
        clock = self.clock_on(today)
        if clock is None or not self.is_late(today):
            return 0
        if policy.hard_decline == "immediate_suspend" and self.instrument.is_unusable_hard(today):
            return 4
        age = self._age(clock, today)
        if age < policy.grace_days:
            return 1
        is_exhausted = self.is_exhausted(today)
        if is_exhausted and age >= policy.bad_debt_days:
            return 5
        if is_exhausted and age >= policy.suspend_min_days and self._has_notice(clock, today):
            return 4
        attempts_left = attempts_allowed(policy) - self.cycles_used(today)
        if (
            is_exhausted
            or not self.is_retryable(today)
            or attempts_left <= policy.final_attempts_left
            or age >= policy.final_notice_days
        ):
            return 3
        return 2

    def _has_notice(self, clock: date, today: date) -> bool:
        if not self.policy.require_final_notice:
            return True
        sent_on = self._local(self.notice_sent_at)
        return sent_on is not None and sent_on >= clock and (today - sent_on).days >= self.policy.min_notice_days

    # Outputs that a driver gives its account.

    def next_retry_at(self, today: date) -> datetime | None:
        is_waiting = self.is_held(today) or self.is_disputed(today) or self.is_in_flight(today)
        if self.money.status != "open" or not self.is_retryable(today) or self.is_exhausted(today):
            return None
        if is_waiting or self.failed_count < 1:
            return None
        offset = self.policy.retry_offsets_days[self.failed_count - 1]
        due_at = self.counted[-1].at + timedelta(hours=24 * offset)
        came_at = self.instrument.came_at
        return due_at if came_at is None else max(due_at, came_at)

    def reasons(self, today: date) -> set[str]:
        """Why a driver counts; its rung is above 0."""
        found = {"charged_off" if self.is_charged_off else "past_due"}
        if self.is_reopened:
            found.add("reopened")
        if self.is_exhausted(today) and not self.is_charged_off:
            found.add("exhausted")
        if self.is_held(today):
            found.add("held")
        if self.is_disputed(today):
            found.add("disputed")
        if self.is_in_flight(today):
            found.add("in_flight")
        if self.money.status == "open" and not self.is_retryable(today):
            found.update(self.obstacles(today))
        return found

    def _local(self, instant: datetime | None) -> date | None:
        return None if instant is None else local_date(instant, self.timezone)


def attempts_allowed(policy: Any) -> int:
    return 1 + len(policy.retry_offsets_days)
