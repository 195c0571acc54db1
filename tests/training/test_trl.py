"""TRL's SFTTrainer on what ``export`` writes: the same tokens as our examples, and loss on the same of them.

It runs where trl is installed: ``make bench-env``, then ``.venv-bench/bin/python -m pip install pytest pytest-timeout``
and ``.venv-bench/bin/python -m pytest tests/training/test_trl.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import tiny_model, tiny_tokenizer
from transformers import PreTrainedTokenizerFast

from cotdistill.records import Question, Rationale, Turn
from cotdistill.tasks.export import Form, exported
from cotdistill.training.data.examples import Example, make_example

trl = pytest.importorskip("trl", reason="trl is not installed (make bench-env)")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TURNS = (Turn("system", "Be brief."), Turn("user", "Hello."), Turn("assistant", "Hello to you."))
TOLD = Question("a", "own", "train", "Ann has 12 apples and gives 5 away. How many are left?", "7", "number")
RATIONALES = [
    Rationale(TOLD, "12 - 5 = 7.", "me", None, "human"),
    Rationale(replace(TOLD, id="b", question="And if she gives 6?", answer="6"), None, "me", None, "answer_only"),
    Rationale(replace(TOLD, id="c", turns=TURNS[:1]), "She has 12.\n12 - 5 = 7.", "me", None, "human"),
]
LONGER = [*RATIONALES, Rationale(replace(TOLD, id="d", turns=TURNS), "12 - 5 = 7.", "me", None, "human")]


def tokenizer_with(template: str) -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.chat_template = template
    return tokenizer


def trained_on(rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, folder: Path, **settings: Any) -> Any:
    """TRL's batches of ``rows``, one each, once it has trained on all of them."""
    from datasets import Dataset

    config = trl.SFTConfig(
        output_dir=str(folder), per_device_train_batch_size=1, num_train_epochs=1, report_to=[], use_cpu=True,
        bf16=False, gradient_checkpointing=False, save_strategy="no", max_length=None, disable_tqdm=True,
        train_sampling_strategy="sequential", **settings,
    )  # fmt: skip
    trainer = trl.SFTTrainer(
        tiny_model(len(tokenizer)), config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )
    trainer.train()
    assert trainer.state.global_step == len(rows)
    return [trainer.data_collator([row]) for row in trainer.train_dataset]


def assert_same_loss(batch: Any, ours: Example, tokenizer: PreTrainedTokenizerFast, *, behind: bool) -> None:
    """``behind``: whether TRL also puts loss on what the template writes behind the stop token, a line break."""
    tokens = [*ours.input_ids, ours.targets[-1]]
    carries = [False] + [bool(region) for region in ours.regions]
    theirs, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    assert theirs[: len(tokens)] == tokens, tokenizer.decode(theirs)
    assert tokenizer.decode(theirs[len(tokens) :]).strip() == ""
    assert [label != -100 for label in labels] == carries + [behind] * (len(theirs) - len(tokens))


@pytest.mark.parametrize("thinks", [False, True])
def test_trl_puts_loss_on_the_same_tokens_of_a_model_that_thinks(tmp_path: Path, thinks: bool) -> None:
    """Qwen3's own template, which TRL replaces by one for training; reasoning is between its marks, or the block empty.

    With an empty block TRL's assistant mask covers the block as well, as ours does.
    """
    template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8")
    tokenizer = tokenizer_with(template)
    rationales = [replace(one, reasoning="He thinks. Then he is done.") for one in RATIONALES if one.rationale]
    rationales = rationales if thinks else [replace(one, reasoning=None) for one in rationales]
    rows = list(exported(rationales, "messages"))
    for batch, rationale in zip(
        trained_on(rows, tokenizer, tmp_path, assistant_only_loss=True), rationales, strict=True
    ):
        assert_same_loss(batch, make_example(rationale, tokenizer, thinks=thinks), tokenizer, behind=True)


@pytest.mark.parametrize(
    ("form", "rationales", "settings", "behind"),
    [
        ("messages", RATIONALES, {"assistant_only_loss": True}, False),
        ("prompt_completion", LONGER, {}, True),
    ],
)
def test_trl_puts_loss_on_the_same_tokens(
    tmp_path: Path, form: Form, rationales: Sequence[Rationale], settings: dict[str, Any], behind: bool
) -> None:
    tokenizer = tokenizer_with(CHATML)
    rows = list(exported(rationales, form))
    batches = trained_on(rows, tokenizer, tmp_path, **settings)
    for batch, rationale in zip(batches, rationales, strict=True):
        assert_same_loss(batch, make_example(rationale, tokenizer), tokenizer, behind=behind)
