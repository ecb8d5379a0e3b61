"""The codes of findings, as data: what each is about, how bad it is, whose it is to correct, and what it depends on.

One row per code, in the order of docs/contract/FINDINGS.md; everything else that knows a code (owners, roots, what
suppresses it, what may heal it, what a plan corrects) reads it here. `tables` are those whose rows are compared: from
them come the stores in conflict and the rows that may be settling. `needs_engine` marks codes that compare a store with
what the engine
decided: they depend on every store, and on their account being determinate. A severity that depends on the row is given
by the rule; the one here is what it is otherwise. What a rule looks at is in `rules/`.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from trueup.contract.schemas import STORES, TABLES

CATEGORIES: Final = (
    "source",
    "identity",
    "money",
    "settlement",
    "ledger",
    "tax",
    "retry and mandate",
    "subscription",
    "dunning",
    "entitlement",
    "event",
)
"""Categories from root to consequence: of an account's findings, one of the first category is the root."""

CorrectedTable = Literal["subs_dunning", "subs_account", "subs_mandate", "subs_stuck_events"]


class Code(NamedTuple):
    """What holds for every finding of one code."""

    code: str
    category: str
    severity: str
    owner: str
    tables: tuple[str, ...] = ()
    needs_engine: bool = False
    corrects: CorrectedTable | None = None  # the table that a plan writes for it; None: it is reported to its owner
    is_found_by_audits: bool = True  # an audit finds it, so that an audit that does not may heal it

    @property
    def stores(self) -> tuple[str, ...]:
        """The stores in conflict, in the order of docs/contract/STORES.md."""
        own = {TABLES[table].store for table in self.tables}
        return tuple(store for store in STORES if store in own)

    @property
    def needs(self) -> tuple[str, ...]:
        """The stores without which nobody can say whether the finding holds."""
        return STORES if self.needs_engine else self.stores

    @property
    def stores_to_heal(self) -> tuple[str, ...]:
        """The stores without which nobody can say that it is gone: what is Stripe's is an account's by the mapping."""
        mapping = ("subs_customer",) if "stripe" in self.needs else ()
        return tuple(store for store in STORES if store in (*self.needs, *mapping))

    @property
    def tables_to_heal(self) -> tuple[str, ...]:
        """The tables of these stores: a broken row of one may hide it."""
        return tuple(name for name, table in TABLES.items() if table.store in self.stores_to_heal)


_LEDGER = ("invoices", "stripe_invoices")
_CHARGES = ("charges", "stripe_charges")
_MAPPED = ("subs_customer",)
_STORED = ("subs_dunning", *_LEDGER)

