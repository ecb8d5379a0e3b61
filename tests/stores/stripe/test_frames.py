"""Objects as rows, whatever stands in them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.contract.schemas import TABLES
from trueup.sandbox.stripe_api import builders, objects
from trueup.stores.stripe.frames import MALFORMED, payment_methods, rows
from trueup.stores.stripe.objects import COLUMNS
from trueup.stores.stripe.parsing import parsed

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("id"), inner, max_size=3),
    max_leaves=4,
)


@pytest.mark.parametrize("kind", objects.KINDS)
def test_every_column_of_the_schema_has_its_place_in_the_object(kind: str) -> None:
    table = f"stripe_{kind}"

    assert [name for name in TABLES[table].columns if name != "unreadable"] == list(COLUMNS[table])


@settings(deadline=None)
@given(data=st.data())
def test_no_object_breaks_the_page_it_is_on(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(objects.KINDS))
    table, key = f"stripe_{kind}", objects.ID_OF[kind]
    sound = builders.build(kind, {key: "sound"})
    broken = deepcopy(sound)
    for path in data.draw(st.lists(st.sampled_from(_paths(sound)), min_size=1, max_size=6)):
        _put(broken, path, data.draw(ANYTHING))
    found = rows(table, [sound, broken, data.draw(ANYTHING.filter(lambda value: not isinstance(value, dict)))])

    assert found.frame.schema == pl.Schema(TABLES[table].columns)
    assert found.frame.row(0) == rows(table, [sound]).frame.row(0)
    assert found.frame.height == 2
    assert found.malformed.schema == pl.Schema(MALFORMED)
    assert "is no object" in found.malformed["rule"]
    payment_methods(table, [sound, broken])


def test_an_amount_that_is_no_number_is_null_beside_its_neighbours() -> None:
    found = rows(
        "stripe_refunds", [{"id": "re_1", "amount": 5}, {"id": "re_2", "amount": 5.5}, {"id": "re_3", "amount": 7}]
    )

    assert found.frame["amount"].to_list() == [5, None, 7]
    assert found.malformed.rows() == [("stripe_refunds", "re_2", "amount", "is not a whole number")]


def test_references_may_be_expanded_or_not() -> None:
    found = rows(
        "stripe_refunds", [{"id": "re_1", "charge": {"id": "ch_1", "amount": 1}}, {"id": "re_2", "charge": "ch_2"}]
    )

    assert found.frame["charge_id"].to_list() == ["ch_1", "ch_2"]
    assert found.malformed.is_empty()


def test_an_event_names_its_customer_or_is_about_one() -> None:
    invoice = {"id": "evt_1", "data": {"object": {"object": "invoice", "id": "in_1", "customer": "cus_1"}}}
    customer = {"id": "evt_2", "data": {"object": {"object": "customer", "id": "cus_2"}}}
    found = rows("stripe_events", [invoice, customer]).frame

    assert found.select("object_id", "customer_id").rows() == [("in_1", "cus_1"), ("cus_2", "cus_2")]


def test_a_subscription_with_more_items_than_were_given_is_not_taken_for_whole() -> None:
    item = {"price": {"id": "price_1"}}
    found = rows("stripe_subscriptions", [{"id": "sub_1", "items": {"data": [item], "has_more": True}}])

    assert found.frame["price_ids"].to_list() == [None]
    assert found.malformed["rule"].to_list() == ["holds more items than Stripe gave"]


@pytest.mark.parametrize("text", [b'"\xff\xfe"', b'"\\ud800 half a pair"'])
def test_text_that_is_not_utf8_costs_its_value_and_no_page(text: bytes) -> None:
    answer = parsed(b'{"data":[{"id":"re_1","status":%b},{"id":"re_2","status":"failed"}]}' % text)

    assert answer is not None
    assert not answer.is_text_sound
    found = rows("stripe_refunds", answer.value["data"], is_text_sound=answer.is_text_sound)
    assert found.frame["status"].to_list() == [None, "failed"]
    assert found.malformed.rows() == [("stripe_refunds", "re_1", "status", "is not UTF-8")]


def test_what_is_no_json_is_no_answer() -> None:
    assert parsed(b"<html>bad gateway</html>") is None
    assert parsed(b'{"data": [') is None


def _paths(at: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = at.items() if isinstance(at, dict) else enumerate(at) if isinstance(at, list) else ()
    found = [(*before, key) for key, _ in steps]
    for key, inner in at.items() if isinstance(at, dict) else enumerate(at) if isinstance(at, list) else ():
        found += _paths(inner, (*before, key))
    return found


def _put(whole: Any, path: tuple[Any, ...], value: Any) -> None:
    """Puts a value at a path, if an earlier one has left anything there to put it in."""
    at = whole
    for key in path[:-1]:
        at = (
            at[key] if isinstance(at, dict | list) and key in (at if isinstance(at, dict) else range(len(at))) else None
        )
    if isinstance(at, dict) or (isinstance(at, list) and path[-1] in range(len(at))):
        at[path[-1]] = value
