"""The laws of the sandbox's lists: any way of paging through one shows each object once, in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.sandbox.stripe_api.collection import Collection, Query
from trueup.sandbox.stripe_api.objects import as_frame
from trueup.sandbox.stripe_api.packing import Packed, pack

CHARGES = st.lists(
    st.fixed_dictionaries(
        {
            "charge_id": st.integers(0, 40).map("ch_{}".format),
            "created_at": st.integers(1, 12),
            "customer_id": st.sampled_from(["cus_1", "cus_2", None]),
            "status": st.sampled_from(["succeeded", "failed"]),
        }
    ),
    min_size=1,
    max_size=40,
)


def collection_of(records: list[dict[str, Any]]) -> Collection:
    collection = Collection("charges")
    collection.fill(pack("charges", as_frame("charges", records)))
    return collection


def newest_first(collection: Collection, records: list[dict[str, Any]]) -> list[Packed]:
    rows = {row.id: row for row in (collection.get(record["charge_id"]) for record in records) if row is not None}
    return sorted(rows.values(), reverse=True)


def read_forward(collection: Collection, query: Query) -> list[Packed]:
    found: list[Packed] = []
    page = collection.page(query)
    while page.has_more:
        found += page.rows
        page = collection.page(replace(query, starting_after=page.rows[-1]))
    return found + page.rows


def read_backward(collection: Collection, query: Query, end: Packed) -> list[Packed]:
    found: list[Packed] = []
    page = collection.page(replace(query, ending_before=end))
    while page.has_more:
        found = page.rows + found
        page = collection.page(replace(query, ending_before=page.rows[0]))
    return page.rows + found


@settings(deadline=None)
@given(records=CHARGES, limit=st.integers(1, 9))
def test_pages_put_together_are_the_list(records: list[dict[str, Any]], limit: int) -> None:
    collection = collection_of(records)
    expected = newest_first(collection, records)

    assert read_forward(collection, Query(limit=limit)) == expected


@settings(deadline=None)
@given(records=CHARGES, limit=st.integers(1, 9), at=st.integers(0, 39))
def test_what_lies_behind_and_before_any_object_is_the_rest(records: list[dict[str, Any]], limit: int, at: int) -> None:
    collection = collection_of(records)
    expected = newest_first(collection, records)
    place = at % len(expected)

    assert read_forward(collection, Query(limit=limit, starting_after=expected[place])) == expected[place + 1 :]
    assert read_backward(collection, Query(limit=limit), expected[place]) == expected[:place]


@settings(deadline=None)
@given(records=CHARGES, low=st.integers(0, 13), high=st.integers(0, 13), limit=st.integers(1, 9))
def test_windows_hold_what_was_created_in_them(records: list[dict[str, Any]], low: int, high: int, limit: int) -> None:
    collection = collection_of(records)
    expected = [row for row in newest_first(collection, records) if low <= row.created <= high]

    assert read_forward(collection, Query(limit=limit, created_from=low, created_to=high)) == expected


@settings(deadline=None)
@given(records=CHARGES, limit=st.integers(1, 9), changes=CHARGES)
def test_filters_hold_through_changes(records: list[dict[str, Any]], limit: int, changes: list[dict[str, Any]]) -> None:
    collection = collection_of(records)
    query = Query(limit=limit, where={"customer": frozenset({"cus_1"}), "status": frozenset({"failed"})})
    read_forward(collection, query)  # builds the indexes that the changes must keep up
    for row in pack("charges", as_frame("charges", changes)):
        collection.put(row)
    dropped = changes[0]["charge_id"]
    collection.drop(dropped)
    latest = {each["charge_id"]: each for each in [*records, *changes] if each["charge_id"] != dropped}
    wanted = {i for i, each in latest.items() if (each["customer_id"], each["status"]) == ("cus_1", "failed")}

    found = read_forward(collection, query)
    assert {row.id for row in found} == wanted
    assert found == sorted(found, reverse=True)


def test_an_object_that_arrives_while_a_list_is_read_shifts_nothing() -> None:
    collection = collection_of([{"charge_id": f"ch_{i}", "created_at": i} for i in range(1, 7)])
    first = collection.page(Query(limit=3))
    collection.put(pack("charges", as_frame("charges", [{"charge_id": "ch_new", "created_at": 9}]))[0])
    second = collection.page(Query(limit=3, starting_after=first.rows[-1]))

    assert [row.id for row in first.rows + second.rows] == ["ch_6", "ch_5", "ch_4", "ch_3", "ch_2", "ch_1"]
