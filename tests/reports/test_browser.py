"""The page in a real Chromium: nothing a model wrote runs, the samples are found, and it reads on every screen."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reports import material
from tests.reports.pages import Opened, contrast, luminance, write_page

from cotdistill.records import Prediction
from cotdistill.reports import Arm, Cell, Evidence
from cotdistill.reports.result import score_of_seeds

pytestmark = pytest.mark.browser

HOSTILE = [
    "<script>window.broken = 1</script>",
    "</script><img src=x onerror='window.broken = 2'>",
    "</textarea></style><svg onload='window.broken = 3'>",
    "<!--<script>",
    "]]> --> </article>",
    "{{ 7 * 7 }} {% raw %} ${window.broken = 4}",
    "javascript:window.broken = 5",
    "quote \" and ' and ` and \\ and \\u003c",
    "line\u2028and\u2029paragraph separators",
    "right\u202eleft, nul \x00, bell \x07, lone \ud800 surrogate",
    "emoji \U0001f600, 中文, e\u0301",
    "a" * 5000,
]


@pytest.fixture(scope="session")
def studied(tmp_path_factory) -> tuple[Evidence, Path]:
    evidence = material.study(60, seeds=(0,))
    return evidence, write_page(evidence, tmp_path_factory.mktemp("study") / "report.html")


def test_what_a_model_wrote_stays_text(chromium, tmp_path):
    asked = [
        replace(q, question=text, id=f"{i} {text}")
        for i, (q, text) in enumerate(zip(material.questions(12), HOSTILE, strict=True))
    ]
    written = [
        Prediction(q.id, q.task, text, text, text, "wrong", 5, 5) for q, text in zip(asked, HOSTILE, strict=True)
    ]
    arms = {
        name: Arm(score_of_seeds([written]), {"note": name}, {"teacher": name}, None, (Cell(0, written, asked),))
        for name in HOSTILE[:8]
    }
    evidence = Evidence(HOSTILE[0], HOSTILE[1], arms, material.compared(arms, (HOSTILE[0], HOSTILE[1])))
    opened = Opened(chromium, write_page(evidence, tmp_path / "report.html"))
    page = opened.page
    for place, text in enumerate(HOSTILE):
        page.locator("#list").focus()
        page.keyboard.press("Home")
        for _ in range(place):
            page.keyboard.press("j")
        opened.wait_for_sample(f", {place} ")
        shown = page.locator(".card .text-block").all_text_contents()
        assert shown == [text.replace("\ud800", "\ufffd")] * 8 or shown == [text] * 8
    assert page.evaluate("window.broken") is None
    assert page.locator("img, iframe, object, embed").count() == 0
    assert page.locator("script:not(.piece)").count() == 1
    assert page.locator("#sample svg, #sample script, h1 *").count() == 0
    assert HOSTILE[1] in page.inner_text("h1")
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith("file:")] == []


def test_the_policy_lets_nothing_else_run(chromium, studied):
    opened = Opened(chromium, studied[1])
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.broken = 1'}))"
    )
    opened.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.broken = 2\">')")
    opened.page.wait_for_timeout(200)
    assert opened.page.evaluate("window.broken") is None
    assert len(opened.complaints) >= 2, "the policy says what it refused"


def verdicts(evidence: Evidence, name: str) -> dict[str, str]:
    return {prediction.id: prediction.verdict for prediction in evidence.arms[name].cells[0].predictions}


def test_samples_are_filtered_by_task_verdict_and_flip(chromium, studied):
    evidence, file = studied
    opened = Opened(chromium, file)
    a, b = (verdicts(evidence, name) for name in ("large level 3", "large answers"))
    assert opened.page.locator("#arm option:checked").inner_text() == "large level 3"
    assert opened.page.locator("#other option:checked").inner_text() == "large answers"
    assert opened.count() == 60
    assert opened.choose(flip="gained") == sum(a[i] == "correct" != b[i] for i in a)
    assert opened.choose(flip="lost") == sum(b[i] == "correct" != a[i] for i in a)
    assert opened.choose(flip="", verdict="t") == sum(verdict == "truncated" for verdict in a.values())
    assert opened.choose(verdict="", task="1") == 20
    assert "navigate" not in opened.page.inner_text("#rows")
    base = list(evidence.arms).index("large base")
    opened.page.select_option("#arm", label="large level 6")
    assert opened.page.input_value("#other") == str(base), "the base of an arm is what it is held against"


def test_search_finds_outputs_and_marks_them(chromium, studied):
    evidence, file = studied
    opened = Opened(chromium, file)
    words = evidence.arms["small level 6"].cells[0].predictions[17].output[20:60]
    assert opened.search(words.upper()) == 1
    assert opened.page.locator("#sample h3").inner_text().endswith("item-17")
    assert words in opened.page.locator("mark").all_text_contents()
    assert opened.search("no such words anywhere") == 0
    assert "No question matches" in opened.page.inner_text("#sample")
    assert opened.search("") == 60


def test_every_arm_is_side_by_side_with_its_verdict(chromium, studied):
    evidence, file = studied
    opened = Opened(chromium, file)
    opened.page.wait_for_selector(".card")
    assert opened.page.locator(".card").count() == len(evidence.arms)
    for name in evidence.arms:
        first = evidence.arms[name].cells[0].predictions[0]
        text = opened.card(name).text_content()
        assert first.output in text
        assert first.verdict in text
    names = opened.page.locator(".card .name").all_text_contents()
    assert names[:2] == ["large level 3", "large answers"], "the two that are compared come first"


def test_keys_lead_through_the_samples(chromium, studied):
    opened = Opened(chromium, studied[1])
    page = opened.page
    opened.wait_for_sample("item-0")
    for _ in range(30):
        page.keyboard.press("j")
    opened.wait_for_sample("item-30")
    page.keyboard.press("k")
    opened.wait_for_sample("item-29")
    active = page.locator("#list").get_attribute("aria-activedescendant")
    row = page.locator(f"#{active}")
    assert row.get_attribute("aria-selected") == "true"
    assert row.is_visible()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("jk")
    assert page.input_value("#search") == "jk", "keys are letters while one types"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_every_control_has_a_name_and_shows_focus(chromium, studied):
    page = Opened(chromium, studied[1]).page
    for name in ("Task", "Arm", "Its verdict", "Against", "Flip"):
        assert page.get_by_role("combobox", name=name, exact=True).count() == 1
    assert page.get_by_role("searchbox", name="Search", exact=True).count() == 1
    assert page.get_by_role("listbox", name="Questions").count() == 1
    assert page.get_by_role("img").count() == page.locator(".figure").count() > 4
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_figures_can_be_read_in_light_and_dark(chromium, studied, scheme):
    page = Opened(chromium, studied[1], scheme=scheme).page
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(paper) < 0.2) == (scheme == "dark")
    for selector in (".verdict", ".note", "td", "summary", ".chip", ".card .foot", "nav a", ".row .id", "figcaption"):
        ink = page.evaluate("s => getComputedStyle(document.querySelector(s)).color", selector)
        assert contrast(ink, paper) >= 4.5, selector
    ink = page.evaluate("getComputedStyle(document.querySelector('#figure-accuracy text')).fill")
    assert contrast(ink, paper) >= 4.5


def test_the_switch_turns_light_to_dark_and_is_remembered(chromium, studied):
    page = Opened(chromium, studied[1]).page
    page.get_by_role("button", name="Switch to a dark page").click()
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.2
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.2
    page.keyboard.press("t")
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.8


def test_a_phone_needs_no_sideways_scrolling(chromium, studied):
    page = Opened(chromium, studied[1], width=360, height=780).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    card, pane = page.locator(".card").first.bounding_box(), page.locator("#list").bounding_box()
    assert card["x"] >= 0
    assert card["x"] + card["width"] <= 360
    assert card["y"] > pane["y"] + pane["height"], "the list stands above what it lists"
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('.text-block')).fontSize)") >= 14


def test_a_hundred_thousand_predictions_open_in_three_seconds(chromium, tmp_path):
    asked = material.questions(1000, ("svamp", "openbookqa"))
    arms = {f"arm {n}": material.arm(asked, 0.2 + n / 200, seeds=(n,), base="arm 0" if n else None) for n in range(100)}
    evidence = Evidence("large", "How large may it be?", arms, material.compared(arms, ("arm 99", "arm 0")))
    file = write_page(evidence, tmp_path / "report.html")
    assert file.stat().st_size < 20_000_000
    fastest = min(timed_open(chromium, file) for _ in range(3))
    assert fastest < 3.0
    opened = Opened(chromium, file)
    assert opened.page.locator(".row").count() < 60, "only rows in view exist"
    assert opened.count() == 1000
    opened.page.locator("#list").evaluate("list => { list.scrollTop = list.scrollHeight; }")
    opened.page.wait_for_selector("#row-999")


def timed_open(browser, file: Path) -> float:
    """Seconds until the page is drawn with its first sample."""
    page = browser.new_page()
    started = time.perf_counter()
    page.goto(file.as_uri())
    page.wait_for_selector(".card")
    seconds = time.perf_counter() - started
    page.close()
    return seconds
