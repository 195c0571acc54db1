"""A report's page, written and opened in a browser."""

from __future__ import annotations

import re
from pathlib import Path

from cotdistill.reports import Evidence
from cotdistill.reports.figures import draw_all
from cotdistill.reports.html import html_page
from cotdistill.reports.names import labelled
from cotdistill.reports.sections import parts_of


class Opened:
    """A page that is ready, with everything that it asked for and complained about."""

    def __init__(self, browser, file: Path, *, width: int = 1280, height: int = 900, scheme: str = "light"):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def count(self) -> int:
        """How many questions pass the filters, once they have settled."""
        self.page.wait_for_selector("#list[aria-busy=false]")
        return int(self.page.inner_text("#count").split(" of ")[0].replace(",", ""))

    def choose(self, **values: str) -> int:
        for name, value in values.items():
            self.page.select_option(f"#{name}", value)
        return self.count()

    def search(self, words: str) -> int:
        self.page.fill("#search", words)
        return self.count()

    def wait_for_sample(self, words: str) -> None:
        """Until the sample whose heading holds ``words`` is shown."""
        self.page.locator("#sample h3").filter(has_text=words).wait_for(timeout=10_000)

    def card(self, name: str):
        return self.page.locator(".card").filter(has=self.page.get_by_text(name, exact=True))


def write_page(evidence: Evidence, path: Path) -> Path:
    evidence = labelled(evidence)
    path.write_text(html_page(evidence, parts_of(evidence, draw_all(evidence))), encoding="utf-8")
    return path


def luminance(color: str) -> float:
    """Relative luminance after WCAG 2.2."""
    channels = [int(number) / 255 for number in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
