"""Make the nano family: a tokenizer, ``nano-teacher`` and ``nano-student``, from procedural text alone, on a CPU.

    python recipes/nano/pretrain.py tokenizer --out OUT
    python recipes/nano/pretrain.py student --out OUT
    python recipes/nano/pretrain.py teacher --out OUT

The student is a base model: it read questions, worked solutions and fragments of them in a plain "textbook" layout,
as a language model would find on the web, and never saw our prompts. The teacher was trained on our prompts: four
fifths of them answered with a granularity-3 rationale, the rest with the answer alone. All texts come from the split
``pretrain``, which shares no question with ``train`` or ``test``, whatever the seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cotdistill.config import ProceduralTask
from cotdistill.records import Question, Rationale
from cotdistill.tasks.procedural import generate_split, write_rationale
from cotdistill.tasks.prompts import prompt_text, response_parts

END, PAD = "<|end|>", "<|pad|>"
VOCABULARY = 1024
ROW = 256
"""Tokens of a training row, into which whole documents are packed."""

KINDS = ("boolean_expressions", "multistep_arithmetic", "navigate", "object_counting", "web_of_lies")
"""The kinds that models of this size learn in half an hour on two cores."""

SIZES = {
    "teacher": {"hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 576},
    "student": {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 320},
}
NUM_DOCUMENTS = {"teacher": 50_000, "student": 90_000}
LEARNING_RATE = 3e-3
BATCH_ROWS = 16

JOB = 2000
"""Questions of one kind and difficulty that are drawn together, all different."""

FORMATS = ("cot", "cot", "cot", "least_to_most", "rar", "symbolic")


def textbook(question: Question, generator: random.Random) -> str:
    """A question alone, a solution alone, or a question with its solution: never in our prompts' words."""
    solution = write_rationale(question, generator.choice((2, 3, 3, 3, 4)), "cot")
    kind = generator.random()
    if kind < 0.1:
        return f"Problem. {question.question}"
    if kind < 0.25:
        return f"Solution. {solution}"
    return f"Problem. {question.question}\nSolution. {solution}"


def instructed(question: Question, generator: random.Random) -> str:
    """A question in our own prompt and its response, as the plain template lays them out."""
    text = write_rationale(question, 3, "cot") if generator.random() < 0.8 else None
    rationale = Rationale(question, text, "procedural", 3, "cot")
    return prompt_text(question, "rationale" if text else "answer") + "\n" + "".join(response_parts(rationale))


def documents(role: str, count: int) -> list[str]:
    """About ``count`` documents over all kinds, shuffled; a kind with few different questions repeats some of them."""
    write = instructed if role == "teacher" else textbook
    generator = random.Random(role)
    texts = []
    for _ in range(math.ceil(count / (JOB * len(KINDS)))):
        questions = generate_split(
            ProceduralTask(kinds=KINDS), "pretrain", JOB * len(KINDS), generator.randrange(1 << 30)
        )
        texts += [write(question, generator) for question in questions]
    generator.shuffle(texts)
    return texts


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, digits apart, so that any text can be encoded and numbers are read place by place."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )


def pack(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    """Rows ``[num_rows, ROW]`` of whole documents, each closed by END; the rest of a row is PAD."""
    end, pad = tokenizer.convert_tokens_to_ids(END), tokenizer.convert_tokens_to_ids(PAD)
    rows, row = [], []
    for start in range(0, len(texts), 10_000):
        for encoding in tokenizer.backend_tokenizer.encode_batch(texts[start : start + 10_000]):
            ids = [*encoding.ids, end][:ROW]
            if len(row) + len(ids) > ROW:
                rows.append(row + [pad] * (ROW - len(row)))
                row = []
            row = row + ids
    rows.append(row + [pad] * (ROW - len(row)))
    return np.array(rows, dtype=np.int16)


def new_model(role: str, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        **SIZES[role],
    )
    return LlamaForCausalLM(config)


def new_optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding and the norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=LEARNING_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def pretrain(model: LlamaForCausalLM, rows: np.ndarray, name: str) -> list[dict[str, float]]:
    """One epoch of language modelling of all tokens but PAD, cosine schedule; returns the loss curve."""
    model.train()
    optimizers = new_optimizers(model)
    num_steps = len(rows) // BATCH_ROWS
    curve, started = [], time.time()
    for step in range(num_steps):
        rate = LEARNING_RATE * min(1.0, (step + 1) / 100) * 0.5 * (1.0 + math.cos(math.pi * step / num_steps))
        ids = torch.from_numpy(rows[step * BATCH_ROWS : (step + 1) * BATCH_ROWS].astype(np.int64))
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=model.config.pad_token_id
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == num_steps - 1:
            curve.append({"step": step, "loss": round(loss.item(), 4), "seconds": round(time.time() - started, 1)})
            print(name, f"of {num_steps}", curve[-1], flush=True)
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tokenizer", "student", "teacher"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.what == "tokenizer":
        train_tokenizer(documents("student", 20_000) + documents("teacher", 20_000)).save_pretrained(options.out)
        return
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.out)
    rows = pack(tokenizer, documents(options.what, NUM_DOCUMENTS[options.what]))
    model = new_model(options.what, tokenizer)
    curve = pretrain(model, rows, f"nano-{options.what}")
    folder = options.out / f"nano-{options.what}"
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "curve.json").write_text(json.dumps(curve))


if __name__ == "__main__":
    main()
