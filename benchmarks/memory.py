"""What the fused loss needs in memory as vocabulary and tokens grow, with the same hidden size.

    .venv/bin/python benchmarks/memory.py --json

Each measurement is a process of its own: student's and teacher's head and hidden states are made, then one loss by
cross-entropy and forward KL with its gradients. Counted is what the process's peak grew by in the loss, without the
gradient of the student's head, which any training holds. ``growth_vocabulary`` is that of the largest vocabulary over
the smallest's; ``megabytes_a_thousand_tokens`` is the slope between most and fewest tokens.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[49_152, 151_936])
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--json", action="store_true", help="the one line of JSON alone")
    parser.add_argument("--measure", type=int, nargs=2, metavar=("VOCABULARY", "TOKENS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(measure(*options.measure, options.hidden))
        return
    found: dict[int, dict[int, float]] = {}
    for vocabulary in options.vocabularies:
        for tokens in options.tokens:
            command = [sys.executable, __file__, "--hidden", str(options.hidden), "--measure"]
            done = subprocess.run([*command, str(vocabulary), str(tokens)], capture_output=True, text=True, check=True)
            found.setdefault(vocabulary, {})[tokens] = round(float(done.stdout), 1)
            if not options.json:
                print(f"{vocabulary} outcomes, {tokens} tokens: {done.stdout.strip()} MB", file=sys.stderr)
    few, many = min(options.tokens), max(options.tokens)
    small, large = min(options.vocabularies), max(options.vocabularies)
    result = {
        "hidden": options.hidden,
        "megabytes": found,
        "growth_vocabulary": {n: round(found[large][n] / found[small][n] - 1, 3) for n in options.tokens},
        "megabytes_a_thousand_tokens": {
            v: round(1000 * (by_tokens[many] - by_tokens[few]) / max(many - few, 1), 2)
            for v, by_tokens in found.items()
        },
    }
    print(json.dumps(result))


def measure(vocabulary: int, tokens: int, hidden: int) -> float:
    """Megabytes."""
    import torch

    from cotdistill.config import CrossEntropy, ForwardKL
    from cotdistill.models.forward.heads import Head
    from cotdistill.training.losses.fused import LossInputs, chunk_size, fused_loss
    from cotdistill.training.signals.live import HiddenRows

    student, teacher = (torch.nn.Linear(hidden, vocabulary, bias=False) for _ in range(2))
    teacher.requires_grad_(False)

    def loss(num_tokens: int) -> None:
        rows = torch.randn(num_tokens, hidden).requires_grad_()
        targets = torch.randint(vocabulary, (num_tokens,))
        signal = HiddenRows(torch.randn(num_tokens, hidden), Head(teacher).logits)
        value, _ = fused_loss(
            rows,
            Head(student),
            [student.weight],
            LossInputs(targets, torch.ones(2, num_tokens), signal),
            (CrossEntropy(), ForwardKL()),
            num_loss_tokens=num_tokens,
            tokens_per_chunk=chunk_size(vocabulary),
        )
        value.backward()

    loss(1)  # whatever the first use of an operation loads; leaves the gradient of the head in place
    student.weight.grad = None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loss(tokens)
    assert student.weight.grad is not None
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (after - before) / 1000


if __name__ == "__main__":
    main()
