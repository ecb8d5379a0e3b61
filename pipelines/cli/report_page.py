"""The page of the report: every picture in one file that loads nothing from anywhere.

The libraries that draw are put into the page by vl-convert; so the file can be mailed, kept and opened without network.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

import orjson
import vl_convert

from trueup.audit.charts import charts_of
from trueup.audit.report import Report

STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 980px; color: #222; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem }
p { margin: .3rem 0 } .big { font-size: 2.6rem; font-weight: 700; color: #c0392b } .big.none { color: #27ae60 }
"""


def write_html(report: Report, path: Path) -> None:
    """One page with every picture, loading nothing from anywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """The whole page as HTML."""
    last = report.runs.row(-1, named=True)
    disagreeing = int(last["accounts_disagreeing"])
    told = f"of {last['accounts']:,} accounts disagree as of {last['as_of']:%Y-%m-%d %H:%M}Z ({escape(report.scope)})"
    drawn = charts_of(report)
    pictures = "\n".join(
        f'<h2>{escape(picture.title)}</h2>\n<p>{escape(picture.words)}</p>\n<div id="picture{number}"></div>'
        for number, picture in enumerate(drawn)
    )
    specs = ",\n".join(_in_script(orjson.dumps(picture.spec()).decode()) for picture in drawn)
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
