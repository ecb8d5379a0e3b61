"""Reading lists from servers that are not quite Stripe, and at the pace that was set."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from tests.stores.stripe.stripe_world import read, settings_of
from trueup.sandbox.stripe_api import StripeSandbox
from trueup.stores.errors import StoreNotWhole
from trueup.stores.stripe.lists import Budget, read_lists
from trueup.stores.stripe.objects import ObjectList
from trueup.stores.stripe.port import Page, Refused, StripePort

CHARGES = ObjectList("stripe_charges", "/v1/charges")
START = 1_700_000_000
ALL = [{"id": f"ch_{n:03}", "created": START + n} for n in reversed(range(1_000))]

Answer = Callable[[Mapping[str, Any]], Page]


class OddPort:
    """A port to a server of our own making."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def slot(self, _: str) -> float:
        return 0.0

    def page(self, _: str, params: Mapping[str, Any], *, has_slot: bool) -> Page:
        assert has_slot
        return self._answer(params)

    def give_up(self) -> None:
        """Nothing is tried twice here."""


def read_from(answer: Answer, budget: Budget | None = None) -> list[Any]:
    found: list[Any] = []
    read_lists(cast("StripePort", OddPort(answer)), [CHARGES], 4, lambda _, objects, __: found.extend(objects), budget)
    return found


def behind(params: Mapping[str, Any], objects: list[dict[str, Any]], size: int = 100) -> Page:
    """A page of these objects behind `starting_after`, whatever else was asked."""
    ids = [each.get("id") for each in objects]
    first = ids.index(params["starting_after"]) + 1 if "starting_after" in params else 0
    return Page(objects[first : first + size], first + size < len(objects), is_text_sound=True)


def test_a_server_that_ignores_windows_gives_each_object_once() -> None:
    found = read_from(lambda params: behind(params, ALL))

    assert sorted(each["id"] for each in found) == sorted(each["id"] for each in ALL)


def test_objects_without_a_date_or_an_id_are_kept_once() -> None:
    odd: list[dict[str, Any]] = [*ALL[:150], {"created": 7}, {"id": "ch_dateless"}, *ALL[150:]]
    found = read_from(lambda params: behind(params, odd))

    assert len(found) == len(odd)


@pytest.mark.parametrize(
    ("page", "what"),
    [
        (Page([], has_more=True, is_text_sound=True), "no object with an id"),
        (Page([{"id": ""}, 7], has_more=True, is_text_sound=True), "no object with an id"),
        (Page(ALL[:100], has_more=True, is_text_sound=True), "the same page came twice"),
    ],
)
def test_a_list_that_does_not_get_on_is_not_read_for_ever(page: Page, what: str) -> None:
    with pytest.raises(StoreNotWhole, match=what):
        read_from(lambda _: page)


def test_a_refused_page_is_no_end_of_a_list() -> None:
    def answer(params: Mapping[str, Any]) -> Page:
        if "starting_after" in params:
            raise Refused(400, "parameter_unknown", "starting_after")
        return behind(params, ALL)

    with pytest.raises(StoreNotWhole, match="HTTP 400, parameter_unknown, parameter starting_after"):
        read_from(answer)


def test_a_spent_budget_is_told() -> None:
    enough, little = Budget(100), Budget(3)

    assert len(read_from(lambda params: behind(params, ALL), enough)) == len(ALL)
    assert not enough.is_spent
    read_from(lambda params: behind(params, ALL), little)
    assert little.is_spent


def test_the_pace_that_was_set_is_kept(tmp_path: Path) -> None:
    with StripeSandbox() as sandbox:
        sandbox.load({"customers": [{"customer_id": f"cus_{n}", "is_deleted": True} for n in range(24)]})
        slow = settings_of(sandbox, stripe_requests_per_second=10.0)
        began = time.monotonic()
        read(sandbox, tmp_path, settings=slow, mapped_customer_ids=[f"cus_{n}" for n in range(24)])

    assert time.monotonic() - began >= 2  # 25 requests of customers, eight a second and two at once to begin with
