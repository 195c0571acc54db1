"""The one-file page: what it embeds can be read back, fits its budget, and is let through by its own policy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from tests.reports import material

from cotdistill.records import Prediction
from cotdistill.reports import Arm, Cell, Evidence
from cotdistill.reports import samples as packing
from cotdistill.reports.figures import draw_all
from cotdistill.reports.figures.arms import draw_accuracy
from cotdistill.reports.html import html_page
from cotdistill.reports.result import score_of_seeds
from cotdistill.reports.samples import pack
from cotdistill.reports.sections import parts_of


@pytest.fixture(scope="module")
def study() -> Evidence:
    return material.study(30)


@pytest.fixture(scope="module")
def page(study: Evidence) -> str:
    return html_page(study, parts_of(study, draw_all(study)))


def unpacked(piece: str):
    return json.loads(zlib.decompress(base64.b64decode(piece)))


def outputs_of(samples) -> dict[tuple[str, str], str]:
    """Every output by cell and question id, read back as the page's script does."""
    index, *pieces = map(unpacked, samples.pieces)
    rows = [row for piece in pieces for row in piece]
    found = {}
    for (_, id_, _), (_, _, _, texts, outputs) in zip(index["rows"], rows, strict=True):
        for cell, output in zip(index["cells"], outputs, strict=True):
            if output:
                found[cell["name"], id_] = texts[output[0]]
    return found


def test_every_output_can_be_read_back(study):
    found = outputs_of(pack(study))
    names = {(name, cell.seed): f"{name} (seed {cell.seed})" for name, arm in study.arms.items() for cell in arm.cells}
    for name, arm in study.arms.items():
        for cell in arm.cells:
            label = names[name, cell.seed] if len(arm.cells) > 1 else name
            assert {id_: text for (arm_, id_), text in found.items() if arm_ == label} == {
                prediction.id: prediction.output for prediction in cell.predictions
            }


def test_the_index_tells_verdicts_bases_and_where_pieces_start(study):
    samples = pack(study)
    index, *pieces = map(unpacked, samples.pieces)
    cells = [cell for arm in study.arms.values() for cell in arm.cells]
    for number, cell in enumerate(cells):
        letters = [verdicts[number] for verdicts in index["verdicts"]]
        assert letters == [prediction.verdict[0] for prediction in cell.predictions]
    names = [cell["name"] for cell in index["cells"]]
    bases = {cell["name"]: cell["base"] for cell in index["cells"]}
    assert bases["large level 3 (seed 1)"] == names.index("large base")
    assert bases["large base"] is None
    assert [names[number] for number in index["first"]] == ["large level 3 (seed 0)", "large answers (seed 0)"]
    assert index["starts"][0] == 0
    assert sum(map(len, pieces)) == len(index["rows"]) == 30
    assert samples.note == ""


def test_pieces_start_where_the_index_says(monkeypatch, study):
    monkeypatch.setattr("cotdistill.reports.samples._PIECE", 5000)
    index, *pieces = map(unpacked, pack(study).pieces)
    assert len(pieces) > 3
    assert index["starts"] == [sum(map(len, pieces[:place])) for place in range(len(pieces))]


def test_equal_outputs_are_held_once():
    asked = material.questions(20)
    same = material.arm(asked, 0.5)
    one, many = (pack(Evidence("r", "", {f"arm {n}": same for n in range(count)})) for count in (1, 40))
    assert many.size < 1.6 * one.size


def test_what_does_not_fit_loses_the_middle_of_long_outputs_and_says_so():
    asked = material.questions(40)
    long = [replace(p, output=p.output * 30) for p in material.predictions(asked, 0.5, 1, num_words=300)]
    evidence = Evidence("r", "", {"long": Arm(score_of_seeds([long]), cells=(Cell(0, long, asked),))})
    whole = pack(evidence)
    budget = whole.size // 2
    cut = pack(evidence, budget)
    assert sum(len(base64.b64decode(piece)) for piece in cut.pieces) <= budget
    assert "without their middle" in cut.note
    for (_, id_), text in outputs_of(cut).items():
        original = next(p.output for p in long if p.id == id_)
        first, last = text.split(" [...] ")
        assert original.startswith(first)
        assert original.endswith(last)
        assert len(text) < len(original)


