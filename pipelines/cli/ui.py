"""The web pages: Dagster's server and daemon on this project, for as long as somebody watches.

Both are children of this process and end with it, however it ends: by Ctrl-C, by a signal, or because one of them did.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from pipelines.instance import dagster_home, instance_database, make_instance
from trueup.stores.errors import TrueupError
from trueup.stores.settings import Settings, project_root

NAMES: Final = ("Dagster's web server", "Dagster's daemon")
LOOK_EVERY_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 10


class PortTaken(TrueupError):
    """Nothing can listen on the address of the pages."""


class PagesEnded(TrueupError):
    """The web server or the daemon ended by itself."""


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until interrupted.

    Raises:
        PortTaken: something else listens there.
        PagesEnded: one of the two ended by itself; its output is above.
    """
    check_free(host, port)
    with instance_database(settings):
        make_instance(settings)  # else the server and the daemon both make a new one's tables, and one of them fails
        workspace = project_root() / "workspace.yaml"
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(dagster_home(settings)),
            "TRUEUP_HOME": str(settings.home),
            "PYTHONPATH": os.pathsep.join([str(project_root()), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        web = ["dagster_webserver", "--host", host, "--port", str(port), "--workspace", str(workspace)]
        daemon = ["dagster._daemon", "run", "--workspace", str(workspace)]
        with ended_by_signals(), _children(environment, web, daemon) as children:
            print(f"http://{host}:{port}  (Ctrl-C ends it)", flush=True)  # noqa: T201 -- what the caller waits for
            while all(child.poll() is None for child in children):
                time.sleep(LOOK_EVERY_SECONDS)
            raise _ended(children, port)


def check_free(host: str, port: int) -> None:
    """Try to listen where the pages will be, before anything starts.

    Raises:
        PortTaken: something listens there, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise PortTaken(
            f"the pages cannot be served on {host}, port {port}: {error.strerror}.",
            "`trueup ui --port N` takes another port, `--host` another address of this machine.",
        ) from error


def _ended(children: list[subprocess.Popen[bytes]], port: int) -> PagesEnded:
    """Which child ended, and how."""
    name, child = next(pair for pair in zip(NAMES, children, strict=True) if pair[1].poll() is not None)
    return PagesEnded(
        f"{name} ended by itself, with exit code {child.returncode}.",
        f"Its output is above. Did something else take port {port} meanwhile? `trueup ui --port N` takes another.",
    )


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a polite end from outside (SIGTERM, a closed terminal) take the way of Ctrl-C."""
    kept = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _children(environment: dict[str, str], *modules: list[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Our interpreter on each module, each leading a group of its own, so that what it starts can be ended with it."""
    children: list[subprocess.Popen[bytes]] = []
    try:
        for module in modules:
            command = [sys.executable, "-m", *module]
            children.append(subprocess.Popen(command, env=environment, cwd=project_root(), start_new_session=True))  # noqa: S603 -- our own interpreter, fixed modules
        yield children
    finally:
        _end(children)


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Ask each to end, wait, and end what is left of its group."""
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + PATIENCE_SECONDS
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            continue
    for child in children:
        _end_group(child.pid)
        child.wait()


def _end_group(leader: int) -> None:
    """What a child started and did not end: its code servers."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
