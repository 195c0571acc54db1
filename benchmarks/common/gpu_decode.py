"""Greedy decoding side by side: the package's ``generate`` and transformers', on one model in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from gpu_device import random_model
from gpu_plan import SHAPES, SHARED_TOKENS, Work

from cotdistill.models.generate.generation import generate

Prompts = list[list[int]]


@dataclass
class Decoder:
    shape: str
    work: Work
    device: torch.device

    def __post_init__(self) -> None:
        self.model = random_model(SHAPES[self.shape], dtype=torch.bfloat16, device=self.device, seed=0)

    def prompts(self, batch_size: int, *, few_shot: bool) -> Prompts:
        """Of three quarters to all of ``read_tokens``; few-shot ones begin with much in common."""
        generator = torch.Generator().manual_seed(batch_size)
        longest, vocabulary = self.work.read_tokens, SHAPES[self.shape].vocabulary

        def tokens(count: int) -> list[int]:
            return torch.randint(3, vocabulary, (count,), generator=generator).tolist()

        shared = tokens(SHARED_TOKENS * longest) if few_shot else []
        lengths = [longest - number % 8 * longest // 32 for number in range(batch_size)]
        return [shared + tokens(length) for length in lengths]

    def side(self, name: str, prompts: Prompts) -> Callable[[], list[list[int]]]:
        """What writes ``new_tokens`` behind each prompt, with nothing that stops it before."""
        return (lambda: self._ours(prompts)) if name == "ours" else (lambda: self._theirs(prompts))

    def _ours(self, prompts: Prompts) -> list[list[int]]:
        outputs = generate(
            self.model,
            prompts,
            max_new_tokens=self.work.new_tokens,
            max_batch_size=len(prompts),
            stop_token_ids=(),
        )
        return [output.token_ids for output in sorted(outputs, key=lambda output: output.index)]

    @torch.inference_mode()
    def _theirs(self, prompts: Prompts) -> list[list[int]]:
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts], device=self.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        mask = (torch.arange(longest, device=self.device) >= longest - lengths[:, None]).long()
        found = self.model.generate(
            ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=self.work.new_tokens,
            min_new_tokens=self.work.new_tokens,
            pad_token_id=0,
        )
        return found[:, longest:].tolist()
