"""The model card of a student: what it was made from, how, and how it scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cotdistill.config import LossConfig, OwnContext, TeacherContext, TrainingConfig
from cotdistill.records import Score
from cotdistill.storage.atomic import write_text_atomically
from cotdistill.training.loop import TrainingSummary

SCORES = "## Scores"


def model_card(
    base_model: str,
    sources: dict[str, int],
    config: TrainingConfig,
    totals: TrainingSummary,
    recipe: str,
    to_write: tuple[str, str] | None = None,
) -> str:
    """Markdown with the metadata block that model hubs read; scores are added once the student is evaluated.

    ``sources`` counts rationales by task and teacher. ``to_write`` is what a reader has to put before and after a
    question, where the chat template does not.
    """
    teacher = ", ".join(one.model.model for one in config.signals) or "none: supervised fine-tuning"
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
        f"Trained by cotdistill from `{_public_name(base_model)}`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| rationales | {count} of {source} |" for source, count in sources.items()),
        f"| taught to write | {config.target.replace('_', ' ')} |",
        f"| teacher signal | {teacher} |",
        f"| loss | {losses} |",
        *([f"| adapter | LoRA of rank {adapter.rank}, {kept} |"] if adapter else []),
        *([f"| steps on own samples | {_rollouts(totals.rollouts)} |"] if totals.rollouts else []),
        *([f"| kept | {_kept(totals)} |"] if totals.validation else []),
        f"| examples, steps | {totals.num_examples}, {totals.num_steps} |",
        f"| tokens, with loss | {totals.num_tokens}, {totals.num_loss_tokens} |",
        f"| loss, first and last step | {totals.first_loss:.4f}, {totals.last_loss:.4f} |",
        "",
        *_how_to_ask(to_write, kept_apart=bool(adapter and not adapter.merge)),
        *(["## Recipe", "", "```yaml", recipe.rstrip(), "```", ""] if recipe else []),
        SCORES,
        "",
        "Not evaluated yet.",
    ]
    return "\n".join(lines) + "\n"


_ASK = """## How to ask

{note}

```python
from transformers import AutoTokenizer, {model_class}

folder = "."  # this one
tokenizer, student = AutoTokenizer.from_pretrained(folder), {model_class}.from_pretrained(folder)
turns = [{{"role": "user", "content": {question}}}]
prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = student.generate(**prompt, max_new_tokens=512)
print(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
```
"""


def _how_to_ask(to_write: tuple[str, str] | None, *, kept_apart: bool) -> list[str]:
    note = "The chat template puts a bare question as in the training."
    question = '"What is 17 + 25?"'
    if to_write is not None:
        note = (
            "The chat template does not hold the instruction that the student was trained with, so write it yourself."
        )
        question = repr(to_write[0] + "What is 17 + 25?" + to_write[1])
    model_class = "AutoPeftModelForCausalLM" if kept_apart else "AutoModelForCausalLM"
    text = _ASK.format(note=note, question=question, model_class=model_class)
    return [text.replace("import AutoTokenizer, AutoPeft", "import AutoTokenizer\nfrom peft import AutoPeft")]


def _public_name(base_model: str) -> str:
    """A hub's or a built-in name as it is; of a folder on this machine only its own name."""
    is_folder = base_model.startswith(("/", ".", "~")) or Path(base_model).exists()
    return Path(base_model).name if is_folder else base_model


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
    tokens = f"{totals['num_steps']}, {totals['mean_length']:.1f} tokens a sample"
    return f"{tokens}, {totals['truncated']} samples cut off, {totals['repeated']} caught in a loop"


def _kept(totals: TrainingSummary) -> str:
    """Which step's weights these are, and what was found on held-out questions there."""
    found = totals.validation or {}
    kept = found["kept"]
    parts = [f"validation loss {kept['loss']:.4f}"] if "loss" in kept else []
    parts += [f"accuracy {kept['accuracy']:.1%} of {found['held_out']['asked']}"] if "accuracy" in kept else []
    return f"step {found['kept_step']} of {totals.num_steps}, {found['kept_because']}; {', '.join(parts)}"


def _term(term: LossConfig) -> str:
    along = term.positions
    where = f" (its first {along.first_share:.0%}, {along.start:g} to {along.end:g})" if along else ""
    return f"{term.weight:g} x {term.kind} on {term.region}{where}"


def _read(context: TeacherContext) -> str:
    if isinstance(context, OwnContext):
        return f"a prompt of its own ({Path(context.prompt).name})"
    return f"the gold {context}"
