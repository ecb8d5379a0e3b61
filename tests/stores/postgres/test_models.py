"""The stores' tables are what real databases look like: names, types, keys and defaults, and not one promise more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import fresh_databases
from tests.stores.rows import session
from trueup.sandbox.postgres import EmbeddedPostgres
from trueup.stores.postgres.models import DATABASE_OF

EVERY_ROW = "updated_at timestamp with time zone, version bigint not null default 1"
INSTANT = "timestamp with time zone"

# Table → its own columns, in order; `!` marks the primary key.
TABLES = {
    "accounts": f"account_id! text, email text, country text, currency text, timezone text, status text, "
    f"plan_code text, parent_account_id text, created_at {INSTANT}",
    "entitlements": f"account_id! text, feature! text, active boolean, granted_at {INSTANT}, revoked_at {INSTANT}",
    "products": "plan_code! text, name text, amount bigint, currency text, interval text, features text[]",
    "invoices": f"invoice_id! text, account_id text, stripe_invoice_id text, stripe_subscription_id text, "
    f"billing_reason text, status text, uncollectible_reason text, collection_method text, currency text, "
    f"amount_due bigint, amount_paid bigint, attempt_count integer, due_at {INSTANT}, finalized_at {INSTANT}, "
    f"paid_at {INSTANT}, voided_at {INSTANT}, uncollectible_at {INSTANT}, effective_at {INSTANT}",
    "charges": f"charge_id! text, account_id text, invoice_id text, stripe_charge_id text, amount bigint, "
    f"amount_refunded bigint, currency text, status text, trigger text, decline_code text, advice_code text, "
    f"attempted_at {INSTANT}, effective_at {INSTANT}",
    "credit_notes": f"credit_note_id! text, invoice_id text, amount bigint, created_at {INSTANT}",
    "dunning_states": "account_id! text, state text",
    "schedules": f"schedule_id! text, account_id text, invoice_id text, attempt_number integer, retry_at {INSTANT}, "
    f"owner text, status text",
    "subs_account": f"account_id! text, billing_email text, bad_debt boolean, dunning_exempt boolean, "
    f"hold_from {INSTANT}, hold_until {INSTANT}, updated_by text",
    "subs_customer": f"id! bigint, account_id text, stripe_customer_id text, livemode boolean, created_by text, "
    f"created_at {INSTANT}",
    "subs_dunning": f"account_id! text, state text, attempt_count integer, clock_started_on date, "
    f"next_retry_at {INSTANT}, driver_invoice_id text, reason text, policy_version text, "
    f"final_notice_sent_at {INSTANT}, computed_at {INSTANT}",
    "subs_mandate": "mandate_id! text, account_id text, stripe_mandate_id text, stripe_payment_method_id text, "
    "type text, status text, network_status text",
    "subs_stuck_events": f"event_id! text, account_id text, type text, sequence bigint, payload jsonb, status text, "
    f"attempts integer, last_error text, received_at {INSTANT}, resolved_at {INSTANT}",
}
AS_MADE = """
    SELECT attname || CASE WHEN attnum = ANY(conkey) THEN '!' ELSE '' END || ' ' || format_type(atttypid, atttypmod)
        || CASE WHEN attnotnull AND NOT attnum = ANY(conkey) THEN ' not null' ELSE '' END
        || coalesce(' default ' || trim(both '''' from split_part(pg_get_expr(adbin, adrelid), '::', 1)), '')
    FROM pg_attribute
    JOIN pg_constraint ON conrelid = attrelid AND contype = 'p'
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum
"""


@pytest.fixture(scope="module")
def urls(postgres: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    with fresh_databases(postgres, is_bare=True) as made:
        yield made


def test_every_table_of_the_stores_is_here() -> None:
    assert set(TABLES) == set(DATABASE_OF)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_table_has_its_columns_types_key_and_defaults(urls: dict[str, str], table: str) -> None:
    with session(urls[DATABASE_OF[table]]) as connection:
        made = [column for (column,) in connection.execute(AS_MADE, (f"public.{table}",)).fetchall()]

    assert made == f"{TABLES[table]}, {EVERY_ROW}".split(", ")
