"""The page of a report: ``report.html``, one file that needs no network and no other file.

Names and texts come from users and models. They reach the page in two ways only: escaped by jinja2, or packed in base64
(see ``samples.py``) and shown by the script as text. A content policy with hashes lets nothing else run or load.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cotdistill.progress import duration
from cotdistill.reports.caveats import caveats
from cotdistill.reports.details import some_of
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.inline_svg import InlineFigures
from cotdistill.reports.page import NOTES, taught
from cotdistill.reports.samples import MAX_BYTES, pack
from cotdistill.reports.sections import Part
from cotdistill.reports.tables import Table
from cotdistill.reports.texts import block, one_line
from cotdistill.reports.verdict import Name, Sentence, findings, flips_in_words, is_shown, verdict
from cotdistill.version import __version__

_WEB = Path(__file__).with_name("web")
_ASIDE = ("metrics", "seeds", "tasks", "groups", "gains")
"""Tables that are folded until they are asked for."""


def html_page(evidence: Evidence, parts: Sequence[Part], max_sample_bytes: int = MAX_BYTES) -> str:
    """The whole page; samples take at most ``max_sample_bytes`` (deflated; a third more in the page)."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    figures = InlineFigures()
    drawings = [drawing for part in parts for drawing in part.drawings]
    drawn = {drawing.name: Markup(figures.add(drawing.svg, drawing.name)) for drawing in drawings}
    style = f"{_read('report.css')}\n{figures.rules}\n"
    script = _read("report.js")
    environment = Environment(
        loader=FileSystemLoader(_WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"line": one_line, "block": block, "parts": _parts}
    return environment.get_template("report.html").render(
        evidence=evidence,
        version=__version__,
        verdict=verdict(evidence),
        shown=bool(evidence.comparisons) and is_shown(evidence.comparisons[0]),
        findings=findings(evidence),
        flips=[flips_in_words(comparison) for comparison in evidence.comparisons],
        facts=_facts(evidence),
        caveats=caveats(evidence),
        parts=parts,
        tables={table.name: table for part in parts for table in part.tables},
        notes=NOTES,
        is_wide=_is_wide,
        aside=_ASIDE,
        taught=taught(evidence),
        some_of=some_of,
        svg=drawn,
        samples=pack(evidence, max_sample_bytes),
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
    )


def _facts(evidence: Evidence) -> list[str]:
    """What the evidence rests on, in one line."""
    items = sorted({arm.score.n for arm in evidence.arms.values()})
    seeds = max((arm.num_seeds for arm in evidence.arms.values()), default=0)
    found = [(len(evidence.arms), "arm"), (items[-1] if items else 0, "item"), (len(evidence.tasks), "task")]
    words = [f"{count:,} {noun}{'s' * (count != 1)}" for count, noun in [*found, (seeds, "seed")] if count]
    shown = sum(map(is_shown, evidence.comparisons))
    if (total := len(evidence.comparisons) + len(evidence.untested)) > 1:
        words.append(f"{shown} of {total} declared comparisons show a difference")
    return words + ([f"computed in {duration(evidence.seconds)}"] if evidence.seconds else [])


def _parts(sentence: Sentence) -> list[tuple[str, bool]]:
    """Pieces of a sentence, each with whether it is a name; no line breaks between a sign and its number."""
    return [(one_line(part), True) if isinstance(part, Name) else (_unbroken(part), False) for part in sentence]


def _unbroken(text: str) -> str:
    for sign in ("p < ", "p = ", "95 % "):
        text = text.replace(sign, sign[:-1].replace(" ", "\u00a0") + "\u00a0")
    return text


def _is_wide(table: Table) -> bool:
    """A table that is put aside until it is asked for."""
    return len(table.values) > 30


def _read(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def _hash(text: str) -> Any:
    """As a content policy names what it lets through: exactly this text, within its element."""
    from markupsafe import Markup

    return Markup("'sha256-{}'").format(base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())
