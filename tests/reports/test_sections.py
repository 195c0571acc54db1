"""What a report says besides results: names, setup, what was left out or not read, how to use a student, samples."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from itertools import product

import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from tests.reports import material
from tests.reports.test_reports import HOSTILE

from cotdistill.evaluation.statistics.comparisons import holm
from cotdistill.records import Score
from cotdistill.reports import Arm, Evidence, Untested, print_table, write_report
from cotdistill.reports.caveats import caveats
from cotdistill.reports.details import contamination_table, cost_table, factor_table, student_table
from cotdistill.reports.evidence import Example, Examples
from cotdistill.reports.names import labelled, labels
from cotdistill.reports.page import markdown_page
from cotdistill.reports.sections import parts_of
from cotdistill.reports.texts import block, markdown_block

AXES = [f"granularity={g} format={f}" for g, f in product((1, 2, 3), ("cot", "rar"))]
LONG = [f"the-same-long-beginning-of-every-arm-{what} {axis}" for what in ("plain", "mixed") for axis in AXES]


def told(evidence: Evidence) -> list[str]:
    return ["".join(sentence) for sentence in caveats(evidence)]


def scored(correct: int, wrong: int, unreadable: int, truncated: int) -> Arm:
    n = correct + wrong + unreadable + truncated
    return Arm(Score(n, correct / n, (0.0, 1.0), correct, wrong, unreadable, truncated), token_limit=320)


def test_names_that_fit_stay_and_long_ones_lose_what_they_share():
    assert labels(["base", "sft", "kd"]) == {"base": "base", "sft": "sft", "kd": "kd"}
    found = labels(["base", *LONG])
    assert found["base"] == "base"
    assert found[LONG[0]] == "\u2026plain \u00b7 1 \u00b7 cot"
    assert found[LONG[-1]] == "\u2026mixed \u00b7 3 \u00b7 rar"


@pytest.mark.parametrize(
    "names",
    [
        ["x" * 60 + str(number) + "y" * 60 for number in range(40)],
        [f"{'a' * number} {'b' * 80}" for number in range(1, 20)],
        [f"same{between}name that is long enough to be cut off somewhere" for between in " \n"],
        ["", " ", "\u202e"],
        HOSTILE,
        LONG,
    ],
)  # fmt: skip
def test_whatever_names_are_their_labels_differ_and_fit(names):
    found = labels(names)
    assert list(found) == list(dict.fromkeys(names))
    assert len(set(found.values())) == len(found)
    assert max(map(len, found.values())) <= 40


def test_shorter_names_are_used_everywhere_but_in_files_for_programs(tmp_path):
    evidence = material.many(12)
    short = labelled(evidence)
    assert [short.full_names.get(name, name) for name in short.arms] == list(evidence.arms)
    assert short.comparisons[0].a in short.arms
    assert labelled(material.study()).full_names == {}, "names that fit stay"
    write_report(evidence, tmp_path)
    for name in list(evidence.arms)[1:]:
        assert f"\n{name}," in (tmp_path / "tables" / "scores.csv").read_text("utf-8")
        assert (tmp_path / "report.md").read_text("utf-8").count(name) == 1, "the key to the names"


def test_outside_of_a_terminal_nothing_is_cut_or_wrapped_and_on_one_everything_fits():
    evidence = material.many(40)
    file, screen = StringIO(), StringIO()
    print_table(evidence, Console(file=file, width=80))
    print_table(evidence, Console(file=screen, width=80, force_terminal=True, color_system=None))
    lines = file.getvalue().splitlines()
    for name in evidence.arms:
        assert sum(line.startswith(f"{name} ") for line in lines) >= 1
    assert not [line for line in lines if line != line.rstrip()]
    assert max(map(len, screen.getvalue().splitlines())) <= 80
    for text in (file.getvalue(), " ".join(screen.getvalue().split())):
        assert "a/teacher (granularity 1 | 2 | 3 | 4 | 5, format cot)" in text
        assert "raise evaluation.max_new_tokens (now 60)" in text
    assert "no seed for which both arms are done" in file.getvalue()


def test_outputs_that_are_cut_or_unreadable_are_told_with_the_remedy_where_they_are_many():
    assert told(Evidence("e", "", {"fine": scored(50, 46, 2, 2)})) == []
    cut, unread = told(Evidence("e", "", {"one": scored(50, 30, 0, 20), "two": scored(50, 30, 20, 0)}))
    assert "count as not correct: 20.0 % of one." in cut
    assert "raise evaluation.max_new_tokens (now 320)" in cut
    assert "20.0 % of two." in unread
    assert "evaluation.reader" in unread
    (many,) = told(Evidence("e", "", {f"arm {n}": scored(50, 49 - n, 0, 1 + n) for n in range(20)}))
    assert "20.0 % of arm 19, 19.0 % of arm 18, 18.0 % of arm 17, and more than 5 % in 12 other arms." in many


def test_a_difference_that_outputs_cut_off_may_explain_is_told():
    asked = material.questions(200)
    whole = material.predictions(asked, 0.9, 1)
    cut = [replace(each, verdict="truncated") if n % 2 else each for n, each in enumerate(whole)]
    arms = {name: Arm(material.score_of_seeds([each]), cells=()) for name, each in (("long", cut), ("short", whole))}
    evidence = Evidence("e", "", arms, holm([material.compare(whole, cut, names=("short", "long"))]))
    *_, last = told(evidence)
    assert last.startswith("long has ")
    assert "more outputs than short that are cut off or unreadable" in last


def test_each_student_has_the_command_that_asks_it_and_a_removed_one_none():
    study = material.study(seeds=(0,))
    name, arm = next((name, arm) for name, arm in study.arms.items() if arm.lengths)
    cell = replace(arm.cells[0], student="runs/training/a b/student")
    table = student_table(replace(study, arms=study.arms | {name: replace(arm, cells=[cell])}))
    assert table is not None
    rows = dict(table.values)
    assert rows[name] == "cotdistill ask 'runs/training/a b/student' 'QUESTION'"
    assert {command for other, command in rows.items() if other != name} == {None}
    assert student_table(study) is None


def test_decontamination_is_one_row_for_arms_that_agree_and_says_where_none_was_done():
    study = material.study()
    trained = [name for name, arm in study.arms.items() if arm.lengths]
    found = {
        "left_out_by": "questions",
        "evaluation": {"svamp": {"questions": 60, "exact": 1, "normalised": 2, "13_gram": 3}},
    }
    arms = {name: replace(arm, contamination=found, dropped={"in_evaluation": 2}) for name, arm in study.arms.items()}
    table = contamination_table(replace(study, arms=arms))
    assert table is not None
    assert table.values == ((f"all {len(trained)}", "svamp", 60, 1, 2, 3, "questions", 2),)
    arms[trained[0]] = replace(arms[trained[0]], contamination=None, dropped={})
    table = contamination_table(replace(study, arms=arms))
    assert table is not None
    assert table.rows[0][:2] == (trained[0], "not looked for (annotation.decontaminate: off)")
    assert len(table.rows) == 2


def test_settings_that_only_an_arm_changes_are_among_what_it_is_made_of():
    arms = {name: replace(arm, settings={}) for name, arm in material.study().arms.items()}
    name = next(name for name, arm in arms.items() if arm.lengths)
    arms[name] = replace(arms[name], settings={"training.weight_decay": 0.00001})
    table = factor_table(Evidence("e", "", arms))
    assert table is not None
    column = dict(zip(arms, (row[table.headings.index("weight decay")] for row in table.rows), strict=True))
    assert column[name] == "1e-05"
    assert {column[other] for other, arm in arms.items() if arm.lengths and other != name} == {"default"}
    assert {column[other] for other, arm in arms.items() if not arm.lengths} == {""}


def test_costs_that_no_arm_has_are_no_column():
    arms = {"one": replace(scored(1, 1, 0, 0), extras={"training_seconds": 1234.56, "teacher_tokens_read": None})}
    table = cost_table(Evidence("e", "", arms))
    assert table is not None
    assert (table.headings, table.rows) == (("arm", "training seconds"), (("one", "1,235"),))


def test_the_text_page_holds_samples_declared_comparisons_and_caveats():
    evidence = material.many(3)
    page = markdown_page(evidence, parts_of(evidence, []))
    assert "They add three and four." in page
    assert evidence.arms["base"].cells[0].predictions[0].output in page
    assert "### Declared, not tested" in page
    assert "Before you believe it" in page
    titles = [line for line in page.splitlines() if line.startswith("## ")]
    assert titles == ["## Findings", "## Setup", "## Training", "## Samples"]


@pytest.mark.parametrize("text", [*HOSTILE, "```\nend\n```", "    deep\n\n\n# no heading", "a\x0bb\x0cc\x85d", "<!--"])
def test_what_models_wrote_stays_text_in_markdown(text):
    tokens = MarkdownIt().parse(f"before\n\n{markdown_block(text)}\nafter\n")
    assert [token.type for token in tokens if token.nesting >= 0] == [
        "paragraph_open", "inline", "code_block", "paragraph_open", "inline"
    ]  # fmt: skip
    assert tokens[3].content.strip() == block(text).strip()


def test_a_block_keeps_lines_and_shows_what_is_hidden():
    assert block("one\r\n  two\tx\u2028three") == "one\n  two   x\nthree"
    assert block("a\u202eb\x1b[0m\x00\ud800") == "a\ufffdb\ufffd[0m\ufffd\ufffd"
    assert (
        block("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645") == "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    )
    assert len(block("x" * 10_000)) < 2100


def test_examples_of_hostile_text_reach_the_page_escaped(tmp_path):
    evil = "</pre><script>alert(1)</script>"
    taught = [Examples(["one"], [Example(evil, evil, evil)], 1)]
    untested = [Untested("one", "two", evil)]
    evidence = Evidence(evil, evil, {"one": scored(1, 1, 0, 0)}, (), 0.0, (), untested, (), [(evil, evil)], taught)
    page = write_report(evidence, tmp_path).read_text("utf-8")
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;alert(1)") >= 6
