"""A vllm model in this process. The package needs a GPU; it is loaded only here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from cotdistill.config import VLLMModel
from cotdistill.engines.engine import Completion, Request
from cotdistill.engines.local import Batch, LocalEngine
from cotdistill.errors import ConfigError
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.load.source import locate


class VLLMEngine(LocalEngine):
    """The model of a :class:`VLLMModel`. Raises ConfigError if the package is missing."""

    def __init__(self, asked: VLLMModel):
        try:
            import vllm  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ConfigError(
                "asking a model through vllm needs the package vllm",
                where=f"model {asked.model.model}",
                remedy="pip install 'cotdistill[vllm]', or choose transformers",
            ) from None
        self._vllm = vllm
        self._model: Any = vllm.LLM(
            model=str(locate(asked.model)),
            dtype=asked.dtype,
            max_model_len=asked.max_model_len,
            tensor_parallel_size=asked.tensor_parallel_size,
            gpu_memory_utilization=asked.gpu_memory_utilization,
            trust_remote_code=asked.model.trust_remote_code,
        )
        super().__init__(
            load_tokenizer(asked.model),
            asked.sampling,
            max_batch_size=asked.max_batch_size,
            num_positions=self._model.llm_engine.model_config.max_model_len,
        )

    def _complete(self, batch: Batch) -> Iterator[Completion]:
        # Prompts are ours, token by token: the same as those of transformers.
        generated = self._model.generate(
            [{"prompt_token_ids": list(prompt)} for _, prompt in batch],
            [self._sampled(request) for request, _ in batch],
            use_tqdm=False,
        )
        for (request, prompt), output in zip(batch, generated, strict=True):
            written = output.outputs[0]
            yield self._completion(request, prompt, written.token_ids, written.finish_reason)

    def _sampled(self, request: Request) -> Any:
        """What is drawn follows from the request's seed, whatever the batch."""
        settings, seed = self._sampling, hashlib.sha256((request.seed or request.key).encode()).digest()
        return self._vllm.SamplingParams(
            temperature=settings.temperature or 0.0,
            top_p=settings.top_p or 1.0,
            max_tokens=settings.max_new_tokens,
            stop=list(settings.stop) or None,
            seed=int.from_bytes(seed[:4], "big"),
        )
