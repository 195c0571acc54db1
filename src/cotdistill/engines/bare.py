"""A model asked bare questions, as by any program that knows no more than the chat template of its folder."""

from __future__ import annotations

from typing import Any, NamedTuple

from cotdistill.config import ModelConfig, Sampling, TransformersModel
from cotdistill.engines.engine import Completion, Failed, Request
from cotdistill.engines.transformers_engine import TransformersEngine
from cotdistill.errors import DataError
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.tokens.instruction import encode_question


class Reply(NamedTuple):
    """What a model wrote: its ``reasoning``, if it is told apart, and the ``text`` that it says."""

    reasoning: str | None
    text: str
    truncated: bool
    num_prompt_tokens: int
    num_output_tokens: int

    def to_row(self) -> dict[str, Any]:
        return self._asdict()


class BareQuestions:
    """A model in memory. Raises ModelError if it cannot be loaded."""

    def __init__(self, model: ModelConfig, sampling: Sampling):
        asked = TransformersModel(model=model, sampling=sampling)
        self._engine, self._tokenizer = TransformersEngine.open(asked), load_tokenizer(model)
        self._where, self._sampling = model.model, sampling

    def ask(self, question: str) -> Reply:
        """Raises DataError for a question that leaves no room for an answer."""
        request = Request(str(self._sampling.seed), encode_question(self._tokenizer, question))
        ((outcome,),) = self._engine.generate([request])
        if isinstance(outcome, Failed):
            problem = f"a question of {outcome.input_tokens} tokens leaves no room for {self._sampling.max_new_tokens}"
            raise DataError(problem, where=self._where, remedy="lower max_new_tokens")
        return _reply(outcome)


def _reply(completion: Completion) -> Reply:
    tokens = (completion.input_tokens, completion.output_tokens)
    return Reply(completion.reasoning, completion.text.strip(), completion.truncated, *tokens)
