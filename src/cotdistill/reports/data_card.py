"""The data card of an experiment's annotations: ``data_card.md``, a figure beside it, and the same numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.annotation import Rationales, read_annotation
from cotdistill.annotation.describe import NUM_VERIFIED, Description, Growth, describe, growths, quartiles
from cotdistill.annotation.rationales import REASONING
from cotdistill.config import Price
from cotdistill.granularities import GRANULARITIES
from cotdistill.rationales.lengths import WARN_ABOVE
from cotdistill.rationales.measures import num_steps, num_words
from cotdistill.reports.figures.canvas import label, legend, new_figure, series_style, write_figure
from cotdistill.reports.figures.lengths import histograms
from cotdistill.reports.texts import markdown_text
from cotdistill.storage.atomic import write_json_atomically, write_text_atomically
from cotdistill.storage.texts import WRONG_SHAPE
from cotdistill.training.data.lengths import Lengths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CARD, FIGURE, LENGTHS, NUMBERS = "data_card.md", "data_card.png", "data_card_lengths.png", "data_card.json"


@dataclass(frozen=True, slots=True)
class AnnotatedArm:
    """An arm's annotation folder, the price of its teacher's tokens if known, how long its examples are, and what is
    held out for validation, in words."""

    arm: str
    path: Path
    price: Price | None
    lengths: Lengths | None = None
    held_out: str | None = None


def write_card(annotations: Sequence[AnnotatedArm], folder: Path) -> Path:
    """Describe the annotations, each once, in ``folder``; a card of the same annotations is left as it is."""
    by_path = {annotated.path: annotated for annotated in annotations}
    made_of = {str(path.name): sorted(a.arm for a in annotations if a.path == path) for path in by_path}
    held = {annotated.arm: annotated.held_out for annotated in annotations if annotated.held_out}
    if (folder / CARD).is_file() and _made_of(folder) == (made_of, held):
        return folder / CARD
    read = {path: read_annotation(path) for path in by_path}
    described = {path.name: describe(read[path], by_path[path].price) for path in by_path}
    grown = growths(list(read.values()))
    drawn = _draw(list(read.values()))
    folder.mkdir(parents=True, exist_ok=True)
    if drawn is not None:
        write_figure(drawn, folder / FIGURE)
    write_figure(_draw_lengths(described, made_of), folder / LENGTHS)
    trained = {annotated.arm: annotated.lengths for annotated in annotations if annotated.lengths}
    write_text_atomically(folder / CARD, _text(described, grown, made_of, trained, held, figure=drawn is not None))
    rows = {key: one.to_row() for key, one in described.items()}
    numbers = {"annotations": made_of, "held_out": held, "described": rows, "growth": [one.to_row() for one in grown]}
    write_json_atomically(folder / NUMBERS, numbers)
    return folder / CARD


def _made_of(folder: Path) -> tuple[Any, Any] | None:
    try:
        numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        return numbers["annotations"], numbers["held_out"]
    except (OSError, *WRONG_SHAPE):
        return None


# ---- words ----------------------------------------------------------------------------------------------------------

_COLUMNS = (
    "arms", "teacher", "format", "granularity", "rows", "words", "median", "steps", "in band", "agree", "sound",
    "tokens in", "tokens out", "cost", "dropped",
)  # fmt: skip


def _text(
    described: dict[str, Description],
    grown: list[Growth],
    made_of: dict[str, list[str]],
    trained: dict[str, Lengths],
    held: dict[str, str],
    *,
    figure: bool,
) -> str:
    lines = ["# Data card", ""]
    lines += _table(_COLUMNS, [_row(", ".join(made_of[key]), one) for key, one in described.items()])
    lines += [
        "",
        "Words and steps (sentences and lines) are means. *In band*: both within the range of the granularity: "
        + "; ".join(f"{level}: {of.words} words, {of.steps} steps" for level, of in GRANULARITIES.items())
        + f". *Agree*: the teacher stated the gold answer. *Sound*: no fault found, in at most {NUM_VERIFIED} rows.",
    ]  # fmt: skip
    if grown:
        columns = ("teacher", "format", "levels", "questions", "longer at the finer level")
        rows = [[g.teacher, g.format, f"{g.coarse} to {g.fine}", str(g.questions), _percent(g.longer)] for g in grown]
        lines += ["", "## Is finer longer?", "", *_table(columns, rows)]
    faults = [(key, one) for key, one in described.items() if one.faults]
    if faults:
        lines += ["", "## Faults", ""]
        for key, one in faults:
            counts = ", ".join(f"{reason} {count}" for reason, count in one.faults.items())
            lines.append(f"- {markdown_text(', '.join(made_of[key]))}: {counts} of {one.num_verified} verified")
    if thought := [(key, one.reasoning) for key, one in described.items() if one.reasoning]:
        lines += ["", "## What became of the teachers' reasoning", ""]
        for key, uses in thought:
            counts = ", ".join(f"{REASONING[use]} {count}" for use, count in uses.items())
            lines.append(f"- {markdown_text(', '.join(made_of[key]))}: {counts}")
    if shorter := [(key, one.compressed) for key, one in described.items() if one.compressed]:
        lines += ["", "## What was shortened", ""]
        for key, outcomes in shorter:
            counts = ", ".join(f"{outcome.replace('_', ' ')} {count}" for outcome, count in outcomes.items())
            lines.append(f"- {markdown_text(', '.join(made_of[key]))}: {counts}")
    lines += ["", "## What is not trained on", "", *_left_out(described, made_of, trained, held)]
    lines += ["", f"![How many texts have how many words]({LENGTHS})"]
    if figure:
        lines += ["", f"![Words and steps by granularity: medians and quartiles]({FIGURE})"]
    return "\n".join(lines) + "\n"


def _left_out(
    described: dict[str, Description],
    made_of: dict[str, list[str]],
    trained: dict[str, Lengths],
    held: dict[str, str],
) -> list[str]:
    """By arm: questions without a rationale, examples that are too long or cut, with a warning if they are many, and
    what is held out."""
    lines = []
    for key, one in described.items():
        dropped, total = sum(one.dropped.values()), one.rows + sum(one.dropped.values())
        why = ", ".join(f"{reason} {count}" for reason, count in one.dropped.items())
        warning = "warning: " if dropped > WARN_ABOVE * total else ""
        told = (
            f"{warning}{dropped} of {total} questions have no rationale that was kept ({why})"
            if dropped
            else (f"all {total} questions have a rationale")
        )
        lines.append(f"- {markdown_text(', '.join(made_of[key]))}: {told}")
        for arm in made_of[key]:
            if arm in trained and (line := trained[arm].line()):
                lines.append(f"- {markdown_text(arm)}: {line}")
            if arm in held:
                lines.append(f"- {markdown_text(arm)}: {markdown_text(held[arm])}")
    return lines


def _row(arms: str, one: Description) -> list[str]:
    dropped = ", ".join(f"{reason} {count}" for reason, count in one.dropped.items())
    sizes = [_shown(value) for value in (one.granularity, one.rows, one.words, one.median_words, one.steps)]
    shares = [_percent(share) for share in (one.in_band, one.agree, one.sound)]
    tokens = [_shown(number or None) for number in (one.input_tokens, one.output_tokens)]
    money = "" if one.cost is None else f"{one.cost:.2f}"
    return [arms, one.teacher, one.format, *sizes, *shares, *tokens, money, dropped]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [list(columns), ["---"] * len(columns), *([markdown_text(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(row) + " |" for row in cells]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


# ---- figure ---------------------------------------------------------------------------------------------------------


def _draw_lengths(described: dict[str, Description], made_of: dict[str, list[str]]) -> Figure:
    """Words of rationales, of reasoning kept apart, and of all that is read and written; a line for each annotation."""
    kinds = dict.fromkeys(kind for one in described.values() for kind in one.lengths)
    panels = {
        kind: {", ".join(made_of[key]): one.lengths[kind] for key, one in described.items() if kind in one.lengths}
        for kind in kinds
    }
    return histograms(panels, "words")[0]


def _draw(annotations: Sequence[Rationales]) -> Figure | None:
    """Words and steps over granularity, medians with quartiles, a line for each teacher and format."""
    series: dict[str, dict[int, Rationales]] = {}
    for rationales in annotations:
        levels = {one.granularity for one in rationales if one.rationale is not None}
        if len(levels) == 1 and (level := levels.pop()) is not None:
            first = rationales.records[0]
            series.setdefault(f"{first.teacher}, {first.format}", {})[level] = rationales
    if not series:
        return None
    figure, (upper, lower) = new_figure(5.2, rows=2)
    for axes, measure, name in ((upper, num_words, "words"), (lower, num_steps, "steps")):
        for index, (title, by_level) in enumerate(series.items()):
            levels = sorted(by_level)
            points = [quartiles(by_level[level], measure) for level in levels]
            middle = [point[1] for point in points]
            below, above = [p[1] - p[0] for p in points], [p[2] - p[1] for p in points]
            axes.errorbar(levels, middle, yerr=[below, above], label=title, capsize=3, **series_style(index))
        axes.set_xticks(sorted({level for by_level in series.values() for level in by_level}))
        axes.set_ylim(bottom=0)
        label(axes, y=name)
    label(lower, x="granularity, coarse to fine")
    legend(upper)
    return figure
