"""Where things are on the page, in a real Chromium: nothing overlaps, overflows or is too faint, on any screen."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from tests.reports import material
from tests.reports.pages import Opened, contrast, write_page

from cotdistill.reports import Evidence
from cotdistill.reports.evidence import Example, Examples

pytestmark = pytest.mark.browser

PHONE, TABLET, DESKTOP = 390, 800, 1400
_OPEN = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
_TEXTS = """figure => [...figure.querySelectorAll('svg text')].filter(text => text.textContent.trim()).map(text => {
    const box = text.getBoundingClientRect();
    return [text.textContent, box.left, box.top, box.right, box.bottom];
})"""
_INKS = """() => {
    const opaque = element => {
        for (; element; element = element.parentElement) {
            const color = getComputedStyle(element).backgroundColor;
            if (!/rgba?\\(.*, 0\\)/.test(color)) return color;
        }
        return getComputedStyle(document.body).backgroundColor;
    };
    const hasText = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    return [...document.body.querySelectorAll('*')]
        .filter(each => hasText(each) && each.checkVisibility() && !each.closest('#figure-tasks, script, style, .skip'))
        .map(each => {
            const style = getComputedStyle(each);
            return [each.tagName + '.' + (each.getAttribute('class') || ''), each.textContent.slice(0, 40),
                    each.closest('svg') ? style.fill : style.color, opaque(each)];
        });
}"""


@pytest.fixture(scope="module", params=[2, 40])
def written(request, tmp_path_factory) -> tuple[Evidence, Path]:
    """A report of two arms, and one of forty whose names are long."""
    evidence = material.many(request.param)
    return evidence, write_page(evidence, tmp_path_factory.mktemp("many") / "report.html")


@pytest.mark.parametrize("width", [PHONE, TABLET, DESKTOP])
def test_nothing_is_wider_than_the_screen_and_no_labels_of_a_figure_overlap(chromium, written, width):
    page = Opened(chromium, written[1], width=width).page
    page.evaluate(_OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    figures = page.locator("figure")
    assert figures.count() > 5
    for figure in figures.all():
        texts = figure.evaluate(_TEXTS)
        picture = figure.locator("svg").bounding_box()
        for (one, *a), (other, *b) in combinations(texts, 2):
            apart = a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] + 1 or b[3] <= a[1] + 1
            assert apart, f"{figure.get_attribute('id')}: {one!r} and {other!r} overlap"
        for text, left, _, right, _ in texts:
            assert left >= picture["x"] - 1, text
            assert right <= picture["x"] + picture["width"] + 1, text


def test_on_a_phone_every_number_of_a_comparison_is_in_view(chromium, written):
    page = Opened(chromium, written[1], width=PHONE).page
    rows = page.locator("table.comparisons tbody tr")
    assert rows.count() == len(written[0].comparisons)
    for cell in rows.locator("td, th").all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE
    shown = [value.text_content() for value in rows.first.locator("td.number").all()]
    assert shown[-1].startswith(("0.", "1.", "<")), "the last is p after Holm"
    first = page.locator("table.scores tbody th").first
    page.locator(".scroll", has=page.locator("table.scores")).evaluate("scroll => { scroll.scrollLeft = 200; }")
    assert first.bounding_box()["x"] >= 0, "the arm stays in view while one looks at what is on the right"


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_stands_out_from_what_is_behind_it(chromium, written, scheme, width):
    page = Opened(chromium, written[1], width=width, scheme=scheme).page
    page.evaluate(_OPEN)
    inks = page.evaluate(_INKS)
    assert len(inks) > 100
    faint = [(what, words) for what, words, ink, paper in inks if contrast(ink, paper) < 4.5]
    assert faint == []


def test_long_names_are_short_everywhere_and_whole_once(chromium, written):
    evidence, file = written
    page = Opened(chromium, file).page
    page.evaluate(_OPEN)
    shown = page.locator("table.scores tbody th").all_text_contents()
    assert len(set(shown)) == len(evidence.arms)
    if len(evidence.arms) > 2:
        assert max(map(len, shown)) <= 40
        assert set(page.locator("table.names td").all_text_contents()) == set(evidence.arms) - {"base"}
        assert dict(zip(shown, evidence.arms, strict=True)) == {
            row.locator("th").text_content(): row.locator("td").text_content()
            for row in page.locator("table.names tbody tr").all()
        } | {"base": "base"}


def test_every_section_is_reached_and_says_what_is_known(chromium, written):
    evidence, file = written
    page = Opened(chromium, file).page
    links = page.locator("nav a")
    assert links.all_text_contents() == ["Findings", "Setup", "Training", "Samples"]
    for link in links.all():
        assert page.locator(link.get_attribute("href")).get_by_role("heading", level=2).count() == 1
    levels = [int(tag[1]) for tag in page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => h.tagName)")]
    assert all(below - above <= 1 for above, below in pairwise(levels)), "no level is left out"
    assert page.locator("dl.setup dd").all_text_contents() == [text for _, text in evidence.setup]
    assert "Before you believe it" in page.inner_text("#findings")
    assert "no seed for which both arms are done" in page.inner_text("table.untested")
    assert "They add three and four." in page.inner_text(".example")


def test_hostile_text_stays_within_its_place(chromium, tmp_path):
    long, tag = "a" * 5000, "</script></pre><img src=x onerror='window.broken = 1'>"
    evil = f"{tag} \u202egnol \x1b[31m \ud800 {long}"
    many = material.many(3)
    taught = Examples(list(many.arms)[1:], [Example(evil, f"{evil}\u2028\n{tag}", evil)], 1)
    evidence = replace(many, setup=[(tag, evil)], examples=[taught])
    for width in (PHONE, DESKTOP):
        opened = Opened(chromium, write_page(evidence, tmp_path / "report.html"), width=width)
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("window.broken") is None
        assert page.locator("img").count() == 0
        assert opened.complaints == []
        told = page.locator(".example pre").nth(1).text_content()
        assert told.endswith(tag), "what was written is there, as text"
        assert not set("\u202e\x1b\ud800\u2028") & set(page.locator("#setup, .example").all_inner_texts()[0] + told)
