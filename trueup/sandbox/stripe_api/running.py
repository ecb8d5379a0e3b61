"""The sandbox while it runs: in a thread of this process, or as a process of its own.

`StripeSandbox` is for tests: `objects` and `faults` are plain Python values of this process.
`StripeSandboxProcess` is for the demo and for measuring: a second core serves, and it ends with its starter.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import orjson
import polars as pl
import uvicorn
from starlette.applications import Starlette

from trueup.sandbox.stripe_api.faults import Fault, Faults
from trueup.sandbox.stripe_api.object_store import ObjectStore, Records
from trueup.sandbox.stripe_api.objects import as_frame
from trueup.sandbox.stripe_api.server import application
from trueup.stores.errors import TrueupError

DEFAULT_KEY: Final = "sk_test_sandbox"
KEY_VARIABLE: Final = "TRUEUP_SANDBOX_KEY"
READY: Final = "listening on "
_START_SECONDS: Final = 30.0


class StripeSandboxEnded(TrueupError):
    """The process of the Stripe sandbox ended by itself."""


class PortTaken(TrueupError):
    """Something else listens on the port."""


class StripeSandbox:
    """A sandbox served by a thread of this process, on a free port of loopback.

    with StripeSandbox() as sandbox:
        sandbox.load({"customers": frame_or_dicts, "invoices": …})
        sandbox.faults.add(Fault("error", path="/v1/charges", after=2))
        stripe.StripeClient(sandbox.api_key, base_addresses={"api": sandbox.base_url})
    """

    def __init__(self, api_key: str = DEFAULT_KEY, *, port: int = 0) -> None:
        self.api_key = api_key
        self.objects = ObjectStore()
        self.faults = Faults()
        self._app = application(self.objects, self.faults, api_key)
        self._port = port

    def __enter__(self) -> Self:
        self._socket = loopback(self._port)
        self.base_url = address(self._socket)
        self._server = quiet_server(self._app)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def load(self, objects: Mapping[str, Records]) -> None:
        """Many objects by kind: frames of flat records, flat records as dicts, or full objects."""
        for kind, records in objects.items():
            self.objects.load(kind, records)

    def load_files(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self.objects.load_file(path)

    def put(self, kind: str, *records: Mapping[str, Any]) -> None:
        """Objects put or replaced now, flat or full."""
        self.objects.put(kind, records)

    def drop(self, kind: str, object_id: str) -> None:
        self.objects.drop(kind, object_id)


class StripeSandboxProcess:
    """The same sandbox as a process of its own; `load`, `put`, `drop` and `add_fault` go to it over HTTP."""

    def __init__(self, api_key: str = DEFAULT_KEY, *, port: int = 0) -> None:
        self.api_key = api_key
        self._port = port

    def __enter__(self) -> Self:
        if self._port:
            loopback(self._port).close()  # here, where the error reaches whoever chose the port
        self._process = _started(self.api_key, self._port)
        try:
            self.base_url = _announced(self._process)
        except BaseException:  # interrupted as well
            self._process.kill()
            self._process.communicate()
            raise
        self._http = httpx.Client(base_url=self.base_url, auth=(self.api_key, ""), timeout=600, trust_env=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()
        self._process.terminate()
        self._process.communicate()

    def load(self, objects: Mapping[str, Records]) -> None:
        """Many objects by kind: frames or dicts of flat records. Full objects go by `put`."""
        for kind, records in objects.items():
            frame = records if isinstance(records, pl.DataFrame) else as_frame(kind, list(records))
            buffer = io.BytesIO()
            frame.write_parquet(buffer, compression="lz4")
            self._http.post(f"/_sandbox/load/{kind}", content=buffer.getvalue()).raise_for_status()

    def put(self, kind: str, *records: Mapping[str, Any]) -> None:
        """Objects put or replaced now, flat or full."""
        self._http.put(f"/_sandbox/objects/{kind}", content=orjson.dumps(records)).raise_for_status()

    def drop(self, kind: str, object_id: str) -> None:
        self._http.delete(f"/_sandbox/objects/{kind}/{object_id}").raise_for_status()

    def add_fault(self, fault: Fault) -> None:
        self._http.post("/_sandbox/faults", content=orjson.dumps(fault)).raise_for_status()

    def clear_faults(self) -> None:
        self._http.delete("/_sandbox/faults").raise_for_status()


def loopback(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes a free one.

    Raises:
        PortTaken: something listens there, or the system keeps the port for root.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise PortTaken(f"port {port} of 127.0.0.1: {error.strerror}.", "Use --port with another one.") from error
    listening.listen(256)
    return listening


def address(listening: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = listening.getsockname()
    return f"http://{host}:{port}"


def quiet_server(app: Starlette) -> uvicorn.Server:
    """A server that logs nothing: a dropped connection is a fault that was asked for."""
    config = uvicorn.Config(app, ws="none", lifespan="off", access_log=False, log_level="critical", log_config=None)
    return uvicorn.Server(config)


def _started(api_key: str, port: int) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", "trueup.sandbox.stripe_api", "--port", str(port), "--until-stdin-closes"]
    environment = {**os.environ, KEY_VARIABLE: api_key, "PYTHONPATH": str(root)}
    return subprocess.Popen(  # noqa: S603  # our own module, by our own interpreter
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # Ctrl-C is for its starter, with which it ends
    )


def _announced(process: subprocess.Popen[str]) -> str:
    """The address that the process prints once it listens."""
    line = process.stdout.readline() if process.stdout else ""
    if not line.startswith(READY):
        raise StripeSandboxEnded(
            f"the Stripe sandbox ended before it listened, with exit code {process.wait()}.",
            "Its output is above.",
        )
    return line.removeprefix(READY).strip()
