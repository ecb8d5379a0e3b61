"""The account: which invoices decide, thresholds, state and driver, parents, exemption, indeterminacy, and the outputs.

`judge` answers for every account of a snapshot, in rows with the columns of `schemas.DESIRED` but `input_hash`, sorted
by account_id. A row says besides if a hold, dispute or flight is running (`is_held_up`), because the day of change is
exact only if none is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from tests.model import ladder
from tests.model.calendar import FOREVER, local_date
from tests.model.facts import Facts, Row, read
from tests.model.invoice import Invoice, attempts_allowed
from tests.model.views import internal_view, stripe_view
from trueup.contract.schemas import STATES

Result = dict[str, Any]


def judge(
    snapshot: Mapping[str, Any],
    policy: Any,
    as_of: datetime,
    *,
    violations: Iterable[Row] = (),
    broken_stores: frozenset[str] = frozenset(),
) -> list[Result]:
    """What every account's dunning state should be at `as_of`."""
    facts = Facts(read(snapshot), as_of)
    bench = Bench(facts, policy, list(violations), broken_stores)
    return [bench.result(account_id) for account_id in sorted(facts.accounts)]


class Bench:
    """Judges the accounts of one snapshot, each once."""

    def __init__(self, facts: Facts, policy: Any, violations: list[Row], broken_stores: frozenset[str]) -> None:
        self.facts = facts
        self.policy = policy
        self.broken_stores = broken_stores
        self.tables_with_violations: defaultdict[str | None, set[str]] = defaultdict(set)
        for violation in violations:
            if violation["is_needed"]:
                self.tables_with_violations[violation["account_id"]].add(violation["table"])
        self.customers_of: defaultdict[str, set[str]] = defaultdict(set)
        self.accounts_of: defaultdict[str, set[str]] = defaultdict(set)
        for row in facts.mappings:
            if row["livemode"] == policy.livemode:
                self.customers_of[row["account_id"]].add(row["stripe_customer_id"])
                self.accounts_of[row["stripe_customer_id"]].add(row["account_id"])
        self.judged: dict[str, Result] = {}
        broken = {row["object_id"] for row in violations if row["table"] == "stripe_invoices"}
        self.known_to_stripe = broken | set(facts.stripe_invoices)

    def result(self, account_id: str) -> Result:
        if account_id not in self.judged:
            self.judged[account_id] = self._result(account_id)
        return self.judged[account_id]

    def _result(self, account_id: str) -> Result:
        flags = self.facts.flags.get(account_id)
        if flags is not None and flags["dunning_exempt"]:
            return self._exempt(account_id)
        if self.facts.accounts[account_id]["parent_account_id"] is not None:
            return self._child(account_id)
        account = self.account(account_id)
        why = account.identity_trouble() | account.unknown_trouble(self.known_to_stripe)
        why |= self._store_trouble(self.tables_with_violations[account_id])
        return self._row(account_id, account.answer(), account.reasons(), why)

    def account(self, account_id: str) -> Account:
        """The account by its own invoices, whoever pays them."""
        row = self.facts.accounts[account_id]
        timezone = row["timezone"] or self.policy.timezone
        customers = self.customers_of[account_id]
        stripe = stripe_view(self.facts, account_id, customers, self.policy, timezone)
        return Account(
            policy=self.policy,
            today=local_date(self.facts.as_of, timezone),
            stripe=list(stripe.values()),
            internal=internal_view(self.facts, account_id, stripe, self.policy, timezone),
            customers=customers,
            is_sharing=any(len(self.accounts_of[customer]) > 1 for customer in customers),
            tags=ladder.tags_of(row),
        )

    def _child(self, account_id: str) -> Result:
        """A child takes its parent's result, if there is one to take; its own invoices do not count."""
        parent = self.facts.accounts.get(self.facts.accounts[account_id]["parent_account_id"])
        own_trouble = self._store_trouble(self.tables_with_violations[account_id] & OF_A_CHILD)
        if parent is None or parent["parent_account_id"] is not None:
            return self._row(account_id, Answer(), set(), {"parent_unresolved"} | own_trouble & {"source_not_whole"})
        taken = self.result(parent["account_id"])
        reasons = sorted({*taken["reasons"], "delegated", *own_trouble})
        result = {**taken, "account_id": account_id, "reasons": reasons}
        if own_trouble:
            result |= {"quality": "indeterminate", "bad_debt": None, "has_access": None}
        return result

    def _exempt(self, account_id: str) -> Result:
        return self._row(account_id, Answer(), {"exempt"}, set())

    def _store_trouble(self, tables_with_violations: set[str]) -> set[str]:
        why = set()
        if self.broken_stores:
            why.add("source_not_whole")
        if tables_with_violations:
            why.add("contract_violation")
        return why

    def _row(self, account_id: str, answer: Answer, reasons: set[str], why: set[str]) -> Result:
        """The output row; `why` says what makes it indeterminate."""
        return {
            "account_id": account_id,
            "state": STATES[answer.rank],
            "quality": "indeterminate" if why else "determinate",
            "reasons": sorted(reasons | why),
            "driver_invoice_id": answer.driver_invoice_id,
            "clock_started_on": answer.clock_started_on,
            "age_days": answer.age_days,
            "attempt_count": answer.attempt_count,
            "attempts_allowed": attempts_allowed(self.policy),
            "is_retryable": answer.is_retryable,
            "next_retry_at": answer.next_retry_at,
            "next_change_on": answer.next_change_on,
            "bad_debt": None if why else answer.rank == STATES.index("bad_debt"),
            "has_access": None if why else answer.rank <= STATES.index("final_notice"),
            "outstanding_minor": [
                {"currency": currency, "amount": amount} for currency, amount in sorted(answer.outstanding.items())
            ],
            "internal_state": STATES[answer.internal_rank],
            "policy_version": self.policy.version,
            "is_held_up": answer.is_held_up,
        }