_ALL: Final = (
    Code("SRC_STALE", "source", "none", "data-platform"),
    Code("SRC_PARTIAL", "source", "none", "data-platform"),
    Code("MIRROR_DRIFT", "source", "S2", "data-platform", is_found_by_audits=False),
    Code("SRC_CONTRACT", "source", "S2", "the store's writers"),
    Code("MAP_MISSING", "identity", "S1", "A1 setup", ("invoices", *_MAPPED)),
    Code("MAP_DANGLING", "identity", "S1", "A1 setup", (*_MAPPED, "stripe_customers")),
    Code(
        "MAP_DUPLICATE_CUSTOMER",
        "identity",
        "S3",
        "A2 checkout",
        (*_MAPPED, "stripe_invoices", "stripe_subscriptions"),
    ),
    Code("MAP_SHARED_CUSTOMER", "identity", "S1", "A1 setup", _MAPPED),
    Code("MAP_ORPHAN_CUSTOMER", "identity", "S1", "A1 setup", (*_MAPPED, "stripe_invoices", "stripe_subscriptions")),
    Code("MAP_METADATA_MISMATCH", "identity", "S2", "A1 setup", (*_MAPPED, "stripe_customers")),
    Code("ACCT_CLOSED_ACTIVE_SUB", "identity", "S1", "A1 accounts", ("accounts", *_MAPPED, "stripe_subscriptions")),
    Code("ACCT_FLAGS_MISSING", "identity", "S3", "A1 profiles", ("accounts", "subs_account")),
    Code("ACCT_CHILD_HAS_DEBT", "identity", "S2", "A2 invoices", ("accounts", *_LEDGER), needs_engine=True),
    Code("INV_MISSING_INTERNAL", "money", "S1", "A2 invoices", _LEDGER),
    Code("INV_MISSING_STRIPE", "money", "S2", "A2 invoices", _LEDGER),
    Code("INV_PAID_STRIPE_OPEN_INTERNAL", "money", "S1", "A2 invoices", _LEDGER),
    Code("INV_OPEN_STRIPE_PAID_INTERNAL", "money", "S1", "A2 invoices", _LEDGER),
    Code("INV_STATUS_MISMATCH", "money", "S2", "A2 invoices", _LEDGER),
    Code("INV_AMOUNT_MISMATCH", "money", "S1", "A2 invoices", _LEDGER),
    Code("INV_CURRENCY_MISMATCH", "money", "S1", "A2 invoices", _LEDGER),
    Code("INV_DUPLICATE_PERIOD", "money", "S1", "A2 invoices", ("stripe_invoices",)),
    Code("CHG_ORPHAN_INVOICE", "money", "S2", "A3 charges", ("invoices", "charges")),
    Code("PAY_DOUBLE_CHARGE", "money", "S1", "A3 charges", (*_LEDGER, *_CHARGES)),
    Code("PAY_UNLINKED", "money", "S1", "A3 charges", (*_CHARGES, "stripe_invoice_payments")),
    Code("PAY_UNRECORDED", "money", "S2", "A3 charges", (*_CHARGES, "stripe_invoice_payments")),
    Code("REFUND_UNRECORDED", "money", "S1", "A3 charges", (*_CHARGES, "stripe_refunds")),
    Code("REFUND_NO_CREDIT_NOTE", "money", "S2", "A2 invoices", (*_LEDGER, "stripe_refunds", "credit_notes")),
    Code("DISPUTE_LOST_UNRESOLVED", "money", "S2", "A2 invoices", (*_LEDGER, "stripe_disputes", "credit_notes")),
    Code("RETRY_SCHEDULE_STALLED", "retry and mandate", "S1", "A3 charges", ("charges", *_LEDGER), needs_engine=True),
    Code("RETRY_ON_HARD_DECLINE", "retry and mandate", "S1", "A3 charges", _CHARGES),
    Code("RETRY_DOUBLE_OWNER", "retry and mandate", "S1", "A3 charges", ("schedules", *_LEDGER)),
    Code("RETRY_ON_SETTLED", "retry and mandate", "S2", "A3 charges", ("schedules", *_LEDGER)),
    Code("NO_ATTEMPT_MADE", "retry and mandate", "S1", "A3 charges", (*_LEDGER, *_CHARGES), needs_engine=True),
    Code("DECLINE_CODE_UNMAPPED", "retry and mandate", "S4", "A3 recompute", _CHARGES),
    Code(
        "MAN_STATUS_MISMATCH",
        "retry and mandate",
        "S3",
        "A3 recompute",
        ("subs_mandate", "stripe_mandates"),
        corrects="subs_mandate",
    ),
    Code("MAN_MISSING", "retry and mandate", "S2", "A3 recompute", ("subs_mandate", "stripe_invoices")),
    Code(
        "SUB_STATUS_MISMATCH",
        "subscription",
        "S2",
        "A2 invoices",
        (*_LEDGER, "stripe_subscriptions"),
        needs_engine=True,
    ),
    Code(
        "SUB_CANCELED_STILL_COLLECTING",
        "subscription",
        "S1",
        "A2 invoices",
        ("stripe_subscriptions", "stripe_invoices"),
    ),
    Code("SUB_DUPLICATE_ACTIVE", "subscription", "S1", "A2 checkout", ("stripe_subscriptions",)),
    Code(
        "DUN_EXEMPT_IGNORED", "dunning", "S1", "A3 recompute", ("subs_account", "subs_dunning"), corrects="subs_dunning"
    ),
    Code(
        "DISPUTE_OPEN_BUT_DUNNING", "dunning", "S1", "A3 recompute", _STORED, needs_engine=True, corrects="subs_dunning"
    ),
    Code(
        "DUN_STUCK_AFTER_PAYMENT", "dunning", "S1", "A3 recompute", _STORED, needs_engine=True, corrects="subs_dunning"
    ),
    Code("DUN_NOT_STARTED", "dunning", "S2", "A3 recompute", _STORED, needs_engine=True, corrects="subs_dunning"),
    Code("DUN_EARLY_SUSPENSION", "dunning", "S1", "A3 recompute", _STORED, needs_engine=True, corrects="subs_dunning"),
    Code("DUN_STATE_MISMATCH", "dunning", "S2", "A3 recompute", _STORED, needs_engine=True, corrects="subs_dunning"),
    Code("DUN_COUNTER_MISMATCH", "dunning", "S3", "A3 recompute", _STORED, needs_engine=True, corrects="subs_dunning"),
    Code(
        "DUN_LEDGER_COPY_MISMATCH",
        "dunning",
        "S3",
        "A3 charges",
        ("dunning_states", *_LEDGER),
        needs_engine=True,
    ),
    Code("DUN_ORPHAN", "dunning", "S4", "A3 recompute", ("accounts", "subs_dunning")),
    Code(
        "FLAG_BAD_DEBT_STALE",
        "dunning",
        "S1",
        "A3 recompute",
        ("subs_account", *_LEDGER),
        needs_engine=True,
        corrects="subs_account",
    ),
    Code(
        "FLAG_BAD_DEBT_MISSING",
        "dunning",
        "S2",
        "A3 recompute",
        ("subs_account", *_LEDGER),
        needs_engine=True,
        corrects="subs_account",
    ),
    Code(
        "ENT_ON_WHEN_SUSPENDED",
        "entitlement",
        "S1",
        "Entitlements API",
        ("entitlements", *_LEDGER),
        needs_engine=True,
    ),
    Code(
        "ENT_OFF_WHEN_GOOD",
        "entitlement",
        "S1",
        "Entitlements API",
        ("accounts", "entitlements", "stripe_subscriptions"),
        needs_engine=True,
    ),
    Code("ENT_PLAN_MISMATCH", "entitlement", "S3", "Entitlements API", ("accounts", "entitlements", "products")),
    Code("EVT_STUCK", "event", "S1", "A3 recompute", ("subs_stuck_events",), needs_engine=True),
    Code(
        "EVT_STUCK_MOOT",
        "event",
        "S4",
        "A3 recompute",
        ("subs_stuck_events",),
        needs_engine=True,
        corrects="subs_stuck_events",
    ),
    Code("EVT_MALFORMED", "event", "S2", "A3 recompute", ("subs_stuck_events",)),
    Code("EVT_GAP", "event", "S4", "the event's source", is_found_by_audits=False),
    Code("EVT_CONFLICT", "event", "S3", "the event's source", is_found_by_audits=False),
    Code("EVT_HORIZON", "event", "S4", "data-platform", is_found_by_audits=False),
)

CODES: Final[dict[str, Code]] = {code.code: code for code in _ALL}
"""Every code of docs/contract/FINDINGS.md that an audit reports."""

AUDITED_CATEGORIES: Final = tuple(name for name in CATEGORIES if any(code.category == name for code in _ALL))
"""The categories that an audit has codes in; settlement, ledger and tax are other runs'."""


def corrected_by(table: CorrectedTable) -> tuple[str, ...]:
    """The codes for which a plan writes the table."""
    return tuple(code.code for code in _ALL if code.corrects == table)


WRITERS: Final[dict[str, str]] = {
    "accounts": "A1 accounts",
    "entitlements": "Entitlements API",
    "products": "A1 accounts",
    "invoices": "A2 invoices",
    "charges": "A3 charges",
    "credit_notes": "A2 invoices",
    "dunning_states": "A3 charges",
    "schedules": "A3 charges",
    "subs_account": "A1 profiles",
    "subs_customer": "A1 setup, A2 checkout",
    "subs_dunning": "A3 recompute",
    "subs_mandate": "A3 recompute",
    "subs_stuck_events": "A3 recompute",
}
"""Who writes a table of ours and so owns a row of it that breaks its contract; Stripe's objects are Stripe's."""
