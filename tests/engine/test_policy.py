"""The policy: the shipped one is docs/contract/DUNNING.md's, a file changes what it names, every fault is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from trueup.engine.policy import SHIPPED, InFlightMaxDays, Policy, PolicyError, load_policy, parse_policy

# The defaults of docs/contract/DUNNING.md, written out once more.
DEFAULTS = {
    "livemode": True,
    "grace_days": 3,
    "retry_offsets_days": [3, 5, 7],
    "final_attempts_left": 1,
    "final_notice_days": 21,
    "suspend_min_days": 0,
    "bad_debt_days": 60,
    "no_attempt_days": 3,
    "threshold_minor": {"usd": 100, "eur": 100, "gbp": 100, "jpy": 100},
    "tolerance_minor": {},
    "hard_decline": "virtual_cycles",
    "retry_owner": "internal",
    "reopen_on_refund": "never",
    "reopen_on_lost_dispute": False,
    "ended_subscription": "owed",
    "in_flight_max_days": InFlightMaxDays(card=1, debit=14),
    "dispute_max_days": 90,
    "require_final_notice": False,
    "min_notice_days": 3,
    "timezone": "UTC",
    "ladder": None,
}
DECLINES = {
    "hard": """
        incorrect_number lost_card pickup_card stolen_card revocation_of_authorization revocation_of_all_authorizations
        highest_risk_level transaction_not_allowed fraudulent merchant_blacklist restricted_card security_violation
        stop_payment_order invalid_account card_not_supported account_closed bank_account_closed debit_not_authorized
        no_account bank_account_unusable do_not_try_again 03 21
    """,
    "customer_action": """
        authentication_required expired_card incorrect_cvc invalid_cvc invalid_expiry_year confirm_card_data 01
    """,
    "soft": """
        insufficient_funds generic_decline do_not_honor try_again_later processing_error issuer_not_available
        reenter_transaction card_velocity_exceeded withdrawal_count_limit_exceeded refer_to_customer card_declined
        02 24 25 26 27 28 29 30
    """,
    "gateway": """
        rate_limit lock_timeout api_connection_error idempotency_key_in_use payment_method_provider_timeout
    """,
}

# One wrong thing per row: a document, and what the refusal says of it.
WRONG = [
    ({"grace_days": -1}, "grace_days: Input should be greater than or equal to 0 (found -1)"),
    ({"grace_days": "3"}, "grace_days: Input should be a valid integer (found '3')"),
    ({"retry_offsets_days": [3, 0]}, "retry_offsets_days.1: Input should be greater than or equal to 1 (found 0)"),
    (
        {"hard_decline": "perhaps"},
        "hard_decline: Input should be 'virtual_cycles' or 'immediate_suspend' (found 'perhaps')",
    ),
    ({"threshold_minor": {"usd": 1, "usb": 1}}, "threshold_minor: no such currency: usb"),
    ({"tolerance_minor": {"USD": 1}}, "tolerance_minor: no such currency: USD"),
    ({"timezone": "Mars/Olympus"}, "timezone: no such timezone: Mars/Olympus"),
    ({"decline_codes": {"lost_card": "harsh"}}, "decline_codes.lost_card: Input should be 'hard', 'customer_action'"),
    ({"grace_dyas": 3}, "grace_dyas: Extra inputs are not permitted (found 3)"),
    ({"in_flight_max_days": {"cash": 1}}, "in_flight_max_days.cash: Extra inputs are not permitted (found 1)"),
    ({"bad_debt_days": 5, "suspend_min_days": 6}, "bad_debt_days: 5 is below suspend_min_days 6"),
    ({"suspend_min_days": 61}, "bad_debt_days: 60 is below suspend_min_days 61"),
    ({"ladder": [{"state": "late", "when": {}}]}, "ladder.0.state: Input should be 'good_standing', 'grace'"),
    ({"ladder": [{"state": "grace"}]}, "ladder.0.when: Field required"),
    ({"ladder": [{"state": "grace", "when": {"age_days": 3}}]}, "ladder.0.when.age_days: Extra inputs"),
    (
        {"ladder": [{"state": "grace", "when": {"balance_gte_minor": {"doubloon": 8}}}]},
        "ladder.0.when.balance_gte_minor: no such currency: doubloon",
    ),
    (
        {"ladder": [{"state": "grace", "when": {}}, {"state": "grace", "when": {"age_days_gte": 3}}]},
        "ladder: two steps for grace",
    ),
]


def test_the_shipped_policy_is_that_of_the_contract() -> None:
    shipped = load_policy()

    assert {name: getattr(shipped, name) for name in DEFAULTS} == DEFAULTS


def test_the_shipped_policy_classes_every_decline_code_of_the_contract() -> None:
    classes = {code: kind for kind, codes in DECLINES.items() for code in codes.split()}

    assert load_policy().decline_codes == classes


def test_no_field_of_the_policy_is_left_out_of_these_tests() -> None:
    assert set(Policy.model_fields) == {*DEFAULTS, "decline_codes", "decline_codes_version"}


def test_a_policy_without_a_file_is_the_shipped_one() -> None:
    assert Policy() == load_policy() == load_policy(SHIPPED) == parse_policy({})


def test_attempts_allowed_and_cumulative_offsets_follow_from_the_retries() -> None:
    policy = load_policy()

    assert policy.attempts_allowed == 4
    assert policy.cumulative_offsets_days == [3, 8, 15]


def test_a_policy_without_retries_allows_one_attempt() -> None:
    policy = parse_policy({"retry_offsets_days": []})

    assert (policy.attempts_allowed, policy.cumulative_offsets_days) == (1, [])


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    policy = load_policy(written(tmp_path, "grace_days = 5\nretry_offsets_days = [1]"))

    assert policy == Policy(grace_days=5, retry_offsets_days=[1])
    assert policy.decline_codes == load_policy().decline_codes


def test_a_table_that_a_file_gives_takes_the_place_of_the_shipped_one_as_a_whole(tmp_path: Path) -> None:
    policy = load_policy(written(tmp_path, 'decline_codes = { lost_card = "soft" }\nthreshold_minor = { kwd = 5 }'))

    assert policy.decline_codes == {"lost_card": "soft"}
    assert policy.threshold_minor == {"kwd": 5}


def test_the_version_does_not_depend_on_order_or_format(tmp_path: Path) -> None:
    plain = written(tmp_path, 'grace_days = 5\nthreshold_minor = { usd = 1, eur = 2 }\ntimezone = "UTC"', "plain.toml")
    other = written(tmp_path, "# x\n\n[threshold_minor]\neur = 2\nusd = 1", "other.toml")
    other.write_text("timezone='UTC'\ngrace_days = 0x5\n" + other.read_text(encoding="utf-8"), encoding="utf-8")

    assert load_policy(plain).version == load_policy(other).version


def test_the_version_does_not_depend_on_whether_a_default_is_written_out(tmp_path: Path) -> None:
    assert load_policy(written(tmp_path, "grace_days = 3")).version == load_policy().version


@pytest.mark.parametrize(
    "change",
    [
        {"grace_days": 4},
        {"retry_offsets_days": [5, 3, 7]},
        {"threshold_minor": {"usd": 100}},
        {"in_flight_max_days": {"card": 2}},
        {"decline_codes_version": "another"},
        {"decline_codes": {"lost_card": "soft"}},
        {"ladder": [{"state": "grace", "when": {}}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_version_changes_with_the_content(change: dict[str, object]) -> None:
    assert parse_policy(change).version != load_policy().version


@pytest.mark.parametrize(("document", "says"), WRONG, ids=[says.partition(":")[0] for _, says in WRONG])
def test_a_wrong_field_is_refused_by_name(document: dict[str, object], says: str) -> None:
    with pytest.raises(PolicyError, match="has 1 fault") as refusal:
        parse_policy(document)

    assert says in str(refusal.value)


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        grace_days = -1
        colour = "red"
        retry_offsets_days = [0]
        suspend_min_days = 9
        bad_debt_days = 8
        timezone = "Mars/Olympus"
        threshold_minor = { usb = 1 }
        ladder = [
          { state = "grace", when = { unpaid_count_gte = -1 } },
          { state = "grace", when = {} },
        ]
        """,
    )
    with pytest.raises(PolicyError) as refusal:
        load_policy(file)
    faults = str(refusal.value).splitlines()

    assert faults[0] == f"{file} has 8 fault(s):"
    assert sorted(fault.split(":")[0].strip(" -") for fault in faults[1:]) == [
        "bad_debt_days",
        "colour",
        "grace_days",
        "ladder",
        "ladder.0.when.unpaid_count_gte",
        "retry_offsets_days.0",
        "threshold_minor",
        "timezone",
    ]


def test_a_missing_file_says_which_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"no policy file .*nowhere\.toml.*TRUEUP_POLICY"):
        load_policy(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("content", [b"grace_days: 3", b"grace_days = 3\ngrace_days = 4", b"\xff\xfe"])
def test_a_file_that_is_not_toml_says_where_it_stops_being_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(content)

    with pytest.raises(PolicyError, match=r"policy\.toml is not TOML: "):
        load_policy(file)


def test_a_policy_cannot_be_changed_after_it_was_loaded() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_policy().grace_days = 9  # type: ignore[misc]


def written(folder: Path, content: str, name: str = "policy.toml") -> Path:
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file
