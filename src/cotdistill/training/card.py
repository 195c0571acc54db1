"""The model card of a student: what it was made from, how, and how it scored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedTokenizerBase

from cotdistill.config import LossConfig, ModelConfig, OwnContext, TeacherContext, TrainingConfig
from cotdistill.config.files import written_yaml
from cotdistill.models.load.origin import OURS, Origin, origin_of, public_name
from cotdistill.models.load.source import is_hub_name
from cotdistill.models.tokens.instruction import encode_question
from cotdistill.records import Score
from cotdistill.storage.atomic import write_text_atomically
from cotdistill.training.loop import TrainingSummary

SCORES = "## Scores"
_PATH = re.compile(r"(?<!\S)(?:/|\./|\.\./|~)[^\s(),]+")
"""A path in a teacher's name."""
QUESTION = "What is 17 + 25?"
"""What the card asks the student."""


def model_card(
    base: ModelConfig,
    sources: dict[str, int],
    config: TrainingConfig,
    totals: TrainingSummary,
    recipe: str,
    prompt: str,
    to_write: tuple[str, str] | None = None,
) -> str:
    """Markdown with the metadata block that model hubs read; scores are added once the student is evaluated.

    ``sources`` counts rationales by task and teacher. ``prompt`` is that of the ``QUESTION``, and ``to_write`` what a
    reader has to put before and after a question, where the chat template does not. Paths of this machine are left out.
    """
    teacher = ", ".join(public_name(one.model.model) for one in config.signals) or "none: supervised fine-tuning"
    if config.signal and config.signal.context != "none":
        teacher += f", who reads {_read(config.signal.context)}"
    adapter = config.adapter
    kept = "merged" if adapter and adapter.merge else "kept separate from its base"
    losses = ", ".join(map(_term, config.loss))
    origin, name = origin_of(base), public_name(base.model)
    of_hub = f" (in the end from {origin.hub_name})" if origin.hub_name not in (None, name) else ""
    lines = [
        *_metadata(origin, is_adapter=bool(adapter and not adapter.merge)),
        f"# A student of {name.rpartition('/')[2] if is_hub_name(base.model) else name}",
        "",
        f"Trained by cotdistill from `{name}`{of_hub}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| rationales | {count} of {_PATH.sub(_end, source)} |" for source, count in sources.items()),
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
        "The model then reads:",
        "",
        *(f"    {line}" for line in prompt.splitlines()),
        "",
        *(["## Recipe", "", "```yaml", _public(recipe).rstrip(), "```", ""] if recipe else []),
        SCORES,
        "",
        "Not evaluated yet.",
    ]
    return "\n".join(lines) + "\n"


def card_prompt(
    tokenizer: PreTrainedTokenizerBase, around: tuple[str, str], *, instructed: bool
) -> tuple[str, tuple[str, str] | None]:
    """What the student reads when it is asked the ``QUESTION``, and what its reader has to write around a question."""
    asked = QUESTION if instructed else around[0] + QUESTION + around[1]
    ids = encode_question(tokenizer, asked)
    return tokenizer.decode(ids), None if instructed else around  # pyright: ignore[reportReturnType]


def _metadata(origin: Origin, *, is_adapter: bool) -> list[str]:
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        base_model=origin.hub_name,
        library_name="peft" if is_adapter else "transformers",
        license=origin.licence,
        pipeline_tag="text-generation",
        tags=[OURS, "knowledge-distillation", "chain-of-thought"],
    )
    return ["---", data.to_yaml(), "---"]


def _public(recipe: str) -> str:
    """The recipe with the public names of what it names by a path."""
    return written_yaml(_without_paths(yaml.safe_load(recipe)))


def _end(path: re.Match[str]) -> str:
    return public_name(path[0])


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_paths(each) for each in value]
    return public_name(value) if isinstance(value, str) else value


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
    question = repr(QUESTION)
    if to_write is not None:
        note = (
            "The chat template does not hold the instruction that the student was trained with, so write it yourself."
        )
        question = repr(to_write[0] + QUESTION + to_write[1])
    model_class = "AutoPeftModelForCausalLM" if kept_apart else "AutoModelForCausalLM"
    text = _ASK.format(note=note, question=question, model_class=model_class)
    return [text.replace("import AutoTokenizer, AutoPeft", "import AutoTokenizer\nfrom peft import AutoPeft")]


def add_scores(student: Path, scores: dict[str, Score], untrained: dict[str, Score] | None = None) -> None:
    """Write the scores by task into the card of a student's folder, beside those of the ``untrained`` student."""
    card = student / "README.md"
    head = card.read_text(encoding="utf-8").split(SCORES)[0]
    before = {task: _accuracy(score) for task, score in (untrained or {}).items()}
    rows = [
        f"| {task} | {_accuracy(score)} | {before.get(task, 'not tested')} "
        f"| {score.n} | {score.unreadable} | {score.truncated} |"
        for task, score in scores.items()
    ]
    columns = ["task", "accuracy (95 % interval)", "untrained", "n", "unreadable", "truncated"]
    table = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *rows]
    write_text_atomically(card, f"{head}{SCORES}\n\n" + "\n".join(table) + "\n")


def _accuracy(score: Score) -> str:
    low, high = score.interval
    return f"{100 * score.accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


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
