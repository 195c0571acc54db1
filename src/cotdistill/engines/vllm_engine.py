"""A teacher of vllm in this process. The package needs a GPU; it is loaded here and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from cotdistill.config import VLLMTeacher
from cotdistill.engines.asking import Answer, Request
from cotdistill.errors import ConfigError
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.load.source import locate
from cotdistill.models.tokens.template import encode_prompt


class VLLMEngine:
    """The model of a :class:`VLLMTeacher`. Raises ConfigError where the package is missing."""

    def __init__(self, teacher: VLLMTeacher):
        try:
            import vllm  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ConfigError(
                "asking a model through vllm needs the package vllm",
                where=f"teacher {teacher.model.model}",
                remedy="pip install 'cotdistill[vllm]', or choose the kind transformers",
            ) from None
        self._vllm, self._settings = vllm, teacher.sampling
        # Prompts are ours, token by token: the same as those of the kind transformers.
        self._tokenizer = load_tokenizer(teacher.model)
        self._model: Any = vllm.LLM(
            model=str(locate(teacher.model)),
            dtype=teacher.dtype,
            max_model_len=teacher.max_model_len,
            tensor_parallel_size=teacher.tensor_parallel_size,
            gpu_memory_utilization=teacher.gpu_memory_utilization,
            trust_remote_code=teacher.model.trust_remote_code,
        )

    def fits(self, request: Request) -> bool:
        limit = self._model.llm_engine.model_config.max_model_len
        return len(self._encode(request)) + self._settings.max_tokens <= limit

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        prompts = [self._encode(request) for request in requests]
        generated = self._model.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            [self._sampling(request) for request in requests],
            use_tqdm=False,
        )
        answers = []
        for prompt, output in zip(prompts, generated, strict=True):
            written = output.outputs[0]
            answers.append(Answer(written.text, written.finish_reason, len(prompt), len(written.token_ids)))
        return answers

    def _encode(self, request: Request) -> list[int]:
        return encode_prompt(self._tokenizer, request.prompt)

    def _sampling(self, request: Request) -> Any:
        """The seed of a request follows from its key, which holds the seed of the settings and the draw."""
        return self._vllm.SamplingParams(
            temperature=self._settings.temperature,
            top_p=self._settings.top_p,
            max_tokens=self._settings.max_tokens,
            stop=list(self._settings.stop) or None,
            seed=int.from_bytes(hashlib.sha256(request.key.encode()).digest()[:4], "big"),
        )
