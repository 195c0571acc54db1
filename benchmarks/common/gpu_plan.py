"""What ``gpu.py`` measures, in order of worth. Loads nothing: the process that plans needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a Qwen2 model whose head shares its weights with its embeddings, as the small Qwen2.5 do."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Work:
    """Numbers of tokens: of an example, of its prompt, of a micro-batch, and of the steps that are measured."""

    example_tokens: int
    prompt_tokens: int
    micro_batch_tokens: int
    step_tokens: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    read_tokens: int
    new_tokens: int
    matrix_size: int
    repeats: int


SHAPES = {
    "qwen2.5-1.5b": Shape("qwen2.5-1.5b", 1536, 8960, 28, 12, 2, 151_936),
    "qwen2.5-0.5b": Shape("qwen2.5-0.5b", 896, 4864, 24, 14, 2, 151_936),
    "tiny": Shape("tiny", 32, 64, 2, 4, 2, 300),
}
REAL = Work(512, 128, 4096, (4096, 16_384), (1, 8, 32, 128), 256, 64, 8192, 5)
TINY = Work(16, 4, 64, (64, 128), (1, 3), 48, 4, 128, 2)
SHARED_TOKENS = 4
"""Prompts of the few-shot case begin with so many times ``read_tokens`` in common."""

PLAIN_SIDES = (
    "ours sft",
    "liger sft",
    "trl sft",
    "ours kd live",
    "liger kd live",
    "trl gkd",
    "trl distillation",
    "ours kd stored hidden",
    "ours kd stored topk",
    "ours sft, chunks x4",
    "ours sft, chunks x16",
    "ours kd live, chunks x4",
    "ours kd live, chunks x16",
    "ours sft, deterministic",
)
COMPILED_SIDES = ("ours sft, compiled", "ours kd live, compiled")
DECODING_SIDES = ("ours", "transformers")


@dataclass(frozen=True, slots=True)
class Part:
    """What one process measures. It has to end when ``end`` of all time is over; what it leaves is the next one's.

    ``cases`` are measured one after the other, the ``sides`` of a case in turns.
    """

    kind: str
    shape: str
    end: float
    cases: tuple[str, ...]
    sides: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.kind} {self.shape}"

    @property
    def units(self) -> list[tuple[str, str]]:
        """Pairs of case and side, each of which gets a line of its own, whatever becomes of it."""
        return [(case, side) for case in self.cases for side in self.sides]


TESTS_END = 0.25
"""The share of the time after which the tests are ended."""


def parts(*, tiny: bool) -> list[Part]:
    """All parts but the tests, which come first."""
    work = TINY if tiny else REAL
    steps = tuple(f"{tokens} tokens" for tokens in work.step_tokens)
    decoding = (*(f"batch {size}" for size in work.batch_sizes), f"batch {work.batch_sizes[-1]}, few-shot")
    if tiny:
        return [
            Part("step", "tiny", 0.8, steps, PLAIN_SIDES),
            Part("decode", "tiny", 0.9, decoding, DECODING_SIDES),
            Part("compiled step", "tiny", 1.0, steps[:1], COMPILED_SIDES),
        ]
    return [
        Part("step", "qwen2.5-1.5b", 0.6, steps, PLAIN_SIDES),
        Part("decode", "qwen2.5-1.5b", 0.75, decoding, DECODING_SIDES),
        Part("step", "qwen2.5-0.5b", 0.88, steps, PLAIN_SIDES),
        Part("decode", "qwen2.5-0.5b", 0.94, decoding, DECODING_SIDES),
        Part("compiled step", "qwen2.5-1.5b", 1.0, steps[:1], COMPILED_SIDES),
    ]
