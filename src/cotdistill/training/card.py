"""The model card of a student: what it was made from, how, and how it scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cotdistill.config import LossConfig, OwnContext, TeacherContext, TrainingConfig
from cotdistill.records import Rationale, Score, count_by
from cotdistill.storage.atomic import write_text_atomically
from cotdistill.training.loop import TrainingSummary

SCORES = "## Scores"


def model_card(
    base_model: str, rationales: Sequence[Rationale], config: TrainingConfig, totals: TrainingSummary, recipe: str
) -> str:
    """Markdown with the metadata block that model hubs read; scores are added once the student is evaluated."""
    sources = count_by(_source(rationale) for rationale in rationales)
    teacher = config.signal.model.model if config.signal else "none: supervised fine-tuning"
    if config.signal and config.signal.context != "none":
        teacher += f", who reads {_read(config.signal.context)}"
    adapter = config.adapter
    kept = "merged" if adapter and adapter.merge else "kept separate from its base"
    losses = ", ".join(map(_term, config.loss))
    lines = [
        "---",
        "library_name: transformers",
        "tags: [cotdistill, knowledge-distillation, chain-of-thought]",
        "---",
        f"# A student of {Path(base_model).name}",
        "",
        f"Trained by cotdistill from `{base_model}`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| rationales | {count} of {source} |" for source, count in sources.items()),
        f"| taught to write | {config.target.replace('_', ' ')} |",
        f"| teacher signal | {teacher} |",
        f"| loss | {losses} |",
        *([f"| adapter | LoRA of rank {adapter.rank}, {kept} |"] if adapter else []),
        *([f"| steps on own samples | {_rollouts(totals.rollouts)} |"] if totals.rollouts else []),
        f"| examples, steps | {totals.num_examples}, {totals.num_steps} |",
        f"| tokens, with loss | {totals.num_tokens}, {totals.num_loss_tokens} |",
        f"| loss, first and last step | {totals.first_loss:.4f}, {totals.last_loss:.4f} |",
        "",
        *(["## Recipe", "", "```yaml", recipe.rstrip(), "```", ""] if recipe else []),
        SCORES,
        "",
        "Not evaluated yet.",
    ]
    return "\n".join(lines) + "\n"


def add_scores(student: Path, scores: dict[str, Score]) -> None:
    """Write the scores by task into the card of a student's folder."""
    card = student / "README.md"
    head = card.read_text(encoding="utf-8").split(SCORES)[0]
    rows = [
        f"| {task} | {100 * score.accuracy:.1f} % | {100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f} "
        f"| {score.n} | {score.unreadable} | {score.truncated} |"
        for task, score in scores.items()
    ]
    table = ["| task | accuracy | 95 % interval | n | unreadable | truncated |", "|---|---|---|---|---|---|", *rows]
    write_text_atomically(card, f"{head}{SCORES}\n\n" + "\n".join(table) + "\n")


def _rollouts(totals: dict[str, Any]) -> str:
    return f"{totals['num_steps']}, {totals['mean_length']:.1f} tokens a sample, {totals['truncated']} samples cut off"


def _source(rationale: Rationale) -> str:
    level = f", granularity {rationale.granularity}" if rationale.granularity else ""
    return f"{rationale.question.task} by {rationale.teacher} ({rationale.format}{level})"


def _term(term: LossConfig) -> str:
    along = term.positions
    where = f" (its first {along.first_share:.0%}, {along.start:g} to {along.end:g})" if along else ""
    return f"{term.weight:g} x {term.kind} on {term.region}{where}"


def _read(context: TeacherContext) -> str:
    if isinstance(context, OwnContext):
        return f"a prompt of its own ({Path(context.prompt).name})"
    return f"the gold {context}"
