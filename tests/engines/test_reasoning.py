"""What models of this process think, told apart whatever their tokenizer makes of the marks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from cotdistill.config import Sampling
from cotdistill.engines.engine import Completion, Request
from cotdistill.engines.local import Batch, LocalEngine
from cotdistill.models.load.builtin import builtin_folder
from cotdistill.tasks.reasoning import split_reasoning


class Reciting(LocalEngine):
    """Writes the same text to every prompt."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, text: str):
        super().__init__(tokenizer, Sampling(), max_batch_size=4, num_positions=None)
        self.text = text

    def _complete(self, batch: Batch) -> Iterator[Completion]:
        for request, prompt in batch:
            written = self._tokenizer(self.text, add_special_tokens=False)["input_ids"]
            yield self._completion(request, prompt, written, "stop")


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(builtin_folder("builtin:nano-student"))


def recited(tokenizer: PreTrainedTokenizerBase, text: str) -> Completion:
    ((completion,),) = Reciting(tokenizer, text).generate([Request("k", "What is 3 + 1?")])
    assert isinstance(completion, Completion)
    return completion


def test_marks_that_are_special_tokens_are_read_and_other_special_tokens_left_out(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]", "<|other|>"]})
    completion = recited(tokenizer, f"[THINK]3 + 1 = 4.[/THINK]The <|other|>answer is 4.{tokenizer.eos_token}")
    assert (completion.reasoning, completion.text) == ("3 + 1 = 4.", "The answer is 4.")


@pytest.mark.parametrize(
    ("prefill", "written", "reasoning"),
    [
        ("<think>\n", "3 + 1 = 4.\n</think>\n\nThe answer is 4.", "3 + 1 = 4."),
        ("<think>\n\n</think>\n\n", "The answer is 4.", None),
        ("", "The answer is 4.", None),
    ],
)
def test_a_thought_that_the_template_opens_is_one(
    tokenizer: PreTrainedTokenizerBase, prefill: str, written: str, reasoning: str | None
) -> None:
    tokenizer.chat_template = "{{ messages[0]['content'] }}" + prefill  # pyright: ignore
    completion = recited(tokenizer, written)
    assert (completion.reasoning, completion.text) == (reasoning, "The answer is 4.")


def test_a_thought_that_the_template_opens_and_nothing_closes_is_all_thought(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    tokenizer.chat_template = "{{ messages[0]['content'] }}<think>\n"  # pyright: ignore
    completion = recited(tokenizer, "Let me see. The answer is 3? Or")
    assert (completion.reasoning, completion.text) == ("Let me see. The answer is 3? Or", "")
    assert split_reasoning(completion.raw) == split_reasoning(completion.whole)
