"""Training steps side by side: the same student, teacher, optimizer, examples and micro-batches for every side.

All sides compute in bfloat16 with parameters, gradients and moments in float32. The learning rate is zero: a step costs
the same, and as no weight moves, the losses of the sides must agree.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from gpu_device import random_model, seconds_of
from gpu_plan import SHAPES, Work

from cotdistill.config import CrossEntropy, ForwardKL, TokenLoss
from cotdistill.models.forward.heads import last_hidden_states, output_head
from cotdistill.models.load.layers import decoder_layers
from cotdistill.tasks.segments import Region
from cotdistill.training.data.batches import Batch, batches_of_step, collate
from cotdistill.training.data.examples import Example
from cotdistill.training.losses import fused
from cotdistill.training.losses.divergences import log_softmax
from cotdistill.training.signals.live import LiveSignal, TeacherSignal
from cotdistill.training.signals.stored import Column, SignalWriter, StoredSignal, save_head
from cotdistill.training.step import DistillationLoss, accumulate

TEACHER = "qwen2.5-1.5b"
NUM_LIKELIEST = 64
COMPUTE = torch.bfloat16
MAX_GRAD_NORM = 1.0

Step = Callable[[], tuple[float, dict[str, float]]]
"""One optimizer step: how many seconds it took, and its ``loss`` and ``gradient_norm``."""


@dataclass
class Bench:
    """What the sides of a part share. ``folder`` is where stored signals go."""

    shape: str
    work: Work
    device: torch.device
    folder: Path

    def __post_init__(self) -> None:
        self.student = random_model(SHAPES[self.shape], dtype=torch.float32, device=self.device, seed=0)
        self.student.train()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=0.0, weight_decay=0.0, fused=True)

    @cached_property
    def teacher(self) -> LiveSignal:
        name = self.shape if self.shape == "tiny" else TEACHER
        return LiveSignal(random_model(SHAPES[name], dtype=COMPUTE, device=self.device, seed=1))

    def examples(self, num_tokens: int) -> list[Example]:
        """As many of one length as make a step of so many tokens: no side pads."""
        length, prompt = self.work.example_tokens, self.work.prompt_tokens
        generator = torch.Generator().manual_seed(2)
        vocabulary = SHAPES[self.shape].vocabulary
        rows = torch.randint(3, vocabulary, (num_tokens // length, length + 1), generator=generator).tolist()
        regions = [Region.PROMPT] * (prompt - 1) + [Region.RATIONALE] * (length - prompt + 1)
        return [Example(f"e{number}", row[:-1], row[1:], regions) for number, row in enumerate(rows)]

    def batches(self, examples: list[Example]) -> list[Batch]:
        return batches_of_step(dict(enumerate(examples)), "padded", self.work.micro_batch_tokens)

    def stored(self, store: str, examples: list[Example]) -> StoredSignal:
        """The teacher's rows of ``examples`` on the disk, in the form that a capture gives them."""
        folder = self.folder / f"{store}-{len(examples)}"
        if not folder.exists():
            folder.mkdir(parents=True)
            _write_signal(folder, store, self.teacher, examples, self.device)
        return StoredSignal(folder, self.device)

    def optimizer_step(self, forward_and_backward: Callable[[], float]) -> tuple[float, dict[str, float]]:
        """A step as the package's trainer takes it."""

        def step() -> dict[str, float]:
            self.optimizer.zero_grad(set_to_none=True)
            loss = forward_and_backward()
            norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), MAX_GRAD_NORM).item()
            self.optimizer.step()
            return {"loss": loss, "gradient_norm": norm}

        found = seconds_of(step, self.device)
        self.optimizer.zero_grad(set_to_none=True)
        return found

    def useful_operations(self, side: str, examples: list[Example]) -> float:
        """The least that a side takes: two a weight and token forward, four backward; of a live teacher two. In the
        bodies for every token, in the heads for those with loss; attention itself is left out."""
        num_tokens, num_loss = sum(map(len, examples)), sum(example.num_loss_tokens for example in examples)
        operations = 6.0 * _products(self.student, num_tokens, num_loss)
        if any(word in side for word in ("live", "gkd", "distillation")):
            operations += 2.0 * _products(self.teacher.teacher, num_tokens, num_loss)
        elif "hidden" in side:  # its head makes logits of what was stored
            operations += 2.0 * _products(self.teacher.teacher, 0, num_loss)
        return operations


