"""Make the nano family from procedural text alone, on a CPU: a tokenizer, a teacher, a student.

    python recipes/nano/pretrain.py tokenizer --out OUT
    python recipes/nano/pretrain.py student --out OUT
    python recipes/nano/pretrain.py teacher --out OUT

The same command goes on where it was stopped. ``documents.py`` says what the two read.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from documents import Document, Role, documents
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END, PAD, START, THINK, THOUGHT = "<|im_end|>", "<|endoftext|>", "<|im_start|>", "<think>", "</think>"
TEMPLATE = Path(__file__).with_name("chat_template.jinja")
VOCABULARY = 2048
ROW = 640
"""Tokens of a training row, into which whole documents are packed; a longer document is left out, and counted."""

SIZES: dict[Role, dict[str, int]] = {
    "teacher": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 768},
    "student": {"hidden_size": 160, "num_hidden_layers": 3, "num_attention_heads": 5, "intermediate_size": 448},
}


NUM_DOCUMENTS: dict[Role, int] = {"teacher": 180_000, "student": 140_000}
LEARNING_RATE = 3e-3
NUM_FOR_TOKENIZER = 20_000
BATCH_ROWS = 8
CHECKPOINT_STEPS = 250


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, digits apart, so that any text can be encoded and numbers are read place by place."""
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=TEMPLATE.read_text())
    read = [document for role in NUM_DOCUMENTS for document in documents(role, NUM_FOR_TOKENIZER, bare)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2,
        special_tokens=[END, PAD, START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    marks = (END, START, THINK, THOUGHT)
    texts = [document.prompt + document.response for document in read]
    for mark in marks:
        texts = [text.replace(mark, "") for text in texts]
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in (THINK, THOUGHT)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens={"start_token": START},
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE.read_text(),
    )


def pack(tokenizer: PreTrainedTokenizerFast, read: list[Document], num_open: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Token ids, and beside each whether it is learned, both ``[num_rows, ROW]``: whole documents, each in the first
    open row with room for it.

    Prompts and padding are not learned. The fullest row is closed where ``num_open`` are open and none has room.
    """
    end, pad = tokenizer.convert_tokens_to_ids([END, PAD])
    backend = tokenizer.backend_tokenizer
    prompts = backend.encode_batch([document.prompt for document in read], add_special_tokens=False)
    responses = backend.encode_batch([document.response for document in read], add_special_tokens=False)
    rows: list[tuple[list[int], list[bool]]] = []
    opened: list[tuple[list[int], list[bool]]] = []
    too_long = 0
    for prompt, response in zip(prompts, responses, strict=True):
        ids = [*prompt.ids, *response.ids, end]
        if len(ids) > ROW:
            too_long += 1
            continue
        place = next((row for row in opened if len(row[0]) + len(ids) <= ROW), None)
        if place is None:
            if len(opened) == num_open:
                rows.append(opened.pop(max(range(num_open), key=lambda index: len(opened[index][0]))))
            opened.append(place := ([], []))
        place[0].extend(ids)
        place[1].extend([False] * len(prompt.ids) + [True] * (len(response.ids) + 1))
    rows += opened
    print(f"{len(read)} documents in {len(rows)} rows of {ROW} tokens; {too_long} longer ones left out", flush=True)
    ids = np.full((len(rows), ROW), pad, dtype=np.int16)
    learned = np.zeros((len(rows), ROW), dtype=bool)
    for index, (row_ids, row_learned) in enumerate(rows):
        ids[index, : len(row_ids)], learned[index, : len(row_learned)] = row_ids, row_learned
    return ids, learned


def new_model(role: Role, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    end, pad = tokenizer.convert_tokens_to_ids([END, PAD])
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=end,
            pad_token_id=pad,
            **SIZES[role],
        )
    )


def new_optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding and the norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=LEARNING_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def pretrain(
    model: LlamaForCausalLM, ids: np.ndarray, learned: np.ndarray, checkpoint: Path, dtype: torch.dtype
) -> list[dict[str, float]]:
    """One epoch over the rows, cosine schedule; returns the loss curve. Goes on from ``checkpoint`` where it is."""
    model.train()
    optimizers = new_optimizers(model)
    num_steps = len(ids) // BATCH_ROWS
    first, curve = restored(model, optimizers, checkpoint)
    before, started = (curve[-1]["seconds"] if curve else 0.0), time.time()
    for step in range(first, num_steps):
        if step % CHECKPOINT_STEPS == 0 and step > first:
            save_checkpoint(model, optimizers, checkpoint, step, curve)
        rate = LEARNING_RATE * min(1.0, (step + 1) / 100) * 0.5 * (1.0 + math.cos(math.pi * step / num_steps))
        rows = slice(step * BATCH_ROWS, (step + 1) * BATCH_ROWS)
        loss = token_loss(model, torch.from_numpy(ids[rows]).long(), torch.from_numpy(learned[rows]), dtype)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0 or step == num_steps - 1:
            seconds = round(before + time.time() - started, 1)
            curve.append({"step": step, "loss": round(loss.item(), 4), "seconds": seconds})
            print(f"of {num_steps}", curve[-1], flush=True)
    save_checkpoint(model, optimizers, checkpoint, num_steps, curve)
    return curve


def token_loss(model: LlamaForCausalLM, ids: Tensor, learned: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean cross-entropy of the learned tokens; ``ids`` and ``learned`` are ``[rows, ROW]``."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = model(input_ids=ids[:, :-1]).logits
    chosen = learned[:, 1:]
    return torch.nn.functional.cross_entropy(logits[chosen].float(), ids[:, 1:][chosen])


def save_checkpoint(
    model: LlamaForCausalLM,
    optimizers: list[torch.optim.Optimizer],
    folder: Path,
    step: int,
    curve: list[dict[str, float]],
) -> None:
    """All tensors and the step in one file that is put in place at once."""
    tensors = {f"model.{name}": value.detach() for name, value in model.named_parameters()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{key}": torch.as_tensor(v) for key, v in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial.safetensors"
    save_file(
        {name: value.contiguous().clone() for name, value in tensors.items()},
        partial,
        {"step": str(step), "curve": json.dumps(curve)},
    )
    partial.rename(folder / "state.safetensors")


def restored(
    model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], folder: Path
) -> tuple[int, list[dict[str, float]]]:
    """The step to go on with and the loss curve so far, model and optimizers set back to it."""
    from safetensors import safe_open

    file = folder / "state.safetensors"
    if not file.exists():
        return 0, []
    tensors = load_file(file)
    with safe_open(file, "pt") as opened:
        described = opened.metadata()
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(tensors[f"model.{name}"])
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            owner, *rest = name.split(".", 3)
            if owner == "optimizer" and int(rest[0]) == number:
                state.setdefault(int(rest[1]), {})[rest[2]] = value
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    return int(described["step"]), json.loads(described["curve"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tokenizer", "student", "teacher"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of matrix products; weights are float32"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "tokenizer":
        train_tokenizer().save_pretrained(options.out)
        return
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.out)
    model = new_model(options.what, tokenizer)
    ids, learned = pack(tokenizer, documents(options.what, NUM_DOCUMENTS[options.what], tokenizer))
    checkpoint, dtype = options.out / f"checkpoint-{options.what}", getattr(torch, options.dtype)
    curve = pretrain(model, ids, learned, checkpoint, dtype)
    folder = options.out / f"nano-{options.what}"
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "curve.json").write_text(json.dumps(curve))


if __name__ == "__main__":
    main()
