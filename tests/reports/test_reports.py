"""A report says the same in every form, shows hostile names as plain text, and is written whole."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from tests.reports import material

from cotdistill.errors import DataError
from cotdistill.evaluation.statistics.comparisons import ComparisonResult, holm, pooled
from cotdistill.evaluation.statistics.proportions import wilson_interval
from cotdistill.records import Score
from cotdistill.reports import Arm, Evidence, Missing, Untested, print_table, write_report
from cotdistill.reports.details import training_table
from cotdistill.reports.figures import write_figure
from cotdistill.reports.figures.arms import draw_accuracy
from cotdistill.reports.figures.canvas import Drawing
from cotdistill.reports.page import markdown_page
from cotdistill.reports.sections import all_tables, parts_of
from cotdistill.reports.table_files import to_csv, to_latex
from cotdistill.reports.tables import group_table, score_table, seeds_table, to_markdown
from cotdistill.reports.texts import markdown_text, one_line, short
from cotdistill.reports.verdict import finding, in_markdown, verdict

HOSTILE = [
    "a|b",
    "two\nlines\r\nand more",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![p](x.png)",
    "`code` **bold** *slanted* _slanted_ ~~struck~~",
    "# heading",
    "&lt;b&gt; &amp;",
    "back\\slash\\|",
    "[red]no markup[/red]",
    "\x1b[31mred\x07",
    "right\u202eleft",
    "$x^2$ and $",
    "lone \ud800 surrogate",
]


def arm(num_correct: int, n: int = 200, *, unreadable: int = 3, truncated: int = 5, **extras) -> Arm:
    wrong = n - num_correct - unreadable - truncated
    interval = wilson_interval(num_correct, n)
    return Arm(Score(n, num_correct / n, interval, num_correct, wrong, unreadable, truncated), extras)


def comparison(a: str, b: str, difference: float, p_value: float) -> ComparisonResult:
    interval = (difference - 0.06, difference + 0.07)
    return ComparisonResult(a, b, 200, 0.5 + difference, 0.5, difference, interval, p_value, gained=31, lost=1)


@pytest.fixture
def report() -> Evidence:
    return Evidence(
        name="small",
        question="Does reasoning help?",
        arms={
            "base": arm(4),
            "answers": arm(60, seconds=12.5, num_parameters=1_234_567),
            "cot": arm(101, seconds=30.0, num_parameters=1_234_567),
            "teacher": arm(180, num_parameters=9_000_000),
        },
        comparisons=holm([comparison("cot", "answers", 0.205, 0.00002), comparison("answers", "base", 0.01, 0.04)]),
        seconds=100.4,
    )


def page_of(evidence: Evidence, *drawings: Drawing) -> str:
    return markdown_page(evidence, parts_of(evidence, drawings))


def rendered(markdown: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<page>{MarkdownIt().enable('table').render(markdown)}</page>")


def cells(table: ElementTree.Element) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]


def test_page_shows_scores_comparisons_and_cost(report):
    page = rendered(page_of(report, draw_accuracy(report)))
    scores, comparisons, cost = (cells(table) for table in page.iter("table"))
    assert scores[0] == ["arm", "accuracy", "95 % interval", "n", "correct", "wrong", "unreadable", "truncated"]
    assert scores[3] == ["cot", "50.5 %", "43.6 to 57.4", "200", "101", "91", "3", "5"]
    assert comparisons[1] == ["cot", "answers", "+20.5", "14.5 to 27.5", "< 0.0001", "< 0.0001"]
    assert comparisons[2] == ["answers", "base", "+1.0", "-5.0 to 8.0", "0.0400", "0.0400"]
    assert cost == [
        ["arm", "seconds", "parameters"],
        ["base", "", ""],
        ["answers", "12.5", "1,234,567"],
        ["cot", "30.0", "1,234,567"],
        ["teacher", "", "9,000,000"],
    ]
    text = "".join(page.itertext())
    assert "Does reasoning help?" in text
    assert "Everything was computed in 1 min 40 s." in text
    assert [image.get("src") for image in page.iter("img")] == ["figures/accuracy.svg"]


def test_a_single_arm_needs_no_comparisons(tmp_path):
    write_report(Evidence("alone", "", {"mine": arm(0, 10, unreadable=0, truncated=0)}), tmp_path)
    page = rendered((tmp_path / "report.md").read_text(encoding="utf-8"))
    assert [len(cells(table)) for table in page.iter("table")] == [2]


def test_no_arms_is_an_error():
    with pytest.raises(DataError, match="no arms to report"):
        Evidence("empty", "", {})


@pytest.mark.parametrize("name", HOSTILE)
def test_page_shows_hostile_names_as_plain_text(name):
    def named(name: str) -> Evidence:
        return Evidence(name, name, {name: arm(50), "other": arm(60)}, [comparison(name, "other", -0.05, 0.2)])

    page = rendered(page_of(named(name)))
    shown = one_line(name)
    scores, comparisons = (cells(table) for table in page.iter("table"))
    assert scores[1][0] == comparisons[1][0] == shown
    assert {len(row) for row in scores} == {8}
    assert {len(row) for row in comparisons} == {6}
    assert "".join(page.find("h1").itertext()) == "".join(page.find("p").itertext()) == shown
    assert f"No difference shown between this student of {shown} and that of other" in "".join(page.itertext())
    plain = rendered(page_of(named("plain")))
    assert [element.tag for element in page.iter()] == [element.tag for element in plain.iter()]


def test_escaping_leaves_ordinary_names_readable():
    assert markdown_text("sft_answer level-3 (GPT-4o)") == "sft_answer level-3 (GPT-4o)"


@pytest.mark.parametrize("name", HOSTILE)
def test_terminal_shows_hostile_names_as_plain_text(name):
    output = StringIO()
    print_table(Evidence("r", "", {name: arm(50)}), Console(file=output, width=200, force_terminal=False))
    line = output.getvalue().splitlines()[2]
    assert line.startswith(one_line(name).encode("utf-8", "replace").decode())
    assert "\x1b" not in output.getvalue()


def terminal(output: StringIO, width: int) -> Console:
    return Console(file=output, width=width, force_terminal=True, color_system=None)


def test_terminal_tables_fit_80_columns_and_keep_the_numbers_that_decide(report):
    output = StringIO()
    longer = {f"{name} with a name that is far too long": scored for name, scored in report.arms.items()}
    for arms, comparisons in ((report.arms, report.comparisons), (longer, ())):
        print_table(Evidence("r", "", arms, comparisons), terminal(output, 80))
    text = output.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for _, accuracy, interval, *_, unreadable, truncated in score_table(report).rows:
        decisive = (accuracy, interval, f" {unreadable} ", f" {truncated}")
        assert sum(all(number in line for number in decisive) for line in text.splitlines()) == 2
    assert "+20.5" in text


def test_scores_over_seeds_leave_a_terminal_room_for_names():
    output = StringIO()
    study = material.study(9)
    print_table(study, terminal(output, 80))
    lines = output.getvalue().splitlines()
    assert all(any(line.startswith(name) for line in lines) for name in study.arms)
    assert "\u2026" not in output.getvalue()


def said(*comparisons: ComparisonResult) -> str:
    return "".join(finding(comparisons[0]))


def test_a_finding_follows_the_corrected_p():
    alone, other = comparison("cot", "base", 0.12, 0.03), comparison("kd", "base", 0.02, 0.6)
    assert in_markdown(finding(alone)) == (
        "This student of **cot** beats that of **base** by 12.0 points (95 % interval 6.0 to 19.0, McNemar p = 0.0300, "
        "200 items, 1 seed)."
    )
    in_family = said(holm([alone, other])[0])
    assert in_family.startswith("No difference shown between this student of cot and that of base: +12.0 points may be")
    assert "p = 0.0600, Holm-corrected" in in_family


def test_a_loss_falls_behind():
    assert said(comparison("kd", "base", -0.2, 0.00001)).startswith(
        "This student of kd falls behind that of base by 20"
    )


def over_seeds(*shares: float) -> ComparisonResult:
    """Arm cot against arm answers, which has a fifth right under every seed."""
    asked = material.questions(200)
    pairs = [
        (material.predictions(asked, share, seed), material.predictions(asked, 0.2, seed + 50))
        for seed, share in enumerate(shares)
    ]
    return pooled(pairs, names=("cot", "answers"))


def test_only_several_seeds_speak_of_arms_and_say_how_many_would_do():
    shown, lost = over_seeds(0.6, 0.62, 0.58), over_seeds(0.1, 0.5, 0.3)
    assert said(shown).startswith("cot beats answers by ")
    assert "t-test over seeds and items p = 0.0" in said(shown)
    assert "200 items, 3 seeds)." in said(shown)
    needed = lost.seeds_needed(0.05)
    assert said(lost).startswith("No difference shown between cot and answers: ")
    assert said(lost).endswith(f"200 items, 3 seeds; 5 points would take about {needed} seeds per arm).")
    table = seeds_table([comparison("a", "b", 0.1, 0.01), lost])
    assert table is not None
    (row,) = table.rows
    assert row[:3] == ("cot", "answers", "3")
    assert row[-2] == str(needed)
    assert seeds_table([comparison("a", "b", 0.1, 0.01)]) is None


def test_the_verdict_is_the_first_comparison_and_claims_nothing_without_one(report):
    assert "".join(verdict(report)).startswith("This student of cot beats that of answers by 20.5 points")
    undeclared = "".join(verdict(replace(report, comparisons=())))
    assert "highest accuracy is that of teacher at 90.0 %" in undeclared
    assert "no difference is claimed" in undeclared
    alone = Evidence("alone", "", {"mine": arm(50)})
    assert "".join(verdict(alone)) == "mine has an accuracy of 25.0 % (95 % interval 19.5 to 31.4, 200 items)."


def test_half_a_study_says_what_is_missing(report):
    missing = [Missing("cot", 1, "no space left on the device"), Missing("cot", 2)]
    untested = [Untested("cot", "human", "no seed for which both arms are done")]
    half = replace(report, comparisons=(), missing=missing, untested=untested)
    assert "".join(verdict(half)) == "No declared comparison can be tested yet; 2 cells are missing."
    page = rendered(page_of(half))
    listed = [table for table in map(cells, page.iter("table")) if table[0] == ["cell", "why"]]
    assert listed == [[["cell", "why"], ["cot, seed 1", "no space left on the device"], ["cot, seed 2", "not run yet"]]]
    assert "cot against human was declared but cannot be tested: no seed for which" in "".join(page.itertext())
    nothing = Evidence("s", "", {}, missing=missing)
    assert "Nothing is finished yet; 2 cells are missing." in page_of(nothing)


def test_files_are_complete_and_nothing_else_is_left(report, tmp_path):
    folder = tmp_path / "new" / "reports"
    assert write_report(report, folder) == folder / "report.html"
    write_report(report, folder)
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()) == [
        "figures/accuracy.pdf",
        "figures/accuracy.svg",
        "report.html",
        "report.md",
        "tables/comparisons.csv",
        "tables/comparisons.md",
        "tables/comparisons.tex",
        "tables/cost.csv",
        "tables/cost.md",
        "tables/cost.tex",
        "tables/scores.csv",
        "tables/scores.md",
        "tables/scores.tex",
    ]
    assert (folder / "figures" / "accuracy.pdf").read_bytes().startswith(b"%PDF")
    assert ElementTree.parse(folder / "figures" / "accuracy.svg").getroot().tag.endswith("svg")


def test_csv_holds_raw_values(report):
    rows = list(csv.DictReader(StringIO(to_csv(score_table(report)))))
    score = report.arms["cot"].score
    assert rows[2]["arm"] == "cot"
    assert [float(rows[2][key]) for key in ("accuracy", "95 % interval low", "95 % interval high")] == [
        score.accuracy,
        *score.interval,
    ]


def test_csv_hides_formulas_from_spreadsheets():
    evil = Evidence("r", "", {'=HYPERLINK("http://x")': arm(50), "-1+2": arm(50)})
    assert [row["arm"][:2] for row in csv.DictReader(StringIO(to_csv(score_table(evil))))] == ["'=", "'-"]


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_escapes_hostile_names(name):
    line = to_latex(score_table(Evidence("r", "", {name: arm(50)}))).splitlines()[5]
    assert line.count(" & ") == 7
    assert line.endswith(r" & 3 & 5 \\")
    bare = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}|\\[&%$#_{}]", "", line
    )
    assert not set(bare.replace(" & ", "").removesuffix(r"\\")) & set("\\{}~^<>|&%$#_")


def test_a_figure_that_fails_leaves_the_old_one(report, tmp_path):
    path = tmp_path / "accuracy.unknown"
    path.write_text("old")
    with pytest.raises(ValueError, match="unknown"):
        write_figure(draw_accuracy(report).figure, path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("accuracy.unknown", "old")]


def test_figure_places_every_arm_at_its_accuracy_in_order(report):
    (axes,) = draw_accuracy(report).figure.axes
    points = [bars.lines[0].get_xydata()[0].tolist() for bars in axes.containers]
    assert points == [[pytest.approx(100 * a.score.accuracy), row] for row, a in enumerate(report.arms.values())]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(report.arms)
    assert axes.yaxis_inverted()
    low, high = axes.get_xlim()
    assert low == 0
    assert high >= 100 * report.arms["teacher"].score.interval[1]


def test_figure_sets_base_and_teacher_apart_in_shape_and_colour(report):
    (axes,) = draw_accuracy(report).figure.axes
    points = [bars.lines[0] for bars in axes.containers]
    looks = [(point.get_color(), point.get_marker(), point.get_markerfacecolor()) for point in points]
    base, answers, cot, teacher = looks
    assert answers == cot
    assert len({base, cot, teacher}) == 3
    assert len({look[1:] for look in (base, cot, teacher)}) == 3, "told apart by colour only"


@pytest.mark.parametrize("name", HOSTILE)
def test_figure_draws_hostile_names(name, tmp_path):
    drawing = draw_accuracy(Evidence(name, name, {name: arm(50)}))
    write_figure(drawing.figure, tmp_path / "figure.pdf")
    words = [element.text for element in ElementTree.fromstring(drawing.svg).iter() if element.tag.endswith("text")]
    assert short(name) in words


def test_names_of_many_arms_do_not_overlap():
    figure = draw_accuracy(Evidence("grid", "", {f"arm {number}": arm(number + 40) for number in range(84)})).figure
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))


def in_fresh_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_drawing_leaves_matplotlibs_global_state_alone(tmp_path):
    code = f"""
