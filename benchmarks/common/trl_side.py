"""One epoch of a TRL trainer over the same rows in the same batches: ``trl_side.py KIND FOLDER DTYPE``.

Runs in an environment that has trl 1.16 and never imports this package. GKDTrainer with lmbda=0 trains on the given
responses alone, and with beta=0 on forward KL; its teacher runs in every step. Checkpointing of activations, TRL's
default, is off: it saves memory, but costs each side a forward pass.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from inputs import BATCH_SIZE, LEARNING_RATE, read_order, read_rows
from measured import Clock, Parts, print_side
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase


def main(kind: str, folder: Path, dtype: str) -> None:
    rows = read_rows(folder)
    rows = [rows[place] for place in read_order(folder)]
    tokenizer = AutoTokenizer.from_pretrained(folder / "student")
    student = AutoModelForCausalLM.from_pretrained(folder / "student", dtype=torch.float32)
    with tempfile.TemporaryDirectory() as work:
        settings: dict[str, Any] = {
            "output_dir": work,
            "per_device_train_batch_size": BATCH_SIZE,
            "train_sampling_strategy": "sequential",
            "num_train_epochs": 1,
            "learning_rate": LEARNING_RATE,
            "lr_scheduler_type": "constant",
            "max_length": 1024,
            "dataset_kwargs": {"skip_prepare_dataset": True},
            "remove_unused_columns": False,
            "gradient_checkpointing": False,
            "bf16": dtype == "bfloat16",
            "use_cpu": True,
            "dataloader_pin_memory": False,
            "save_strategy": "no",
            "report_to": [],
            "logging_steps": 1,
            "disable_tqdm": True,
        }
        parts = Parts()
        if kind == "on_policy":
            teacher = AutoModelForCausalLM.from_pretrained(folder / "teacher", dtype=getattr(torch, dtype))
            trainer = _on_policy(student, teacher, tokenizer, rows, settings, parts)
        elif kind == "sft":
            trainer = _sft(student, tokenizer, rows, settings)
        else:
            teacher = AutoModelForCausalLM.from_pretrained(folder / "teacher", dtype=getattr(torch, dtype))
            trainer = _gkd(student, teacher, tokenizer, rows, settings)
        clock = Clock()
        trainer.train()
        took = clock.read()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if kind == "on_policy":
        print_side(took, int(trainer.state.num_input_tokens_seen), losses, **parts.read(took[0]))
    else:
        print_side(took, sum(len(row["input_ids"]) - 1 for row in rows), losses)


def _sft(student: Any, tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    from trl import SFTConfig, SFTTrainer

    data = [{"input_ids": row["input_ids"], "labels": _labels(row)} for row in rows]
    return SFTTrainer(
        model=student,
        args=SFTConfig(**settings),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
    )


def _gkd(
    student: Any,
    teacher: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    settings: dict[str, Any],
) -> Any:
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    data = [
        {
            "input_ids": row["input_ids"],
            "labels": _labels(row),
            "prompts": row["input_ids"][: row["num_prompt"]],
        }
        for row in rows
    ]
    return GKDTrainer(
        model=student,
        teacher_model=teacher,
        args=GKDConfig(**settings, lmbda=0.0, beta=0.0),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        data_collator=LeftPadded(tokenizer),
    )


def _on_policy(
    student: Any,
    teacher: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    settings: dict[str, Any],
    parts: Parts,
) -> Any:
    from trl import DistillationConfig, DistillationTrainer

    ids = [row["input_ids"][: row["num_prompt"]] for row in rows]
    prompts = [tokenizer.decode(prompt) for prompt in ids]
    assert tokenizer(prompts)["input_ids"] == ids
    own = {"max_length", "dataset_kwargs", "train_sampling_strategy", "remove_unused_columns"}
    parts.watch(student, "generate", "generation")
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=DistillationConfig(
            **{name: value for name, value in settings.items() if name not in own},
            max_completion_length=int(os.environ["NEW_TOKENS"]),
            shuffle_dataset=False,
        ),
        train_dataset=Dataset.from_list([{"prompt": text} for text in prompts]),
        processing_class=tokenizer,
    )
    # The teacher's body runs without gradients, the student's with them.
    parts.watch(trainer, "_get_last_hidden_state", "scoring", when=lambda *_: not torch.is_grad_enabled())
    return trainer


def _labels(row: dict[str, Any]) -> list[int]:
    """The tokens, with those of the prompt marked as without loss."""
    return [-100] * row["num_prompt"] + row["input_ids"][row["num_prompt"] :]


class LeftPadded:
    """Lays token rows out as TRL's own collator for chats does, which takes texts only."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.fill = tokenizer.pad_token_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids, prompts = _left_padded(rows, "input_ids", -1), _left_padded(rows, "prompts", -1)
        return {
            "input_ids": ids.masked_fill(ids < 0, self.fill),
            "attention_mask": (ids >= 0).long(),
            "labels": _left_padded(rows, "labels", -100),
            "prompts": prompts.masked_fill(prompts < 0, self.fill),
            "prompt_attention_mask": (prompts >= 0).long(),
        }


def _left_padded(rows: list[dict[str, Any]], name: str, fill: int) -> torch.Tensor:
    longest = max(len(row[name]) for row in rows)
    return torch.tensor([[fill] * (longest - len(row[name])) + list(row[name]) for row in rows])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
