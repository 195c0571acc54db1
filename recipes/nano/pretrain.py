"""Make the nano family: a tokenizer, ``nano-teacher`` and ``nano-student``, from procedural text alone.

    python recipes/nano/pretrain.py --out OUT [--device cuda] [--scale 1.0]

Both models first read a corpus of questions, worked solutions and fragments of them in a plain "textbook" layout, as a
language model would find on the web. The student stops there: it is a base model. The teacher goes on with our prompts,
mostly answered with granularity-3 rationales. Every text comes from the split ``pretrain``, which shares no question
with ``train`` or ``test``, whatever the seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cotdistill.config import PROCEDURAL_KINDS, ProceduralTask
from cotdistill.records import Question, Rationale
from cotdistill.tasks.procedural import generate_split, write_rationale
from cotdistill.tasks.prompts import prompt_text, response_parts

END, PAD = "<|end|>", "<|pad|>"
VOCABULARY = 1024
ROW = 512
"""Tokens of a training row, into which whole documents are packed."""

TEACHER = {"hidden_size": 224, "num_hidden_layers": 4, "num_attention_heads": 7, "intermediate_size": 640}
STUDENT = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 320}

FORMATS = ("cot", "cot", "cot", "least_to_most", "rar", "symbolic")


def textbook(question: Question, generator: random.Random) -> str:
    """A question alone, a fragment of a solution, or a question with its solution: never in our prompts' words."""
    solution = write_rationale(question, generator.randint(1, 6), generator.choice(FORMATS))
    options = "".join(f" {chr(65 + i)}: {choice}." for i, choice in enumerate(question.choices or ()))
    kind = generator.random()
    if kind < 0.15:
        return f"Problem. {question.question}{options}"
    if kind < 0.5:
        return f"Solution. {solution}"
    return f"Problem. {question.question}{options}\nSolution. {solution}"


def instructed(question: Question, generator: random.Random) -> str:
    """A question in our own prompt and its response: 60 % granularity 3, 20 % other rationales, 20 % the answer alone."""
    kind = generator.random()
    level, style = (3, "cot") if kind < 0.6 else (generator.randint(1, 6), generator.choice(FORMATS))
    text = None if kind >= 0.8 else write_rationale(question, level, style)
    rationale = Rationale(question, text, "procedural", level, style if text else "answer_only")
    return prompt_text(question, "rationale" if text else "answer") + "\n" + "".join(response_parts(rationale))


def documents(job: tuple[str, str, int, int, int]) -> list[str]:
    """One kind's documents: (kind, layout, difficulty, count, seed)."""
    kind, layout, difficulty, count, seed = job
    task = ProceduralTask(kinds=(kind,), difficulty=difficulty)
    generator = random.Random(f"{kind}/{layout}/{difficulty}/{seed}")
    write = textbook if layout == "textbook" else instructed
    return [write(question, generator) for question in generate_split(task, "pretrain", count, seed)]


def make_documents(layout: str, per_kind: int, *, seed: int, processes: int) -> list[str]:
    """``per_kind`` documents of each kind, three quarters of them of difficulty 2, the rest of 1 and 3; shuffled."""
    shares = {1: 0.125, 2: 0.75, 3: 0.125}
    jobs = [
        (kind, layout, difficulty, max(1, int(per_kind * share)), seed)
        for kind in PROCEDURAL_KINDS
        for difficulty, share in shares.items()
    ]
    with multiprocessing.Pool(processes) as pool:
        texts = [text for part in pool.imap(documents, jobs) for text in part]
    random.Random(seed).shuffle(texts)
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
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False)


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


def new_model(sizes: dict[str, int], tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        **sizes,
    )
    return LlamaForCausalLM(config)


def shuffled_rows(rows: np.ndarray, batch_rows: int, num_steps: int) -> Iterator[torch.Tensor]:
    generator = np.random.default_rng(0)
    order = generator.permutation(len(rows))
    start = 0
    for _ in range(num_steps):
        if start + batch_rows > len(order):
            order, start = generator.permutation(len(rows)), 0
        yield torch.from_numpy(rows[order[start : start + batch_rows]].astype(np.int64))
        start += batch_rows


def pretrain(
    model: LlamaForCausalLM, rows: np.ndarray, *, num_steps: int, batch_rows: int, peak: float, device: str, name: str
) -> list[dict[str, float]]:
    """Language modelling of all tokens but PAD, cosine schedule with a short warm-up; returns the loss curve."""
    model.to(device).train()
    pad = model.config.pad_token_id
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    forward = torch.compile(model) if device == "cuda" else model
    curve, started = [], time.time()
    for step, ids in enumerate(shuffled_rows(rows, batch_rows, num_steps)):
        rate = peak * min(1.0, (step + 1) / 200) * 0.5 * (1.0 + math.cos(math.pi * step / num_steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids = ids.to(device, non_blocking=True)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            logits = forward(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), ignore_index=pad)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 250 == 0 or step == num_steps - 1:
            curve.append({"step": step, "loss": round(loss.item(), 4), "seconds": round(time.time() - started, 1)})
            print(name, curve[-1], flush=True)
    return curve


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.to("cpu", torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the documents and steps of the real recipe")
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--student-steps", type=int, default=3000)
    parser.add_argument("--teacher-steps", type=int, default=12000)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = True

    started = time.time()
    read = make_documents("textbook", int(40_000 * options.scale), seed=1, processes=options.processes)
    taught = make_documents("instructed", int(80_000 * options.scale), seed=2, processes=options.processes)
    tokenizer = train_tokenizer(read[:50_000] + taught[:50_000])
    print("documents", len(read), len(taught), round(time.time() - started), "s", flush=True)
    textbook_rows, mixed_rows = pack(tokenizer, read), pack(tokenizer, read[: len(read) // 2] + taught)
    print("rows", textbook_rows.shape, mixed_rows.shape, round(time.time() - started), "s", flush=True)

    curves = {}
    for name, sizes, rows, steps in (
        ("nano-student", STUDENT, textbook_rows, options.student_steps),
        ("nano-teacher", TEACHER, mixed_rows, options.teacher_steps),
    ):
        model = new_model(sizes, tokenizer)
        curves[name] = pretrain(
            model,
            rows,
            num_steps=max(1, int(steps * options.scale)),
            batch_rows=64,
            peak=3e-3,
            device=options.device,
            name=name,
        )
        save(model, tokenizer, options.out / name)
    (options.out / "curves.json").write_text(json.dumps(curves))


if __name__ == "__main__":
    main()
