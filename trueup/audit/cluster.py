"""Cluster: the partitions of a large reading worked on by other machines, where a Dask scheduler is set.

A partition needs nothing but the lake, the reading's folder and what it is judged by, so the function that works on one
is sent as it is; what it makes, it leaves in files. So every worker must see TRUEUP_HOME and the lake at the same
address, and have this project installed. Nothing that is sent holds the address of a store or a key. Without a
scheduler the partitions are worked on here, one after the other. What a partition is, and what is done to it, is
decided in `partitions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from trueup.audit.progress import working_on
from trueup.stores.errors import TrueupError
from trueup.stores.settings import Settings

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def on_each(
    what: str, work: Callable[[Piece], Result], pieces: Sequence[Piece], settings: Settings
) -> Iterator[Result]:
    """The results of the work on each piece, in order.

    Raises:
        TrueupError: the scheduler does not answer, or kept losing the workers that a piece was given to.
    """
    with working_on(what, len(pieces)) as on_pieces:
        here = settings.dask_scheduler is None or len(pieces) == 1
        for result in map(work, pieces) if here else _on_workers(work, pieces, settings):
            on_pieces(1)
            yield result


def _on_workers(work: Callable[[Piece], Result], pieces: Sequence[Piece], settings: Settings) -> Iterator[Result]:
    from distributed import Client, KilledWorker

    with _client(Client, settings) as client:
        futures = client.map(work, pieces, pure=False)
        try:
            for future in futures:
                yield future.result()
        except KilledWorker as lost:
            message = f"Dask lost {lost.allowed_failures + 1} workers over one partition of the fleet and gave up."
            raise TrueupError(message, "Give the workers more memory, or the lake more buckets.") from lost


def _client(client: Callable[..., Any], settings: Settings) -> Any:  # noqa: ANN401 - distributed has no types
    try:
        return client(settings.dask_scheduler, timeout=settings.connect_timeout_seconds, set_as_default=False)
    except OSError as silent:
        message = f"The Dask scheduler at {settings.dask_scheduler} does not answer."
        raise TrueupError(message, "Start it (`dask scheduler`), or unset TRUEUP_DASK_SCHEDULER.") from silent
