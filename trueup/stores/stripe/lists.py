"""Reading whole lists, side by side: windows of `created`, cut smaller while workers are free.

A list is first one window without bounds. Whoever has read a page of a window and finds that it goes on, and that fewer
windows wait than there are workers, cuts what is left of it in the middle of its span; the upper half goes on behind
the last object read, the lower half becomes a window of its own. A cut follows a full page, so at most twice as many
pages are requested as the list has.

Windows are disjoint and the outermost have no outer bound: nothing can lie between or outside them. Stripe lists newest
first, and a page begins behind a given object, so what arrives while we read comes in front of what we have begun to
read and shifts nothing. A window that a server does not honour is honoured here: each object is taken by the one window
that its `created` lies in.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from trueup.stores.errors import StoreNotWhole
from trueup.stores.stripe.objects import ObjectList
from trueup.stores.stripe.port import Page, Refused, StripePort, Unanswered

FIRST_SECOND: Final = 1_262_304_000  # 2010: Stripe is not older, so no cut is made below
RESTARTS_MAX: Final = 3  # of a window whose last-read object was deleted meanwhile


@dataclass(frozen=True)
class Window:
    """What is left to read of a list between two seconds, both included; without bounds where null."""

    of: ObjectList
    low: int | None = None
    high: int | None = None
    after: str | None = None  # the last object read
    last_created: int | None = None
    seen: frozenset[str] = frozenset()  # objects read that were created in that same second
    restarts: int = 0

    @property
    def params(self) -> dict[str, Any]:
        bounds = {name: bound for name, bound in (("gte", self.low), ("lte", self.high)) if bound is not None}
        created = {"created": bounds} if bounds else {}
        behind = {"starting_after": self.after} if self.after else {}
        return {**self.of.params, **created, **behind}

    def holds(self, given: object) -> bool:
        """Whether the object is this window's, and new; one without a usable date is the oldest window's."""
        created = _created(given)
        if created is None:
            return self.low is None
        if created == self.last_created and isinstance(given, dict) and given.get("id") in self.seen:
            return False
        return (self.low is None or created >= self.low) and (self.high is None or created <= self.high)

    def __str__(self) -> str:
        return f"created {_day(self.low, 'ever')} to {_day(self.high, 'now')}"


OnPage = Callable[[ObjectList, list[Any], bool], None]
"""Called with each page's list, objects, and whether their text was sound; from several threads."""


class Budget:
    """How many pages a reading may cost; `is_spent` once it needed more."""

    def __init__(self, pages: int | None = None) -> None:
        self._left = pages
        self.is_spent = False

    def take(self) -> bool:
        if self._left is not None:
            self._left -= 1
            self.is_spent = self.is_spent or self._left < 0
        return not self.is_spent


def read_lists(
    port: StripePort, lists: Sequence[ObjectList], workers: int, on_page: OnPage, budget: Budget | None = None
) -> None:
    """Reads lists to their ends, in up to `workers` threads; pages come in no order.

    With a budget it stops once that is spent: the lists are then not whole, and the caller must not take them for it.

    Raises:
        StoreNotWhole: a list could not be read to its end; names it, the window, and how many pages came.
        StoreUnreachable, PrivilegeMissing: from the port.
    """
    work = _Work(port, lists, workers, on_page, budget or Budget())
    with ThreadPoolExecutor(workers, thread_name_prefix="stripe") as threads:
        running = [threads.submit(work.do) for _ in range(workers)]
        try:
            wait(running)
            for worker in running:
                worker.result()  # a failure outside of a page is our own bug, and not the end of a list
        except BaseException:
            work.stop()
            port.give_up()
            raise
    if work.failure is not None:
        raise work.failure


class _BrokenOff(Exception):
    """A window cannot be read to its end."""

    def __init__(self, window: Window, what: str) -> None:
        super().__init__(what)
        self.window = window


