"""Charts: what is drawn of a report, as Dagster's metadata holds it."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from trueup.audit.charts import RUNS_IN_COLUMNS, charts_of, in_markdown
from trueup.audit.manifest import Manifest
from trueup.audit.report import Report, ages_of, report_of_run
from trueup.audit.run_folder import Run
from trueup.contract.schemas import FINDINGS, STORES
from trueup.drift import CODES
from trueup.stores.scope import Scope
from trueup.stores.settings import Settings

AS_OF = datetime(2026, 11, 20, 12, tzinfo=UTC)
TITLES = [
    "Accounts that disagree, run by run",
    "By code, run by run",
    "The latest run, by owner and code",
    "How long open findings have been seen",
    "Store by store",
]


def report(runs: int, codes: int = 3, *, has_findings_last: bool = True) -> Report:
    """A report of as many runs, an hour apart, with as many codes in each."""
    instants = [AS_OF + timedelta(hours=number) for number in range(runs)]
    shown = list(CODES.values())[:codes]
    told = [
        {"number": number, "as_of": at, "code": one.code, "category": one.category, "severity": "S1"}
        | {"owner": one.owner, "accounts": 1, "findings": number + 1}
        for number, at in enumerate(instants)
        for one in shown
        if has_findings_last or number < runs - 1
    ]
    seen = [
        {"code": one.code, "severity": "S1", "owner": one.owner, "first_seen_at": AS_OF - timedelta(days=days)}
        for one in shown
        for days in (0, 3, 10, 40)
    ]
    return Report(
        scope="fleet",
        wholeness="whole",
        runs=pl.DataFrame(
            {"number": range(runs), "as_of": instants, "accounts": 10, "accounts_disagreeing": 2, "findings": 3}
            | {"broken": ""}
        ),
        by_code=pl.DataFrame(told),
        ages=ages_of(pl.DataFrame(seen, schema_overrides=FINDINGS), AS_OF),
        matrix=pl.DataFrame([{"store_a": a, "store_b": b, "accounts": 1} for a in STORES for b in STORES]),
    )


def images(markdown: str) -> list[ET.Element]:
    """The images in Markdown, each decoded and read."""
    addresses = [line.rpartition("(")[2].rstrip(")") for line in markdown.splitlines() if line.startswith("![")]
    kinds = {address.partition(",")[0] for address in addresses}
    assert kinds <= {"data:image/svg+xml;base64"}
    return [ET.fromstring(b64decode(address.partition(",")[2])) for address in addresses]  # noqa: S314 -- our own


def words_in(image: ET.Element) -> set[str]:
    return {text.strip() for element in image.iter() if (text := element.text or "").strip()}


@pytest.mark.parametrize("runs", [1, 2])
def test_every_picture_is_an_image_inside_the_markdown(runs: int) -> None:
    drawn = charts_of(report(runs))
    told = in_markdown(drawn)

    assert [chart.title for chart in drawn] == TITLES
    assert [float(image.attrib["width"]) > 100 for image in images(told)] == [True] * 5


def test_a_long_history_of_every_code_stays_small_and_legible() -> None:
    by_code = charts_of(report(100, len(CODES)))[1]
    words = words_in(images(by_code.markdown())[0])

    assert set(CODES) <= words
    assert len([word for word in words if " Nov " in word]) == RUNS_IN_COLUMNS
    assert len(by_code.markdown()) < 150_000


def test_a_last_run_without_a_finding_has_a_column_and_nobody_to_mend_it() -> None:
    drawn = charts_of(report(2, has_findings_last=False))

    assert TITLES[2] not in [chart.title for chart in drawn]
    assert {"20 Nov 12:00", "20 Nov 13:00"} <= words_in(images(drawn[1].markdown())[0])


def test_runs_within_a_minute_are_told_apart_by_their_seconds() -> None:
    two = report(2)
    instants = pl.Series("as_of", [AS_OF, AS_OF + timedelta(seconds=15)])
    close = replace(two, runs=two.runs.with_columns(instants))
    over_time, by_code = (words_in(images(chart.markdown())[0]) for chart in charts_of(close)[:2])

    assert {"20 Nov 12:00:00", "20 Nov 12:00:15"} <= over_time & by_code


def test_a_run_that_could_not_see_breaks_the_line_and_is_marked() -> None:
    shown = report(3)
    blind = pl.Series("broken", ["", "stripe SRC_PARTIAL", ""])
    drawn = charts_of(replace(shown, runs=shown.runs.with_columns(blind)))[0]
    line = next(iter(drawn.spec()["datasets"].values()))

    assert "cannot tell" in words_in(images(drawn.markdown())[0])
    assert [row["accounts_disagreeing"] for row in line] == [2, None, 2]


def test_what_has_been_open_longest_is_told_in_words() -> None:
    spans = {"within a day", "over a day ago", "over a week ago", "over 30 days ago"}

    assert spans <= words_in(images(charts_of(report(1))[3].markdown())[0])


def test_a_run_that_the_history_does_not_keep_is_drawn_alone(tmp_path: Path) -> None:
    nowhere = Settings(subs_api_url="postgresql+psycopg://nobody@/nothing?host=/nowhere")
    run = Run(Manifest.of_launch(nowhere, "r1", AS_OF, Scope.fleet()), tmp_path)
    row = {"account_id": "a1", "code": "MAP_MISSING", "severity": "S1", "owner": "A1 setup", "first_seen_at": AS_OF}
    flags = {"is_settling": False, "is_suppressed": False}
    findings = pl.DataFrame([row | flags], schema_overrides=FINDINGS)

    told = report_of_run(nowhere, run, 10, findings, pl.DataFrame())

    assert told.runs.select("as_of", "accounts", "accounts_disagreeing").rows() == [(AS_OF, 10, 1)]
    assert told.by_code.select("code", "findings").rows() == [("MAP_MISSING", 1)]
    assert [chart.title for chart in charts_of(told)] == TITLES[:4]
