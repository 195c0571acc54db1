"""What both sides of a training benchmark read: two models, token rows, a captured signal.

Everything lies in one folder, so that each side runs in a process of its own, in an environment of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH_SIZE = 8
LEARNING_RATE = 1e-5
ROWS, ORDER = "rows.json", "order.json"
NOISE = 0.02
"""The student is the teacher with weights that are changed by so much of themselves: else their divergence is zero."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """``num_tokens`` counts what goes into the model, once a row and without padding.

    ``useful_operations`` are the least that supervised training takes: two a weight and token forward, four backward,
    in the body for every token and in the head for those that carry loss; attention itself and teachers left out.
    """

    folder: Path
    num_rows: int
    num_tokens: int
    num_loss_tokens: int
    useful_operations: int


def make_inputs(folder: Path, *, model: str, task: str, num_rows: int, dtype: str, signal: bool) -> Inputs:
    """Write ``teacher/``, ``student/``, ``rows.json`` and, if asked for, the captured signal ``teacher_signal/``.

    Rows are the first of SVAMP's released rationales (``$COTDISTILL_DATA``) or of the package's own solver
    (``procedural``).
    """
    import torch

    from cotdistill.config import ModelConfig
    from cotdistill.models.forward.heads import output_head
    from cotdistill.models.load.loading import load_model, load_tokenizer
    from cotdistill.training.data.batches import steps_of_epoch
    from cotdistill.training.data.store import total_loss_tokens

    config = ModelConfig(model=model)
    tokenizer = load_tokenizer(config)
    network = load_model(config, dtype=torch.float32, device="cpu")
    network.save_pretrained(folder / "teacher")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.0 + NOISE * torch.randn(parameter.shape, generator=generator))
    network.save_pretrained(folder / "student")
    tokenizer.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "student")

    examples = _examples(task, num_rows, tokenizer)
    rows = [
        {
            "id": example.id,
            "input_ids": [*example.input_ids, example.targets[-1]],
            "num_prompt": len(example) + 1 - example.num_loss_tokens,
        }
        for example in examples
    ]
    (folder / ROWS).write_text(json.dumps(rows), encoding="utf-8")
    steps = steps_of_epoch([len(example) for example in examples], BATCH_SIZE, seed=0, epoch=0)
    (folder / ORDER).write_text(json.dumps([place for step in steps for place in step]), encoding="utf-8")
    if signal:
        capture_signal(folder, folder / "runs", dtype)
    num_tokens, num_loss_tokens = sum(map(len, examples)), total_loss_tokens(examples)
    operations = 6 * (_body_weights(network) * num_tokens + output_head(network).weight.numel() * num_loss_tokens)
    return Inputs(folder, len(rows), num_tokens, num_loss_tokens, operations)


def _body_weights(network: Any) -> int:
    """Weights of matrices that every token is multiplied with."""
    layers = network.base_model.layers
    return sum(parameter.numel() for parameter in layers.parameters() if parameter.ndim == 2)


def _examples(task: str, num_rows: int, tokenizer: Any) -> list[Any]:
    from cotdistill.annotation import collect_rationales
    from cotdistill.config import AnnotationConfig, BenchmarkTask, DatasetTeacher, ProceduralTask, ProceduralTeacher
    from cotdistill.tasks import load_task
    from cotdistill.training.data.examples import make_examples

    if task == "svamp":
        source, teacher = BenchmarkTask(name="svamp"), DatasetTeacher()
    else:
        source, teacher = ProceduralTask(num_train=num_rows, num_test=1), ProceduralTeacher()
    rationales = collect_rationales(load_task(source).train, teacher, AnnotationConfig())
    return make_examples(list(rationales)[:num_rows], tokenizer, max_length=1024, too_long="error")[0]


def read_rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / ROWS).read_text(encoding="utf-8"))


def read_order(folder: Path) -> list[int]:
    """Places of the rows in the order in which the package's trainer takes them: steps of rows of similar length."""
    return json.loads((folder / ORDER).read_text(encoding="utf-8"))


def read_examples(folder: Path) -> list[Any]:
    """The rows as the package's own examples."""
    from cotdistill.training.data.examples import Example, Region

    examples = []
    for row in read_rows(folder):
        ids, num_prompt = row["input_ids"], row["num_prompt"]
        regions = [Region.PROMPT] * num_prompt + [Region.RATIONALE] * (len(ids) - num_prompt)
        examples.append(Example(row["id"], ids[:-1], ids[1:], regions[1:]))
    return examples


def capture_signal(folder: Path, runs: Path, dtype: str, **settings: Any) -> Any:
    """The teacher's stored signal of the rows, captured in ``runs`` where it is not there yet."""
    from cotdistill.config import CachedTeacher, ModelConfig
    from cotdistill.training.signals.capture import capture

    teacher = CachedTeacher(model=ModelConfig(model=str(folder / "teacher")), **settings)
    return capture(teacher, read_examples(folder), dtype=dtype, max_batch_tokens=2048, runs=runs)  # pyright: ignore