class _Work:
    """The windows that wait, shared by all workers."""

    def __init__(
        self, port: StripePort, lists: Sequence[ObjectList], workers: int, on_page: OnPage, budget: Budget
    ) -> None:
        self._port, self._workers, self._on_page, self._budget = port, workers, on_page, budget
        self._waiting: dict[str, deque[Window]] = {}  # by path
        self._order = {each.path: -each.per_account for each in lists}
        self._add(Window(each, low=each.since) for each in lists)
        self._reading = 0
        self._is_stopped = False
        self._changed = threading.Condition()
        self._pages: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def do(self) -> None:
        """One worker: a page of a window at a time, until nothing waits and nobody reads."""
        while (window := self._take()) is not None:
            rest: list[Window] = []
            try:
                rest = self._read_page(window)
            except _BrokenOff as broken:
                self.stop(_not_whole(broken, self._pages[window.of.table]))
                self._port.give_up()
            except BaseException as failure:  # noqa: BLE001 - raised by read_lists, whose threads must end first
                self.stop(failure)
                self._port.give_up()
            finally:
                self._put(rest)

    def stop(self, failure: BaseException | None = None) -> None:
        """Lets every worker end after its page; the first failure is the one that is raised."""
        with self._changed:
            self.failure = self.failure or failure
            self._is_stopped = True
            self._waiting.clear()
            self._changed.notify_all()

    def _take(self) -> Window | None:
        """The next window that a request may go out for; null once there is nothing left to do."""
        with self._changed:
            while True:
                if self._is_stopped or not (self._waiting or self._reading):
                    self._changed.notify_all()
                    return None
                window, seconds = self._free()
                if window is None:
                    self._changed.wait(seconds)
                    continue
                if not self._budget.take():
                    self._is_stopped = True
                    continue
                self._reading += 1
                return window

    def _free(self) -> tuple[Window | None, float | None]:
        """A waiting window whose endpoint is free, its slot taken; or how long until one is, null if none waits.

        The longest list comes first: it is the one that the others would have to wait for at the end.
        """
        soonest: float | None = None
        for path in sorted(self._waiting, key=lambda path: self._order[path]):
            seconds = self._port.slot(path)
            if seconds == 0.0:
                windows = self._waiting[path]
                window = windows.popleft()
                if not windows:
                    del self._waiting[path]
                return window, None
            soonest = seconds if soonest is None else min(soonest, seconds)
        return None, soonest

    def _add(self, windows: Iterable[Window]) -> None:
        for window in windows:
            self._waiting.setdefault(window.of.path, deque()).append(window)

    def _put(self, rest: list[Window]) -> None:
        with self._changed:
            self._reading -= 1
            if not self._is_stopped:
                self._add(rest)
            self._changed.notify_all()

    def _read_page(self, window: Window) -> list[Window]:
        """Reads one page and passes it on; what is left of the window, cut in two if a worker is free."""
        try:
            page = self._port.page(window.of.path, window.params, has_slot=True)
        except Refused as refused:
            return [_restarted(window, refused)]
        except Unanswered as unanswered:
            raise _BrokenOff(window, str(unanswered)) from unanswered
        taken, rest = _rest(window, page)
        self._on_page(window.of, [each for each in taken if window.holds(each)], page.is_text_sound)
        with self._changed:
            self._pages[window.of.table] += 1
            has_free_worker = sum(map(len, self._waiting.values())) < self._workers
        if rest is None:
            return []
        return _cut(rest) if has_free_worker else [rest]


def _rest(window: Window, page: Page) -> tuple[list[Any], Window | None]:
    """The objects to take of a page, and what is left of the window behind them."""
    if not page.has_more:
        return page.objects, None
    ids = [place for place, each in enumerate(page.objects) if isinstance(each, dict) and _is_id(each.get("id"))]
    if not ids:
        raise _BrokenOff(window, "a page that goes on holds no object with an id, so there is nothing to go on behind")
    last = page.objects[ids[-1]]
    if last["id"] == window.after:
        raise _BrokenOff(window, "the same page came twice")
    # What follows the last object with an id comes again on the next page, which begins behind it.
    taken = page.objects[: ids[-1] + 1]
    second = _created(last)
    if second is not None and window.low is not None and second < window.low:
        return taken, None  # a server that ignores the bound: the rest is another window's
    seen = frozenset(each["id"] for each in taken if _created(each) == second and _is_id(each.get("id")))
    seen |= window.seen if second == window.last_created else frozenset()
    return taken, replace(window, after=last["id"], last_created=second, seen=seen)


def _cut(window: Window) -> list[Window]:
    """The window behind the last object, in two halves if its span allows."""
    low = FIRST_SECOND if window.low is None else window.low
    last = window.last_created
    if not window.of.is_dated or last is None or last <= low:
        return [window]
    if window.high is not None and last > window.high:
        return [window]  # a server that ignores the bound: it has not come to this window yet
    middle = (low + last) // 2
    return [replace(window, low=middle + 1), Window(window.of, low=window.low, high=middle)]


def _restarted(window: Window, refused: Refused) -> Window:
    """The window from the second of the last object on, if that object was deleted since we read it.

    What was read of that second comes again, and is known by `seen`.
    """
    is_gone = refused.code == "resource_missing" and window.after is not None
    if not is_gone or window.last_created is None or not window.of.is_dated or window.restarts >= RESTARTS_MAX:
        raise _BrokenOff(window, str(refused)) from refused
    return replace(window, after=None, high=window.last_created, restarts=window.restarts + 1)


def _not_whole(broken: _BrokenOff, pages: int) -> StoreNotWhole:
    table = broken.window.of.table.removeprefix("stripe_")
    failure = StoreNotWhole(
        "stripe",
        f"the list broke off in the window {broken.window}, after {pages} pages of the list: {broken}",
        "Nothing of it is used. Run it again; status.stripe.com shows trouble on Stripe's side.",
        table=table,
    )
    failure.__cause__ = broken
    return failure


def _created(given: object) -> int | None:
    created = given.get("created") if isinstance(given, dict) else None
    return created if type(created) is int else None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _day(second: int | None, otherwise: str) -> str:
    return otherwise if second is None else f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"
