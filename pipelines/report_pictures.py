"""Pictures of the report, drawn with Altair into one page that loads nothing from anywhere.

The libraries that draw are put into the page by vl-convert; so the file can be mailed, kept and opened without network.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

import altair as alt
import polars as pl
import vl_convert

from dunning.schemas import STORES
from pipelines.report import Report

SEVERITY_COLOURS: Final = {"S1": "#c0392b", "S2": "#e67e22", "S3": "#2980b9", "S4": "#95a5a6", "none": "#8e44ad"}
WIDE: Final = 760
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 980px; color: #222; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem }
p { margin: .3rem 0 } .big { font-size: 2.6rem; font-weight: 700; color: #c0392b } .big.none { color: #27ae60 }
"""


def page(report: Report) -> str:
    """The whole page as HTML."""
    last = report.runs.row(-1, named=True)
    disagreeing = int(last["accounts_disagreeing"])
    told = f"of {last['accounts']:,} accounts disagree as of {last['as_of']:%Y-%m-%d %H:%M}Z ({escape(report.scope)})"
    drawn = charts(report)
    pictures = "\n".join(
        f'<h2>{escape(title)}</h2>\n<p>{escape(words)}</p>\n<div id="picture{number}"></div>'
        for number, (title, words, _) in enumerate(drawn)
    )
    specs = ",\n".join(_in_script(chart.to_json(indent=None)) for _, _, chart in drawn)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Trueup: disagreements</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>Disagreements between six stores</h1>\n"
        f'<p><span class="big{"" if disagreeing else " none"}">{disagreeing:,}</span> {told}</p>\n{pictures}\n'
        f"<script>{_in_script(vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed;'))}</script>\n"
        f"<script>[{specs}].forEach((spec, number) => "
        f"vegaEmbed('#picture' + number, spec, {{actions: false, renderer: 'svg'}}));</script>\n</body></html>\n"
    )


def _in_script(text: str) -> str:
    """Text that cannot end the script it stands in."""
    return text.replace("</script", "<\\/script")


def charts(report: Report) -> list[tuple[str, str, Any]]:
    """Title, words and chart of each picture, those with nothing to show left out."""
    drawn = [("Accounts that disagree, run by run", "The number that should fall.", _over_time(report.runs))]
    if report.by_code.height:
        words = "Findings by code; one stale event can be behind several codes."
        drawn.append(("By code, run by run", words, _codes_over_time(report.by_code)))
        latest = report.by_code.filter(pl.col("number") == report.by_code["number"].max())
        drawn.append(("The latest run, by code and severity", "Who has to mend what.", _by_owner(latest)))
    if report.ages.height:
        drawn.append(
            (
                "How long open findings have been seen",
                "By days since the first audit that saw them.",
                _ages(report.ages),
            )
        )
    if report.matrix.height:
        words = "Accounts of which two stores imply different things; on the diagonal, a store and its own copy."
        drawn.append(("Store by store", words, _matrix(report.matrix)))
    return drawn


def _over_time(runs: pl.DataFrame) -> Any:  # noqa: ANN401 -- Altair has no types
    base = alt.Chart(runs).encode(x=alt.X("as_of:T", title="as of", axis=alt.Axis(format="%d %b %H:%M")))
    tooltip = ["as_of:T", "accounts_disagreeing:Q", "accounts:Q", "findings:Q"]
    line = base.mark_line(color="#c0392b", point=True).encode(
        y=alt.Y("accounts_disagreeing:Q", title="accounts", scale=alt.Scale(zero=True), axis=alt.Axis(tickMinStep=1)),
        tooltip=tooltip,
    )
    return line.properties(width=WIDE, height=220)


def _codes_over_time(by_code: pl.DataFrame) -> Any:  # noqa: ANN401
    """A row per code and a column per run: thirty lines in one picture would be none."""
    summed = by_code.group_by("number", "as_of", "code", "category").agg(
        pl.col("accounts").sum(), pl.col("findings").sum()
    )
    labelled = summed.with_columns(run=pl.col("as_of").dt.strftime("%Y-%m-%d %H:%M:%S"))
    base = alt.Chart(labelled).encode(
        x=alt.X("run:O", title="as of", axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("code:N", title=None, axis=alt.Axis(labelLimit=260)),
    )
    cells = base.mark_rect(stroke="white").encode(
        color=alt.Color("findings:Q", scale=alt.Scale(type="symlog", scheme="reds", domainMin=0), title="findings"),
        tooltip=["as_of:T", "code:N", "category:N", "accounts:Q", "findings:Q"],
    )
    return (cells + base.mark_text().encode(text="findings:Q")).properties(width=WIDE - 260)


def _by_owner(latest: pl.DataFrame) -> Any:  # noqa: ANN401
    return (
        alt.Chart(latest)
        .mark_bar()
        .encode(
            y=alt.Y("code:N", sort="-x", title=None, axis=alt.Axis(labelLimit=260)),
            x=alt.X("findings:Q", title="findings"),
            color=_severity_colour(),
            tooltip=["code:N", "severity:N", "owner:N", "accounts:Q", "findings:Q"],
        )
        .properties(width=WIDE - 260)
        .facet(
            row=alt.Row("owner:N", title=None, header=alt.Header(labelAngle=0, labelAlign="left", labelOrient="top"))
        )
        .resolve_scale(y="independent")
    )


def _ages(open_findings: pl.DataFrame) -> Any:  # noqa: ANN401
    return (
        alt.Chart(open_findings)
        .mark_circle(opacity=0.8)
        .encode(
            x=alt.X("age_days:Q", title="days since first seen", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("code:N", title=None, axis=alt.Axis(labelLimit=260)),
            size=alt.Size("findings:Q", title="findings"),
            color=_severity_colour(),
            tooltip=["code:N", "severity:N", "owner:N", "age_days:Q", "findings:Q"],
        )
        .properties(width=WIDE - 260)
    )


def _matrix(counts: pl.DataFrame) -> Any:  # noqa: ANN401
    order = list(STORES)
    base = alt.Chart(counts).encode(
        x=alt.X("store_b:N", sort=order, title=None, axis=alt.Axis(orient="top", labelAngle=0)),
        y=alt.Y("store_a:N", sort=order, title=None),
    )
    cells = base.mark_rect(stroke="white").encode(
        color=alt.Color("accounts:Q", scale=alt.Scale(scheme="reds", domainMin=0), title="accounts"),
        tooltip=["store_a:N", "store_b:N", "accounts:Q"],
    )
    half = max(int(counts["accounts"].max() or 0) / 2, 1)  # type: ignore[arg-type]
    colour = alt.condition(f"datum.accounts > {half}", alt.value("white"), alt.value("#333"))
    return (cells + base.mark_text().encode(text="accounts:Q", color=colour)).properties(width=600, height=320)


def _severity_colour() -> Any:  # noqa: ANN401
    scale = alt.Scale(domain=list(SEVERITY_COLOURS), range=list(SEVERITY_COLOURS.values()))
    return alt.Color("severity:N", scale=scale, title="severity")