@pytest.mark.parametrize("budget", [50_000, 24_000, 14_000, 7_000])
def test_the_largest_cap_that_fits_is_found_though_those_that_cut_nothing_are_not_tried(budget):
    asked, drawn = material.questions(40), Random(0)
    predictions = [
        replace(p, output=drawn.randbytes(100 + 200 * (n % 5)).hex())
        for n, p in enumerate(material.predictions(asked, 0.5, 1))
    ]
    evidence = Evidence("r", "", {"a": Arm(score_of_seeds([predictions]), cells=(Cell(0, predictions, asked),))})
    outputs = packing._gather(evidence)
    tried = (packing._packed(outputs, range(40), cap, budget) for cap in (None, *packing._CAPS))
    assert pack(evidence, budget).pieces == next(pieces for pieces in tried if pieces)


def test_in_the_last_resort_questions_are_left_out_evenly():
    asked = material.questions(64)
    evidence = Evidence("r", "", {"one": material.arm(asked, 0.5)})
    samples = pack(evidence, 2500)
    assert "of 64 questions are shown" in samples.note
    ids = [int(id_.removeprefix("item-")) for _, id_ in outputs_of(samples)]
    assert len({b - a for a, b in pairwise(ids)}) == 1


def test_arms_with_other_questions_are_kept_apart():
    asked = material.questions(10)
    halves = [material.arm(asked[:6], 0.5), material.arm(asked[4:], 0.5)]
    index, _ = map(unpacked, pack(Evidence("r", "", dict(zip("ab", halves, strict=True)))).pieces)
    known = [[letter != "-" for letter in verdicts] for verdicts in index["verdicts"]]
    assert known == [[i < 6, i >= 4] for i in range(10)]


def test_the_policy_allows_this_script_and_style_and_nothing_else(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in policy
    for element, source in (("style", "style-src"), ("script", "script-src")):
        texts = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert rules[source] == " ".join(f"'sha256-{digest}'" for digest in hashes)


def test_the_page_asks_for_nothing(page):
    bare = re.sub(r'<script type="text/plain" class="piece">[A-Za-z0-9+/=\s]*</script>', "", page)
    assert bare.count("<script") == 1
    assert all(target.startswith(("#", "data:image/png")) for target in re.findall(r'\s(?:src|href)="([^"]*)"', bare))
    assert not re.search(r"@import|url\((?!#)|\sstyle=|\son\w+=", bare)


def test_figures_take_their_colours_from_the_page(page):
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawn) == 10
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    classes = {name for svg in drawn for name in re.findall(r'class="(\w+)"', svg)}
    assert all(f".{name}{{" in style for name in classes)
    assert "#262626" not in style
    ids = [name for svg in drawn for name in re.findall(r'\sid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    assert {name for svg in drawn for name in re.findall(r'(?:href="|url\()#([\w-]+)', svg)} <= set(ids)


def test_equal_evidence_gives_an_equal_page(study):
    pages = {html_page(study, parts_of(study, [draw_accuracy(study)])) for _ in range(2)}
    assert len(pages) == 1


def test_texts_are_escaped_wherever_they_stand():
    evil = "</script></style><img src=x onerror=alert(1)>"
    asked = [replace(question, question=evil, id=evil) for question in material.questions(1)]
    said = [Prediction(evil, asked[0].task, evil, evil, evil, "wrong", 1, 1)]
    arm = Arm(score_of_seeds([said]), {"note": evil}, {"teacher": evil}, cells=(Cell(0, said, asked),))
    evidence = Evidence(evil, evil, {evil: arm})
    page = html_page(evidence, parts_of(evidence, draw_all(evidence)))
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") > 4


def test_no_prediction_gives_a_page_without_samples(study):
    bare = {name: replace(arm, cells=()) for name, arm in study.arms.items()}
    evidence = Evidence("r", "", bare)
    assert pack(evidence) is None
    assert 'id="samples"' not in html_page(evidence, parts_of(evidence, []))