import sys, matplotlib
before = matplotlib.rcParams.copy()
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_reports import Evidence, arm, write_report
from pathlib import Path
write_report(Evidence("r", "", {{"cot": arm(50)}}), Path({str(tmp_path)!r}))
print(matplotlib.rcParams.copy() == before, "matplotlib.pyplot" in sys.modules)
"""
    assert in_fresh_process(code) == "True False"


def test_markdown_table_has_a_rule_for_every_column(report):
    lines = to_markdown(score_table(report)).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(report.arms)


def test_groups_of_tasks_are_means_over_their_tasks() -> None:
    asked = material.questions(120, ("bbh/navigate", "bbh/web_of_lies", "bbh/snarks", "svamp"))
    evidence = Evidence("groups", "", {"one": material.arm(asked, 0.3), "two": material.arm(asked, 0.8)})
    table = group_table(evidence)
    assert table is not None
    assert table.headings == ("arm", "bbh/algorithmic", "bbh/language")
    for name, algorithmic, language in table.values:
        found = evidence.task_accuracies[name]
        assert algorithmic == pytest.approx((found["bbh/navigate"] + found["bbh/web_of_lies"]) / 2)
        assert language == found["bbh/snarks"]
    assert table in all_tables(evidence)["findings"]
    assert group_table(material.study()) is None, "of one group there is nothing to compare"


def test_what_is_left_out_of_a_training_is_in_the_table_and_above_a_twentieth_in_words() -> None:
    evidence = material.study()
    table = training_table(evidence)
    assert table is not None
    trained = [name for name, arm in evidence.arms.items() if arm.lengths]
    assert [row[0] for row in table.rows] == trained
    first = dict(zip(table.headings, table.rows[0], strict=True))
    assert (first["trained on"], first["with reasoning cut"], first["limit (tokens)"]) == ("93", "3", "512")
    left_out = sum(evidence.arms[trained[0]].left_out.values())
    assert first["why"] == f"disagrees {left_out - 1}, too long 1"
    share = f"{100 * left_out / (93 + left_out):.1f} %"
    assert (first["left out"], first["share left out"]) == (str(left_out), share)
    most = dict(zip(table.headings, max(table.rows, key=lambda row: int(row[3])), strict=True))
    page = page_of(evidence)
    assert f"left out are {most['share left out']} of those of **{most['arm']}** ({most['why']}), " in page
    assert f"and more than 5 % in {len(trained) - 3} other arms." in page
    assert training_table(replace(evidence, arms={"base": arm(50)})) is None
