"""Pages: the report in a real browser, and the web server with this project in it, which leaves nothing running."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.pipelines.conftest import Lab

START_SECONDS = 120
QUERY = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } assetNodes { id } }"


@pytest.mark.browser
def test_the_report_draws_every_picture_and_loads_nothing(lab: Lab, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("chromium is not installed; .ci/run installs it, or leave this out with -m 'not browser'")
    from playwright.sync_api import sync_playwright

    lab.trueup("audit")
    page_file = tmp_path / "report.html"
    assert lab.trueup("report", "--html", str(page_file)) == 0
    faults: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        page.wait_for_function("document.querySelectorAll('svg').length >= 5", timeout=30_000)
        pictures = page.locator("svg").count()
        words = page.inner_text("body")
        browser.close()

    assert (faults, asked) == ([], [page_file.as_uri()])
    assert pictures == 5
    assert "of 400 accounts disagree" in words


def test_the_web_server_shows_this_project_and_leaves_nothing_running(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("trueup")), "ui", "--port", str(port)]
    environment = {**os.environ, "TRUEUP_HOME": str(tmp_path)}
    said = tmp_path / "said"
    with said.open("w") as output:
        ui = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        told = asked_of(port, ui, said)
        children = children_of(ui.pid)
    finally:
        ui.send_signal(signal.SIGINT)
        ui.wait(30)

    assert [entry["loadStatus"] for entry in told["workspaceOrError"]["locationEntries"]] == ["LOADED"]
    assert len(told["assetNodes"]) > 30
    assert len(children) >= 2
    assert not [pid for pid in children if is_running(pid)]


def asked_of(port: int, ui: subprocess.Popen[bytes], said: Path) -> dict[str, Any]:
    """What the server says once it has loaded the project; it answers before that, and knows no asset then."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and ui.poll() is None:
        try:
            answer = httpx.post(f"http://127.0.0.1:{port}/graphql", json={"query": QUERY}, timeout=60)
            told: dict[str, Any] = answer.json()["data"]
        except httpx.TransportError:
            told = {}
        if told.get("assetNodes"):
            return told
        time.sleep(0.5)
    pytest.fail(f"it did not come up:\n{said.read_text()}")


def is_running(pid: int) -> bool:
    """Whether a process still does something; one that is dead and not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(parent: int) -> list[int]:
    """Every process below one."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = status.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(status.parent.name)] = int(told[1])
    found = [parent]
    for pid in found:
        found += [child for child, above in parents.items() if above == pid]
    return found[1:]
