"""What random rows choose from: a value listed twice is twice as likely."""

from __future__ import annotations

TIMEZONES = (
    None, None, "UTC", "America/New_York", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago",
    "Asia/Kolkata", "Europe/Paris", "America/Santiago", "Australia/Lord_Howe",
)  # fmt: skip
CURRENCIES = ("usd", "usd", "usd", "eur", "jpy", "kwd")
AMOUNTS = (0, 1, 40, 50, 60, 99, 100, 101, 150, 250, 250, 400, 1000, 1000)
DEBIT_TYPES = ("sepa_debit", "bacs_debit", "au_becs_debit", "acss_debit", "us_bank_account", "nz_bank_account")
METHOD_TYPES = ("card", "card", "card", "card", "link", *DEBIT_TYPES, "bacs_debit")
TRIGGERS = ("initial", "scheduled", "scheduled", "manual", "payment_method_update")
SUBSCRIPTION_STATUSES = (
    "active", "active", "active", "past_due", "unpaid", "trialing", "paused", "canceled", "incomplete",
    "incomplete_expired",
)  # fmt: skip
DISPUTE_STATUSES = (
    "needs_response", "under_review", "appeal_needs_response", "appeal_under_review", "won", "lost", "lost", "lost",
    "warning_needs_response", "warning_under_review", "warning_closed", "prevented",
)  # fmt: skip
UNCOLLECTIBLE_REASONS = (
    None, "max_payment_attempts", "payment_not_received", "subscription_canceled", "subscription_paused",
    "user_forgiven",
)  # fmt: skip
DECLINES = (
    None, "insufficient_funds", "insufficient_funds", "card_declined", "generic_decline", "stolen_card", "expired_card",
    "expired_card", "invalid_expiry_year", "authentication_required", "rate_limit", "lock_timeout", "code_of_tomorrow",
)  # fmt: skip
ADVICE = (None, None, None, None, "try_again_later", "confirm_card_data", "do_not_try_again", "advice_of_tomorrow")
NETWORK_ADVICE = (None, None, None, None, None, "01", "02", "03", "21", "24", "99")
