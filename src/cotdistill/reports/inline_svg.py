"""Figures within the page: SVG that takes its colours from the page, and that a strict content policy lets through.

matplotlib writes every look as a ``style`` attribute with fixed colours, which neither a dark page nor a policy without
inline styles can live with. Here looks become classes of the page's one style sheet, and colours its variables.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from cotdistill.reports.figures.canvas import FAINT, INK, PAPER, QUIET, SERIES

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_VARIABLES = {INK: "--ink", QUIET: "--quiet", FAINT: "--line", PAPER: "--paper"} | {
    color: f"--series-{number}" for number, color in enumerate(SERIES, 1)
}
_COLOR = re.compile(r"#[0-9a-f]{6}\b")
_DROPPED = {f"{_SVG}metadata", f"{_SVG}style"}


class InlineFigures:
    """Collects figures for one page; ``rules`` is the style sheet that they need."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    @property
    def rules(self) -> str:
        lines = (f".{name}{{{_themed(style)}}}" for style, name in self._classes.items())
        return "\n".join([".figure svg *{stroke-linejoin:round;stroke-linecap:butt}", *lines])

    def add(self, svg: str, name: str) -> str:
        """``svg`` (matplotlib's) as an element for the page; ``name`` keeps its ids apart from other figures'."""
        root = ElementTree.fromstring(svg)
        used = set(re.findall(r"#([A-Za-z_][\w.-]*)", " ".join(_references(root))))
        for parent in root.iter():
            for child in [child for child in parent if child.tag in _DROPPED]:
                parent.remove(child)
        for element in root.iter():
            element.tag = element.tag.removeprefix(_SVG)
            element.attrib = dict(self._attributes(element, used, name))
        view = root.get("viewBox", "0 0 1 1")
        root.attrib = {"viewBox": view, "aria-hidden": "true"}
        return ElementTree.tostring(root, encoding="unicode")

    def _attributes(self, element: ElementTree.Element, used: set[str], name: str):
        for key, value in element.attrib.items():
            if key == "style":
                yield "class", self._class(value)
            elif key == "id":
                if value in used:
                    yield "id", f"{name}-{value}"
            elif key == f"{_XLINK}href":
                yield "href", value.replace("#", f"#{name}-", 1)
            elif value.startswith("url(#"):
                yield key, value.replace("url(#", f"url(#{name}-", 1)
            elif not key.startswith("{"):
                yield key, value

    def _class(self, style: str) -> str:
        return self._classes.setdefault(style, f"f{len(self._classes)}")


def _references(root: ElementTree.Element) -> list[str]:
    return [value for element in root.iter() for key, value in element.attrib.items() if key != "style"]


def _themed(style: str) -> str:
    """A look with the page's colours and typeface; matplotlib writes it, so it holds nobody else's text."""
    style = _COLOR.sub(lambda match: f"var({_VARIABLES[c]})" if (c := match[0].lower()) in _VARIABLES else c, style)
    return re.sub(r"font: ([\d.]+)px [^;]*", r"font-size:\1px", style)
