"""One pass of the teacher over the rows, in a process of its own: ``capture_side.py STORE FOLDER DTYPE``.

``loop`` is what one would write by hand: the whole model on left-over padding and prompts too, logits of all positions,
and the k likeliest tokens of those that carry loss, saved in one file.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from inputs import BATCH_SIZE, capture_signal, read_examples

from cotdistill.config import CachedTeacher, ModelConfig
from cotdistill.models.load.loading import load_model
from cotdistill.training.data.batches import collate
from cotdistill.training.data.examples import Example
from cotdistill.training.data.store import total_loss_tokens

K = CachedTeacher(model=ModelConfig(model="any")).k


def main(store: str, folder: Path, dtype: str) -> None:
    examples = read_examples(folder)
    with tempfile.TemporaryDirectory() as work:
        started = time.perf_counter()
        if store == "loop":
            _loop(folder, examples, dtype, Path(work))
        else:
            capture_signal(folder, Path(work), dtype, store=store)
        seconds = time.perf_counter() - started
        num_bytes = sum(file.stat().st_size for file in Path(work).rglob("*") if file.is_file())
    row = {
        "seconds": seconds,
        "rows_per_second": total_loss_tokens(examples) / seconds,
        "tokens_per_second": sum(map(len, examples)) / seconds,
        "disk_mb": num_bytes / 1e6,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }
    print(json.dumps(row))


@torch.no_grad()
def _loop(folder: Path, examples: list[Example], dtype: str, work: Path) -> None:
    model = load_model(ModelConfig(model=str(folder / "teacher")), dtype=getattr(torch, dtype), device="cpu")
    kept = []
    for first in range(0, len(examples), BATCH_SIZE):
        batch = collate(examples[first : first + BATCH_SIZE])
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        best = logits.float().log_softmax(-1).flatten(0, 1)[batch.positions].topk(K)
        kept.append((best.indices.int(), best.values))
    torch.save(kept, work / "signal.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