def _products(model: torch.nn.Module, num_tokens: int, num_loss_tokens: int) -> int:
    layers = decoder_layers(model)  # pyright: ignore[reportArgumentType]
    body = sum(parameter.numel() for parameter in layers.parameters() if parameter.ndim == 2)
    return body * num_tokens + output_head(model).weight.numel() * num_loss_tokens  # pyright: ignore


@torch.no_grad()
def _write_signal(folder: Path, store: str, teacher: LiveSignal, examples: list[Example], device: torch.device) -> None:
    head = output_head(teacher.teacher)
    columns = {"hidden": Column(COMPUTE, teacher.teacher.config.hidden_size)}
    if store == "topk":
        columns = {
            "tokens": Column(torch.int32, NUM_LIKELIEST),
            "log_probabilities": Column(torch.float32, NUM_LIKELIEST),
        }
    else:
        save_head(folder, teacher.head, head.weight, None)  # pyright: ignore[reportArgumentType]
    with SignalWriter(folder, columns, {"store": store}) as writer:
        for example in examples:
            rows = teacher.rows(collate([example]).to(device))
            if store == "topk":
                best = log_softmax(rows.head(rows.hidden)).topk(NUM_LIKELIEST)
                writer.append({example.key: {"tokens": best.indices, "log_probabilities": best.values}})
            else:
                writer.append({example.key: {"hidden": rows.hidden}})


def make_step(bench: Bench, side: str, examples: list[Example]) -> AbstractContextManager[Step]:
    """A side's step, ready to be taken within. Raises NotHere or ImportError where this machine cannot."""
    owner, *rest = side.partition(",")[0].split()
    if owner == "liger":
        from gpu_liger import liger_step

        return nullcontext(liger_step(bench, " ".join(rest), examples))
    if owner == "trl":
        from gpu_trl import trl_step

        return trl_step(bench, " ".join(rest), examples)
    return _our_step(bench, side, examples)


@contextmanager
def _our_step(bench: Bench, side: str, examples: list[Example]) -> Iterator[Step]:
    """The package's own loss over its own micro-batches; behind the comma stands what is different from its default."""
    kind, _, variant = side.removeprefix("ours ").partition(", ")
    terms: tuple[TokenLoss, ...] = (CrossEntropy(),) if kind == "sft" else (ForwardKL(),)
    signal: TeacherSignal | None = None
    if kind != "sft":
        signal = bench.teacher if kind == "kd live" else bench.stored(kind.rpartition(" ")[2], examples)
    module = DistillationLoss(bench.student, terms, signal).train()
    batches = bench.batches(examples)

    def forward_and_backward() -> float:
        return accumulate(module, batches, device=bench.device, dtype=COMPUTE)[0]

    def step() -> tuple[float, dict[str, float]]:
        with _varied(variant):
            return bench.optimizer_step(forward_and_backward)

    if variant == "compiled":
        for layer in decoder_layers(bench.student):
            layer.compile(dynamic=True)  # as training.compile does
    yield step


@contextmanager
def _varied(variant: str) -> Iterator[None]:
    if variant.startswith("chunks x"):
        before = fused.CHUNK_LOGITS
        fused.CHUNK_LOGITS = before * int(variant.removeprefix("chunks x"))
        try:
            yield
        finally:
            fused.CHUNK_LOGITS = before
    elif variant == "deterministic":  # what it would cost to resume to the same bits whatever kernel is taken
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.utils.deterministic.fill_uninitialized_memory = False  # nothing of ours reads such memory
            torch.use_deterministic_algorithms(True, warn_only=True)
            try:
                yield
            finally:
                torch.use_deterministic_algorithms(False)
    else:
        yield


def bodies_in_bfloat16(bench: Bench) -> AbstractContextManager[object]:
    return torch.autocast(bench.device.type, dtype=COMPUTE)


def student_rows(bench: Bench, batch: Batch) -> torch.Tensor:
    """The student's last hidden states at loss positions, ``[num_loss_tokens, hidden]``."""
    return last_hidden_states(bench.student, **batch.inputs).flatten(0, 1)[batch.positions]
