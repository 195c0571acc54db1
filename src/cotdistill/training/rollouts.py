"""On-policy steps: the student's own samples for a step's prompts, instead of the written responses.

As in GKD (Agarwal et al. 2023, arXiv 2306.13649), a share of the steps trains on what the student itself writes,
compared with the teacher's distributions at each of its tokens; no gradient goes through the sampling. Which steps
these are follows from seed and step, and what is drawn live from seed, step and example, so that a resumed run draws
the same, and so do several processes, each for its own examples.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.config import OnPolicy, Sampling
from cotdistill.engines.engine import Completion, Request
from cotdistill.engines.transformers_engine import TransformersEngine
from cotdistill.errors import TrainingError
from cotdistill.models.forward.positions import num_positions
from cotdistill.models.tokens.template import decode, stop_token_id
from cotdistill.models.tokens.thinking import read_response
from cotdistill.rationales.faults import repeats_itself
from cotdistill.tasks.answers.reading import statement_seam
from cotdistill.tasks.segments import Region
from cotdistill.training.data.examples import Example
from cotdistill.training.distributed import ALONE, Ranks

LEFT_OUT = ("not_alignable", "cut_to_align")
"""What becomes of samples that a teacher with another tokenizer cannot read, or only to some place."""

MAX_ROWS = 64
"""How many samples are written at once."""

Samples = dict[int, dict[int, Example]]
"""By step, counted from 0, and by the example's number."""


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The samples of a training; ``dtype`` is what matrix products compute in, as in the training step.

    ``drawn`` holds the sample of each example of the training, in order, where they are drawn once, before it.
    """

    config: OnPolicy
    tokenizer: PreTrainedTokenizerBase
    seed: int
    dtype: torch.dtype
    drawn: Sequence[Example] | None = None

    def check(self, student: PreTrainedModel, examples: Collection[Example]) -> None:
        """Raise TrainingError if a prompt leaves the student no room for a whole sample."""
        limit, longest = num_positions(student), max(examples, key=lambda example: len(example.prompt))
        refuse_too_long(limit, longest, self.config)

    def are_of(self, step: int) -> bool:
        """Whether the step (from 0) trains on samples."""
        return random.Random(f"{self.seed}/{step}/on_policy").random() < self.config.share

    def sample(
        self, student: PreTrainedModel, steps: Mapping[int, Mapping[int, Example]], max_new_tokens: int
    ) -> Samples:
        """The student's own responses to the prompts of the examples of some steps, with the same numbers.

        A sample cut by the limit has no stop token: the student is not taught to stop half-way.
        """
        sampling = Sampling(temperature=self.config.temperature, max_new_tokens=max_new_tokens)
        engine = TransformersEngine(student, self.tokenizer, sampling, max_batch_size=MAX_ROWS)
        asked = [
            Request(f"{step}/{n}", e.prompt, seed=f"{self.seed}/{step}/{n}/{e.id}")
            for step, examples in steps.items()
            for n, e in examples.items()
        ]
        was_training = student.training
        student.eval()
        with torch.autocast(student.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            outcomes = [outcome for together in engine.generate(asked) for outcome in together]
        student.train(was_training)
        written = {outcome.key: outcome for outcome in outcomes if isinstance(outcome, Completion)}
        return {
            step: {
                n: sampled(self.tokenizer, example, one.token_ids, finished=not one.truncated)
                for n, example in examples.items()
                for one in (written[f"{step}/{n}"],)
            }
            for step, examples in steps.items()
        }

    def counts(
        self, samples: Collection[Example], ranks: Ranks = ALONE, left_out: Collection[str] = ()
    ) -> dict[str, Any]:
        """For a step's metrics: :func:`counts_of` of these samples, which are this rank's, and those of all ranks.

        ``left_out`` says why samples are missing or cut: ``not_alignable`` or ``cut_to_align``, once for each.
        """
        found = counts_of(self.tokenizer, samples)
        reasons = [list(left_out).count(reason) for reason in LEFT_OUT]
        tokens, cut, repeated, number, *missing = ranks.total([*found.values(), len(samples), *reasons])
        counts = {"mean_length": tokens / max(number, 1), "truncated": int(cut), "repeated": int(repeated)}
        return counts | {name: int(total) for name, total in zip(LEFT_OUT, missing, strict=True) if total}


def refuse_too_long(limit: int | None, longest: Example, config: OnPolicy) -> None:
    """Raise TrainingError if the example with the longest prompt and a whole sample are over a limit of positions."""
    if limit is not None and len(longest.prompt) + config.longest > limit:
        raise TrainingError(
            f"a prompt of {len(longest.prompt)} tokens and {config.longest} sampled ones are over the "
            f"student's {limit} positions",
            where=f"rationale {longest.id}",
            remedy="lower training.on_policy.max_new_tokens or training.max_length",
        )


def counts_of(tokenizer: PreTrainedTokenizerBase, samples: Collection[Example]) -> dict[str, int]:
    """All tokens of samples (stop tokens count), and how many were cut or are caught in a loop."""
    stop = stop_token_id(tokenizer)
    return {
        "tokens": sum(example.num_loss_tokens for example in samples),
        "truncated": sum(example.targets[-1] != stop for example in samples),
        "repeated": sum(repeats_itself(decode(tokenizer, example.loss_targets)) for example in samples),
    }


def sampled(
    tokenizer: PreTrainedTokenizerBase, example: Example, token_ids: Sequence[int], *, finished: bool
) -> Example:
    """The example with a sample in place of its response; one that the limit cut gets no stop token."""
    regions = _regions(tokenizer, example, token_ids)
    if not finished:
        return example.with_response(list(token_ids), regions)
    return example.with_response([*token_ids, stop_token_id(tokenizer)], [*regions, example.regions[-1]])


def _regions(tokenizer: PreTrainedTokenizerBase, example: Example, token_ids: Sequence[int]) -> list[Region]:
    """What is thought comes first; then the statement of the answer separates rationale and answer, in the order that
    the prompt asks for."""
    thought = read_response(tokenizer, example.prompt, token_ids).num_reasoning_tokens
    return [Region.REASONING] * thought + _visible_regions(tokenizer, example, token_ids[thought:])


def _visible_regions(tokenizer: PreTrainedTokenizerBase, example: Example, token_ids: Sequence[int]) -> list[Region]:
    parts = list(dict.fromkeys(r for r in example.regions if r in (Region.RATIONALE, Region.ANSWER)))
    if len(parts) < 2:
        return (parts or [Region.REASONING]) * len(token_ids)
    first, second = parts
    seam = statement_seam(decode(tokenizer, token_ids), first=first is Region.ANSWER)
    num_first = bisect_right(
        range(1, len(token_ids) + 1), seam, key=lambda end: len(decode(tokenizer, token_ids[:end]))
    )
    return [first] * num_first + [second] * (len(token_ids) - num_first)


def rollout_totals(steps: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """For a training's summary: the counts of its steps on samples; None if there were none."""
    if not steps:
        return None
    return {
        "num_steps": len(steps),
        "mean_length": sum(step["mean_length"] for step in steps) / len(steps),
        "truncated": sum(step["truncated"] for step in steps),
        "repeated": sum(step["repeated"] for step in steps),
        **{name: total for name in LEFT_OUT if (total := sum(step.get(name, 0) for step in steps))},
    }
