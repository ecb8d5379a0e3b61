"""Ctrl-C ends the program within two seconds, whatever it is doing.

Usually the interrupt travels up as an exception, and every block that it leaves tidies up. It can be delayed by a long
computation outside Python, and lost in a library that catches everything. So a thread, which a signal wakes without
the help of the main thread, ends the program when that takes too long: the processes that it started first. An apply
that ends so has committed whole batches and nothing else, as after a crash.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from typing import Final

from pipelines.cli import EXIT_INTERRUPTED, say_interrupted

GRACE_SECONDS: Final = 1.2

_SIGNALS: Final = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
_POSTGRES: Final = "trueup.sandbox.postgres_process"


def end_in_time() -> None:
    """Watch for signals from now on. To be called once, in the main thread, before anything large is imported."""
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(woken,), name="interrupts", daemon=True).start()


def _watch(woken: socket.socket) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # they are for the main thread
    while not _SIGNALS.intersection(woken.recv(64)):
        pass
    time.sleep(GRACE_SECONDS)
    _end_children()
    say_interrupted()
    os._exit(EXIT_INTERRUPTED)


def _end_children() -> None:
    """End what this program started: its children, theirs, and an embedded PostgreSQL, which is nobody's child."""
    postgres = sys.modules.get(_POSTGRES)
    if postgres is not None:
        postgres.end_servers_now()
    import psutil  # type: ignore[import-untyped]

    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
