"""At stake: each finding says how much it is about, in one currency, or that nobody can say."""

from __future__ import annotations

from tests.drift.world import World, days_ago, make_world
from trueup.drift.codes import CODES

Stake = tuple[int | None, str | None]


def stakes(world: World) -> dict[str, Stake]:
    """Code → what is at stake."""
    rows = world.findings().select("code", "at_stake_minor", "at_stake_currency").rows()
    return {code: (minor, currency) for code, minor, currency in rows}


def test_an_open_side_against_a_paid_one_is_about_what_the_open_side_says_is_owed() -> None:
    world = make_world()
    world.row("invoices", "inv_paid_1").update(status="open", paid_at=None, amount_paid=0)

    assert stakes(world) == {"INV_PAID_STRIPE_OPEN_INTERNAL": (1000, "usd")}


def test_a_difference_is_its_absolute_size() -> None:
    world = make_world()
    world.row("invoices", "inv_late_2")["amount_due"] = 400

    assert stakes(world)["INV_AMOUNT_MISMATCH"] == (600, "usd")


def test_a_refund_that_is_not_recorded_is_about_what_is_missing() -> None:
    world = make_world()
    world.refund("paid_1", 300, at=days_ago(5))
    world.row("charges", "chg_paid_1")["amount_refunded"] = 100

    assert stakes(world) == {"REFUND_UNRECORDED": (200, "usd")}


def test_a_refund_without_enough_credit_is_about_what_is_not_covered() -> None:
    world = make_world()
    world.refund("paid_1", 300, at=days_ago(5), credited=False)
    world.credit("paid_1", 120, at=days_ago(5))

    assert stakes(world) == {"REFUND_NO_CREDIT_NOTE": (180, "usd")}


def test_a_stored_state_is_about_the_accounts_outstanding() -> None:
    world = make_world()
    world.row("subs_dunning", "late")["state"] = "bad_debt"

    assert stakes(world) == {"DUN_EARLY_SUSPENSION": (1000, "usd")}


def test_an_account_that_owes_in_two_currencies_has_no_one_amount_at_stake() -> None:
    world = make_world()
    bill = world.outside_invoice("late", "bank", at=days_ago(10), due_at=days_ago(9), amount=500)
    bill["currency"] = "eur"
    world.settle()
    world.row("subs_dunning", "late")["state"] = "bad_debt"

    assert stakes(world)["DUN_EARLY_SUSPENSION"] == (None, None)


def test_counters_flags_that_are_missing_and_mappings_have_nothing_at_stake() -> None:
    world = make_world()
    world.row("subs_dunning", "late")["attempt_count"] = 9
    world.drop("subs_account", account_id="paid")

    assert stakes(world) == {"DUN_COUNTER_MISMATCH": (None, None), "ACCT_FLAGS_MISSING": (None, None)}


def test_a_plan_corrects_what_findings_md_lists() -> None:
    corrected = {code.code: code.corrects for code in CODES.values() if code.corrects}

    assert corrected == {
        "DUN_EXEMPT_IGNORED": "subs_dunning",
        "DISPUTE_OPEN_BUT_DUNNING": "subs_dunning",
        "DUN_STUCK_AFTER_PAYMENT": "subs_dunning",
        "DUN_NOT_STARTED": "subs_dunning",
        "DUN_EARLY_SUSPENSION": "subs_dunning",
        "DUN_STATE_MISMATCH": "subs_dunning",
        "DUN_COUNTER_MISMATCH": "subs_dunning",
        "FLAG_BAD_DEBT_STALE": "subs_account",
        "FLAG_BAD_DEBT_MISSING": "subs_account",
        "MAN_STATUS_MISMATCH": "subs_mandate",
        "EVT_STUCK_MOOT": "subs_stuck_events",
    }
