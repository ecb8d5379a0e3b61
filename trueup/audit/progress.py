"""Progress: how a stage tells whoever is watching that it moves.

A stage names what it does and counts units of work. The command line draws bars from it, a run in Dagster's daemon has
nobody watching and nothing happens. Messages that matter afterwards are metadata of an asset, not progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Watcher(Protocol):
    """Someone who is shown the work: one call when it starts, some while it moves, one when it ends."""

    def started(self, work: str, total: int | None) -> None: ...

    def moved(self, work: str, units: int) -> None: ...

    def ended(self, work: str) -> None: ...


_watchers: list[Watcher] = []


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Show the work of this process to `watcher` while the block runs."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


@contextmanager
def working_on(work: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Announce a piece of work; the block gets a function that reports units done."""
    for watcher in _watchers:
        watcher.started(work, total)
    try:
        yield lambda units: _moved(work, units)
    finally:
        for watcher in _watchers:
            watcher.ended(work)


def _moved(work: str, units: int) -> None:
    for watcher in _watchers:
        watcher.moved(work, units)
