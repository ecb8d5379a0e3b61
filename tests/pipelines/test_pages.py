"""Pages: the report in a real browser, and the web server with this project in it, which leaves nothing running."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from pipelines.instance import open_instance
from tests.pipelines.conftest import Lab
from trueup.stores.settings import load_settings

START_SECONDS = 120
END_SECONDS = 10
IMAGES = "img[src^=data]"
CHARTS = {"disagreements": 4, "implied_states": 1}
QUERY = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } assetNodes { id } }"


@pytest.mark.browser
def test_the_report_draws_every_picture_and_loads_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.trueup("audit")
    page_file = tmp_path / "report.html"
    assert lab.trueup("report", "--html", str(page_file)) == 0
    asked: list[str] = []
    with browser_page() as (page, faults):
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        page.wait_for_function("document.querySelectorAll('svg').length >= 5", timeout=30_000)
        pictures = page.locator("svg").count()
        words = page.inner_text("body")

    assert (faults, asked) == ([], [page_file.as_uri()])
    assert pictures == 5
    assert "of 400 accounts disagree" in words


def test_an_audit_leaves_its_pictures_in_the_metadata(lab: Lab) -> None:
    lab.trueup("audit")
    pictures = {asset: charts_in(str(metadata_of(asset)["charts"].value)) for asset in CHARTS}

    assert {asset: len(svgs) for asset, svgs in pictures.items()} == CHARTS
    assert {svg[:4] for svgs in pictures.values() for svg in svgs} == {b"<svg"}
    assert not [svg for svgs in pictures.values() for svg in svgs if len(svg) > 100_000]


@pytest.mark.browser
def test_dagsters_pages_show_the_pictures(lab: Lab) -> None:
    lab.trueup("audit")
    with serving(lab.home) as (port, _, _), browser_page() as (page, _):
        page.set_default_timeout(60_000)
        drawn = {}
        for asset, pictures in CHARTS.items():
            page.goto(f"http://127.0.0.1:{port}/assets/{asset}?view=overview")
            page.locator("tr", has_text="charts").get_by_text("[Show Markdown]").click()
            page.wait_for_function(f"document.querySelectorAll('{IMAGES}').length == {pictures}")
            drawn[asset] = page.eval_on_selector_all(IMAGES, "all => all.map(one => one.naturalWidth)")

    assert {asset: len(widths) for asset, widths in drawn.items()} == CHARTS
    assert min(width for widths in drawn.values() for width in widths) > 200


def test_the_web_server_shows_this_project_and_leaves_nothing_running(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, ui, told):
        children = children_of(ui)

    assert [entry["loadStatus"] for entry in told["workspaceOrError"]["locationEntries"]] == ["LOADED"]
    assert len(told["assetNodes"]) > 30
    assert len(children) >= 2
    deadline = time.monotonic() + END_SECONDS  # a busy machine buries the dead a moment later
    while any(is_running(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in children if is_running(pid)]


@contextmanager
def browser_page() -> Iterator[tuple[Any, list[str]]]:
    """An empty page in a real browser, and the faults that its scripts will have."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("chromium is not installed; .ci/run installs it, or leave this out with -m 'not browser'")
    from playwright.sync_api import sync_playwright

    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        yield page, faults
        browser.close()


def metadata_of(asset: str) -> Mapping[str, dg.MetadataValue]:
    """What Dagster's log has of the asset's latest materialization."""
    with open_instance(load_settings()) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization.metadata


def charts_in(markdown: str) -> list[bytes]:
    """The SVGs inside Markdown."""
    lines = [line for line in markdown.splitlines() if line.startswith("![")]
    return [b64decode(line.partition("(data:image/svg+xml;base64,")[2].rstrip(")")) for line in lines]


@contextmanager
def serving(home: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """`trueup ui` on a home until the end of the block: its port, its process, and what it says of the project."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("trueup")), "ui", "--port", str(port)]
    said = home / "said"
    with said.open("w") as output:
        ui = subprocess.Popen(command, env={**os.environ, "TRUEUP_HOME": str(home)}, stdout=output, stderr=output)
    try:
        yield port, ui.pid, asked_of(port, ui, said)
    finally:
        ui.send_signal(signal.SIGINT)
        ui.wait(30)


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
