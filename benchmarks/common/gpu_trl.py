"""TRL's trainers on the step that the other sides take, with the same student, optimizer and micro-batches.

Each repeat is a ``train()`` of one step, timed from its begin to its end as callbacks are told of them: what a trainer
does before and after its steps is not counted. Each has a copy of the models that shares all modules and weights,
because trainers put their own in the place of a model's ``forward``.

GKDTrainer trains on the given responses with forward KL. So does DistillationTrainer here, which otherwise always
samples: its generation is replaced by the given responses.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import torch
from gpu_device import synchronize
from gpu_step import MAX_GRAD_NORM, Bench, Step, bodies_in_bfloat16
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, TrainerCallback

from cotdistill.training.data.examples import Example

Row = dict[str, Any]


@contextmanager
def trl_step(bench: Bench, kind: str, examples: list[Example]) -> Iterator[Step]:
    """Raises ImportError where trl or datasets are not installed."""
    import trl_side  # loads trl's needs

    rows = [
        {
            "input_ids": [*example.input_ids, example.targets[-1]],
            "num_prompt": len(example.prompt),
        }
        for example in examples
    ]
    tokenizer = _tokenizer()
    student, teacher = copy.copy(bench.student), copy.copy(bench.teacher.teacher)
    with TemporaryDirectory() as folder:
        settings = _settings(bench, len(examples), folder)
        if kind == "distillation":
            trainer = _distillation(bench, student, teacher, tokenizer, rows, settings)
        else:
            settings |= {"dataset_kwargs": {"skip_prepare_dataset": True}, "remove_unused_columns": False}
            both = (student,) if kind == "sft" else (student, teacher)
            trainer = getattr(trl_side, f"_{kind}")(*both, tokenizer, rows, settings)
        trainer.optimizer = bench.optimizer  # each its own would be three times the moments in memory
        watch = _Watch(bench.device)
        trainer.add_callback(watch)

        def step() -> tuple[float, dict[str, float]]:
            trainer.lr_scheduler = None  # of the step before, which was its last
            trainer.train()
            bench.optimizer.zero_grad(set_to_none=True)
            logged = next(row for row in trainer.state.log_history if "loss" in row)
            return watch.seconds, {"loss": logged["loss"], "gradient_norm": logged["grad_norm"]}

        yield step


def _settings(bench: Bench, num_examples: int, folder: str) -> dict[str, Any]:
    of_micro_batch = bench.work.micro_batch_tokens // bench.work.example_tokens
    return {
        "output_dir": folder,
        "per_device_train_batch_size": of_micro_batch,
        "gradient_accumulation_steps": num_examples // of_micro_batch,
        "max_steps": 1,
        "learning_rate": 0.0,
        "lr_scheduler_type": "constant",
        "max_grad_norm": MAX_GRAD_NORM,
        "gradient_checkpointing": False,
        "bf16": True,
        "use_cpu": bench.device.type == "cpu",
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "report_to": [],
        "logging_steps": 1,
        "disable_tqdm": True,
    }


class _Watch(TrainerCallback):
    """Times a trainer's steps."""

    def __init__(self, device: torch.device):
        self.device, self.seconds, self.begun = device, 0.0, 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        synchronize(self.device)
        self.begun = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        synchronize(self.device)
        self.seconds = time.perf_counter() - self.begun


def _tokenizer() -> PreTrainedTokenizerFast:
    """The trainers want one; none of its tokens is ever asked for."""
    words = {"<pad>": 0, "<end>": 1, "<unknown>": 2}
    made = Tokenizer(models.WordLevel(words, unk_token="<unknown>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", unk_token="<unknown>", padding_side="left"
    )


def _distillation(
    bench: Bench,
    student: Any,
    teacher: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: list[Row],
    settings: dict[str, Any],
) -> Any:
    from datasets import Dataset
    from trl import DistillationConfig, DistillationTrainer

    class OnGivenResponses(DistillationTrainer):
        def _generate(self, prompts: list[str]) -> tuple[Any, ...]:
            chosen = [rows[int(prompt)] for prompt in prompts]
            prompt_ids = [row["input_ids"][: row["num_prompt"]] for row in chosen]
            responses = [row["input_ids"][row["num_prompt"] :] for row in chosen]
            return prompt_ids, responses, None, None, []

        def compute_loss_context_manager(self) -> AbstractContextManager[object]:
            """Its loss goes around the forward pass that accelerate lets compute in bfloat16: float32 otherwise."""
            return bodies_in_bfloat16(bench)

    return OnGivenResponses(
        model=student,
        teacher_model=teacher,
        args=DistillationConfig(**settings, beta=0.0, temperature=1.0, shuffle_dataset=False),
        train_dataset=Dataset.from_list([{"prompt": str(number)} for number in range(len(rows))]),
        processing_class=tokenizer,
    )