OF_A_CHILD = frozenset({"accounts", "subs_account"})
"""The tables whose rows a child needs of its own; everything else it takes from its parent."""


@dataclass
class Answer:
    """What the rules say of an account; by default, that nothing counts."""

    rank: int = 0
    internal_rank: int = 0
    outstanding: Mapping[str, int] = field(default_factory=dict)
    driver_invoice_id: str | None = None
    clock_started_on: date | None = None
    age_days: int | None = None
    attempt_count: int = 0
    is_retryable: bool | None = None
    next_retry_at: datetime | None = None
    next_change_on: date | None = None
    is_held_up: bool = False  # a hold, dispute or flight is running: the engine may name an earlier day of change


@dataclass
class Account:
    """An account with both views of its own invoices, as of T."""

    policy: Any
    today: date
    stripe: list[Invoice]
    internal: list[Invoice]
    customers: set[str]
    is_sharing: bool
    tags: set[str]

    @property
    def deciding(self) -> list[Invoice]:
        """Stripe decides what Stripe collects; billing_prod decides what has no Stripe id."""
        return [*self.stripe, *(invoice for invoice in self.internal if invoice.row["stripe_invoice_id"] is None)]

    def answer(self) -> Answer:
        rank = self.rank(self.deciding, self.today)
        answer = Answer(
            rank=rank,
            internal_rank=self.rank(self.internal, self.today),
            outstanding=self._outstanding(self.deciding, self.today),
            next_change_on=self.next_change_on(),
            is_held_up=self.is_held_up(),
        )
        driver = self.driver()
        if driver is not None:
            answer.driver_invoice_id = driver.object_id
            answer.clock_started_on = driver.clock_on(self.today)
            answer.age_days = driver.age_days(self.today)
            answer.attempt_count = driver.failed_count
            answer.is_retryable = driver.is_retryable(self.today)
            answer.next_retry_at = driver.next_retry_at(self.today)
        return answer

    def reasons(self) -> set[str]:
        driver = self.driver()
        return set() if driver is None else driver.reasons(self.today)

    # The state.

    def rank(self, invoices: list[Invoice], today: date) -> int:
        return max((rung for _, rung in self._counting(invoices, today)), default=0)

    def driver(self) -> Invoice | None:
        """The invoice with the account's rung; of several, that with the earliest clock, then the smallest id."""
        counting = self._counting(self.deciding, self.today)
        rank = max((rung for _, rung in counting), default=0)
        return min(
            (invoice for invoice, rung in counting if rung == rank),
            key=lambda invoice: (invoice.clock_on(self.today) or FOREVER, invoice.object_id),
            default=None,
        )

    def _counting(self, invoices: list[Invoice], today: date) -> list[tuple[Invoice, int]]:
        """Invoices with a rung above 0, in currencies whose sum reaches its threshold."""
        sums = self._outstanding(invoices, today)
        return [
            (invoice, rung)
            for invoice, rung in self._rungs(invoices, today)
            if sums[invoice.row["currency"]] >= self.policy.threshold_minor.get(invoice.row["currency"], 0)
        ]

    def _outstanding(self, invoices: list[Invoice], today: date) -> dict[str, int]:
        sums: dict[str, int] = {}
        for invoice, _ in self._rungs(invoices, today):
            sums[invoice.row["currency"]] = sums.get(invoice.row["currency"], 0) + invoice.outstanding
        return sums

    def _rungs(self, invoices: list[Invoice], today: date) -> list[tuple[Invoice, int]]:
        """Invoices with their rungs above 0. A ladder given as data gives all that is unpaid one rung."""
        if self.policy.ladder is None:
            return [(invoice, rung) for invoice in invoices if (rung := invoice.rung(today)) > 0]
        decline = ladder.last_decline(self.deciding)
        rung = ladder.rank(self.policy.ladder, invoices, decline, self.tags, today)
        return [(invoice, rung) for invoice in invoices if rung > 0 and invoice.rung(today) > 0]

    # Can it be told?

    def identity_trouble(self) -> set[str]:
        """What is wrong with the mapping, if it matters: a Stripe-collected invoice is late and owed in either view."""
        collected = [*self.stripe, *(invoice for invoice in self.internal if invoice.row["stripe_invoice_id"])]
        if not any(invoice.owed and invoice.is_late(self.today) for invoice in collected):
            return set()
        why = set()
        if not self.customers:
            why.add("no_mapping")
        if len(self.customers) > 1:
            why.add("several_customers")
        if self.is_sharing:
            why.add("shared_customer")
        return why

    def unknown_trouble(self, known_to_stripe: set[str]) -> set[str]:
        """An invoice that Stripe is said to collect, late and owed by our books, and Stripe has never heard of it."""
        late = [bill for bill in self.internal if bill.owed and bill.is_late(self.today)]
        named = [bill.row["stripe_invoice_id"] for bill in late if bill.row["stripe_invoice_id"] is not None]
        return set() if known_to_stripe.issuperset(named) else {"unknown_to_stripe"}

    # Day by day.

    def is_held_up(self) -> bool:
        """Something runs today, or ends later, that holds the clock of an invoice that is owed."""
        return any(
            span.last >= self.today
            for invoice in self.deciding
            if invoice.owed
            for span in (*invoice.holds, *invoice.disputes, *invoice.flights)
        )

    def next_change_on(self) -> date | None:
        """The first day after today on which the state differs, recomputed day by day from the facts of T."""
        owed = [invoice for invoice in self.deciding if invoice.owed]  # what is owed does not depend on the day
        if self.policy.ladder is not None and owed:
            owed = self.deciding  # a ladder also asks for declines of what has been paid since
        state, last = self.rank(self.deciding, self.today), self._nothing_new_after(owed)
        day = self.today
        while owed and day < last:
            day += timedelta(days=1)
            if self.rank(self.deciding, day) != state:
                return day
        return None

    def _nothing_new_after(self, owed: list[Invoice]) -> date:
        """A day by which every dated fact lies behind and every span of the policy has run out since."""
        dates = [self.today]
        for invoice in owed:
            spans = [*invoice.holds, *invoice.disputes, *invoice.flights]
            dates += [span.last for span in spans if span.last != FOREVER]
            dates += [day for day in (invoice.clock_on(self.today), invoice.instrument.expires_on_if_it_matters) if day]
        policy = self.policy
        longest = max(
            policy.grace_days,
            policy.bad_debt_days,
            policy.final_notice_days,
            sum(policy.retry_offsets_days),
            policy.min_notice_days,
            *(step.when.age_days_gte or 0 for step in policy.ladder or ()),
        )
        return max(dates) + timedelta(days=policy.no_attempt_days + longest + 1)
