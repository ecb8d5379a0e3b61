"""Charts: disagreements to look at, drawn with Altair for the report's page and for Dagster's pages alike.

Every chart is drawn from counts by run, code, owner, age or pair of stores; no account is in any of them. In a page
of ours the browser draws. Dagster shows Markdown only, so there a chart is an SVG inside its own address, drawn by
vl-convert in this process, which asks nothing of any network. Pixels would be ten times as many bytes in Dagster's log.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import altair as alt
import polars as pl
import vl_convert

from trueup.audit.report import SPANS, Report, span
from trueup.contract.schemas import STORES

RUNS_IN_COLUMNS: Final = 10  # more columns than this leave no room for their numbers
ALARM: Final = "#c0392b"
GREY: Final = "#7f8c8d"
SEVERITY_COLOURS: Final = {"S1": ALARM, "S2": "#e67e22", "S3": "#2980b9", "S4": "#95a5a6", "none": "#8e44ad"}
FEW_TO_MANY: Final = ["#ffffff", "#fde0d2", "#fcaf94", "#fb7050", "#d42a20", "#8f0d14"]
DARK: Final = 0.66  # where on that scale black figures can no longer be read
WIDE: Final = 640
ROW: Final = 18  # pixels
BY_MINUTE, BY_SECOND = "%d %b %H:%M", "%d %b %H:%M:%S"
FONT: Final = "Arial, sans-serif"  # of one width nearly everywhere, so that no label is cut


@dataclass(frozen=True)
class Chart:
    """A chart with its title, and words on how to read it."""

    title: str
    words: str
    chart: Any  # Altair has no types

    def spec(self) -> dict[str, Any]:
        """The chart in Vega-Lite, its data inside."""
        drawn: dict[str, Any] = self.chart.configure(font=FONT, aria=False, padding=12).to_dict()
        return drawn

    def svg(self) -> str:
        """The chart as SVG."""
        drawn: str = vl_convert.vegalite_to_svg(self.spec(), allowed_base_urls=[])
        font = f' font-family="{FONT}"'
        return drawn.replace(font, "").replace("<svg", f"<svg{font}", 1)  # said once, and not at every word

    def markdown(self) -> str:
        """Title, words and chart in Markdown that refers to nothing outside itself."""
        address = "data:image/svg+xml;base64," + b64encode(self.svg().encode()).decode()
        return f"#### {self.title}\n\n{self.words}\n\n![{self.title}]({address})"


def in_markdown(charts: Sequence[Chart]) -> str:
    """The charts one below the other."""
    return "\n\n".join(chart.markdown() for chart in charts)


def charts_of(report: Report) -> list[Chart]:
    """Everything that the report has to show; what has nothing to show is left out."""
    return [*charts_of_findings(report), *charts_of_stores(report.matrix)]


def charts_of_findings(report: Report) -> list[Chart]:
    """Disagreements over time, by code, by owner and by age."""
    drawn = [Chart("Accounts that disagree, run by run", "The number that should fall.", _over_time(report.runs))]
    if report.by_code.height:
        words = (
            "Findings by code in the last runs, named by their instant in UTC; one stale event can be behind several."
        )
        drawn.append(Chart("By code, run by run", words, _codes_over_time(report.runs, report.by_code)))
    if report.latest.height:
        words = "Who has to mend what. S1 is wrong now, S2 at the next cycle, S3 without effect yet, S4 is hygiene."
        drawn.append(Chart("The latest run, by owner and code", words, _by_owner(report.latest)))
    if report.ages.height:
        words = "Since the first audit that saw them; what has been open longest is on top."
        drawn.append(Chart("How long open findings have been seen", words, _ages(report.ages)))
    return drawn


def charts_of_stores(matrix: pl.DataFrame) -> list[Chart]:
    """The store x store matrix."""
    if matrix.is_empty():
        return []
    words = "Accounts of which two stores imply different things; on the diagonal, a store and its own copy."
    return [Chart("Store by store", words, _matrix(matrix))]


def _over_time(runs: pl.DataFrame) -> Any:  # noqa: ANN401 -- Altair has no types
    """The number by run; a run that could not rely on a store breaks the line and is marked."""
    number = pl.when(pl.col("broken") == "").then(pl.col("accounts_disagreeing"))
    instants = alt.X("as_of:T", title="as of, UTC", scale=alt.Scale(type="utc", padding=20), axis=_instants(runs))
    line = (
        alt.Chart(runs.with_columns(accounts_disagreeing=number))
        .mark_line(color=ALARM, point=alt.OverlayMarkDef(color=ALARM, size=40))
        .encode(
            x=instants,
            y=alt.Y(
                "accounts_disagreeing:Q",
                title="accounts",
                scale=alt.Scale(zero=True),
                axis=_whole_numbers(titlePadding=12),
            ),
            tooltip=["as_of:T", "accounts_disagreeing:Q", "accounts:Q", "findings:Q"],
        )
    )
    blind = runs.filter(pl.col("broken") != "")
    marks = [] if blind.is_empty() else _marks_of_blind_runs(blind, instants)
    return alt.layer(line, *marks).properties(width=WIDE, height=200)


def _marks_of_blind_runs(blind: pl.DataFrame, instants: Any) -> list[Any]:  # noqa: ANN401
    """A dashed line and words where a run could not see."""
    base = alt.Chart(blind).encode(x=instants, tooltip=["as_of:T", "broken:N"])
    words = base.mark_text(text="cannot tell", angle=270, align="left", dx=-90, dy=-6, color=GREY).encode(
        y=alt.value(0)
    )
    return [base.mark_rule(color=GREY, strokeDash=[4, 3]), words]


def _codes_over_time(runs: pl.DataFrame, by_code: pl.DataFrame) -> Any:  # noqa: ANN401
    """A row per code and a column per run: thirty lines in one chart would be none."""
    last = runs.tail(RUNS_IN_COLUMNS)
    shown = last.select("number", run=pl.col("as_of").dt.strftime(_words_for(last["as_of"])))
    summed = by_code.group_by("number", "as_of", "code", "category").agg(pl.col("accounts", "findings").sum())
    return _grid(
        summed.join(shown, on="number").sort("number", "code"),
        x=_columns("run", shown["run"].to_list(), angle=-40),
        y=_rows("code", alt.Undefined),
        tooltip=["as_of:T", "code:N", "category:N", "accounts:Q", "findings:Q"],
    ).properties(width=alt.Step(48), height=alt.Step(ROW))


def _by_owner(latest: pl.DataFrame) -> Any:  # noqa: ANN401
    colours = {one: colour for one, colour in SEVERITY_COLOURS.items() if one in latest["severity"]}
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    heading = alt.Header(labelAngle=0, labelAnchor="start", labelOrient="top", labelFontWeight="bold")
    return (
        alt.Chart(latest)
        .mark_bar()
        .encode(
            y=_rows("code", "-x"),
            x=alt.X("findings:Q", title="findings", axis=_whole_numbers()),
            color=alt.Color("severity:N", scale=scale, title="severity"),
            tooltip=["code:N", "severity:N", "owner:N", "accounts:Q", "findings:Q"],
        )
        .properties(width=WIDE - 260, height=alt.Step(ROW))
        .facet(row=alt.Row("owner:N", title=None, header=heading), spacing=14)
        .resolve_scale(y="independent")
    )


def _ages(ages: pl.DataFrame) -> Any:  # noqa: ANN401
    """A row per code and a column per span of time, oldest first."""
    oldest = ages.group_by("code").agg(pl.col("age_days").max()).sort("age_days", "code", descending=[True, False])
    spans = ages.group_by("code", span=span(pl.col("age_days")).cast(pl.String())).agg(pl.col("findings").sum())
    return _grid(
        spans.sort("code", "span"),
        x=_columns("span", list(SPANS)),
        y=_rows("code", oldest["code"].to_list()),
        tooltip=["code:N", "span:N", "findings:Q"],
    ).properties(width=alt.Step(104), height=alt.Step(ROW))


def _matrix(counts: pl.DataFrame) -> Any:  # noqa: ANN401
    return _grid(
        counts,
        x=_columns("store_b", list(STORES)),
        y=_rows("store_a", list(STORES)),
        tooltip=["store_a:N", "store_b:N", "accounts:Q"],
        counted="accounts",
    ).properties(width=alt.Step(96), height=alt.Step(44))


def _grid(cells: pl.DataFrame, x: Any, y: Any, tooltip: list[str], counted: str = "findings") -> Any:  # noqa: ANN401
    """Cells with their number in them, darker where it is higher; a cell of nothing stays white."""
    most = max(int(cells[counted].max() or 0), 1)  # type: ignore[arg-type]
    colours = alt.Scale(type="sqrt", domain=[0, most], range=FEW_TO_MANY, interpolate="rgb")
    is_dark = f"datum.{counted} > {DARK**2 * most:.3f}"
    base = alt.Chart(cells).encode(x=x, y=y, tooltip=tooltip)
    squares = base.mark_rect(stroke="white").encode(color=alt.Color(f"{counted}:Q", scale=colours, legend=None))
    number = alt.condition(is_dark, alt.value("white"), alt.value("#333"))
    return squares + base.mark_text().encode(text=alt.Text(f"{counted}:Q", format=",d"), color=number)


def _columns(name: str, order: list[str], angle: int = 0) -> Any:  # noqa: ANN401
    """All of these, in this order, whether or not there is anything in them."""
    axis = alt.Axis(orient="top", labelAngle=angle, labelPadding=6, ticks=False, domain=False)
    return alt.X(f"{name}:N", sort=order, scale=alt.Scale(domain=order), title=None, axis=axis)


def _rows(name: str, order: Any) -> Any:  # noqa: ANN401
    return alt.Y(
        f"{name}:N", sort=order, title=None, axis=alt.Axis(labelLimit=300, labelPadding=6, ticks=False, domain=False)
    )


def _instants(runs: pl.DataFrame) -> Any:  # noqa: ANN401
    """An axis of instants: those of the runs, as long as they are few."""
    few = [_vega_instant(at) for at in runs["as_of"]] if runs.height <= RUNS_IN_COLUMNS else alt.Undefined
    return alt.Axis(format=_words_for(runs["as_of"]), values=few, labelOverlap="greedy", labelSeparation=16)


def _vega_instant(at: datetime) -> Any:  # noqa: ANN401
    return alt.DateTime(
        year=at.year,
        month=at.month,
        date=at.day,
        hours=at.hour,
        minutes=at.minute,
        seconds=at.second,
        milliseconds=at.microsecond // 1000,
        utc=True,
    )


def _whole_numbers(**more: Any) -> Any:  # noqa: ANN401
    return alt.Axis(tickMinStep=1, format=",d", **more)


def _words_for(instants: pl.Series) -> str:
    """As few words as tell instants apart."""
    return BY_MINUTE if instants.dt.strftime(BY_MINUTE).n_unique() == len(instants) else BY_SECOND
