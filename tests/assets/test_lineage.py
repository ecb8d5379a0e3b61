"""Lineage: what the pages say of where a column comes from."""

from __future__ import annotations

from assets.lineage import DESIRED_FROM, FINDINGS_FROM, table_schema
from trueup.contract.schemas import DESIRED, FINDINGS


def test_every_column_of_desired_says_where_it_comes_from_and_at_length_only_once() -> None:
    told = {column.name: column.description for column in table_schema(DESIRED, DESIRED_FROM).columns}

    assert list(told) == list(DESIRED)
    assert told["account_id"] == "- [cf_prod/accounts](/assets/cf_prod/accounts): account_id"
    assert "- [stripe/mandates](/assets/stripe/mandates): accepted_at, network_status, status" in str(told["state"])
    assert told["bad_debt"] == "As `state`."
    assert told["policy_version"] == "From the policy alone."


def test_a_column_that_no_store_has_says_nothing() -> None:
    told = {column.name: (column.type, column.description) for column in table_schema(FINDINGS, FINDINGS_FROM).columns}

    assert told["first_seen_at"] == ("Datetime", None)
