"""One part of ``gpu.py`` in a process of its own, so that nothing that goes wrong in it ends the others.

What it is about to measure stands on its standard output, so that whoever started it knows what it died of. Units that
have a line in the file already are left out: a part can be started again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from gpu_decode import Decoder
from gpu_device import (
    forget_peak,
    free_memory,
    is_usable,
    matrix_rate,
    peak_memory,
    seconds_of,
)
from gpu_plan import REAL, TINY, Part, Work, parts
from gpu_records import NotHere, Records
from gpu_step import Bench, make_step

DEVICE_IS_LOST = 3
"""The exit status after an error that no kernel runs after; whoever started the part starts it again."""

Action = Callable[[], tuple[float, Any]]
"""Takes one measurement: seconds, and what was found."""


@dataclass
class Side:
    """A side's measurements so far, without the one that only warms up."""

    action: Action
    seconds: list[float] = field(default_factory=list)
    found: Any = None
    held: float | None = None
    peak: float | None = None

    def measure(self, device: torch.device, *, counts: bool) -> Side:
        held = forget_peak(device)
        seconds, self.found = self.action()
        if counts:
            self.seconds.append(seconds)
            self.held, self.peak = held, peak_memory(device)
        return self


@dataclass(frozen=True)
class Turns:
    """Measures the sides of cases in turns and writes down what becomes of each."""

    records: Records
    part: str
    device: torch.device
    repeats: int

    def run(
        self, case: str, sides: Iterable[str], make: Callable[[str], AbstractContextManager[Action]]
    ) -> dict[str, Side]:
        """The sides that were measured, at least once and at most ``repeats`` times."""
        ready: dict[str, Side] = {}
        with ExitStack() as stack:
            for name in sides:
                action = self._attempt(case, name, lambda name=name: stack.enter_context(make(name)))
                if action is not None:
                    ready[name] = Side(action)
            for repeat in range(self.repeats + 1):
                for name, side in list(ready.items()):
                    if self.records.time_is_up:
                        return self._measured(case, ready)
                    done = self._attempt(case, name, lambda s=side, r=repeat: s.measure(self.device, counts=r > 0))
                    if done is None:
                        del ready[name]
            return self._measured(case, ready)

    def _attempt(self, case: str, side: str, action: Callable[[], Any]) -> Any:
        """What ``action`` returns, or None where it could not be done, which is then written down."""
        print(json.dumps([case, side]), flush=True)
        try:
            return action()
        except (NotHere, ImportError) as error:
            self.records.result(self.part, case, side, "skipped", reason=f"{type(error).__name__}: {error}"[:300])
        except Exception as error:  # whatever a peer raises, the others are measured
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            self.records.result(self.part, case, side, "failed", reason=reason)
        free_memory(self.device)
        if not is_usable(self.device):
            sys.stdout.flush()
            os._exit(DEVICE_IS_LOST)
        return None

    def _measured(self, case: str, ready: dict[str, Side]) -> dict[str, Side]:
        for name, side in ready.items():
            if not side.seconds:
                self.records.result(self.part, case, name, "skipped", reason="the time was up before it was measured")
        return {name: side for name, side in ready.items() if side.seconds}

    def done(self, case: str, name: str, side: Side, num_tokens: int, **more: Any) -> None:
        median = statistics.median(side.seconds)
        self.records.result(
            self.part,
            case,
            name,
            "done",
            seconds=median,
            repeats=[round(seconds, 6) for seconds in side.seconds],
            tokens=num_tokens,
            tokens_per_second=num_tokens / median,
            held_memory_mb=side.held,
            peak_memory_mb=side.peak,
            **more,
        )


def main() -> None:
    options = _options()
    device, work = torch.device(options.device), TINY if options.tiny else REAL
    part = next(part for part in parts(tiny=options.tiny) if part.name == options.part)
    records = Records(options.out, options.run, options.deadline)
    rate = matrix_rate(device, work.matrix_size)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    records.write("matrix_rate", part=part.name, device=name, flops=rate, size=work.matrix_size)
    turns = Turns(records, part.name, device, work.repeats)
    if part.kind == "decode":
        decode(part, turns, Decoder(part.shape, work, device))
        return
    with tempfile.TemporaryDirectory() as folder:
        step(part, turns, Bench(part.shape, work, device, Path(folder)), rate)


def step(part: Part, turns: Turns, bench: Bench, rate: float) -> None:
    for case in part.cases:
        examples = bench.examples(int(case.split()[0]))
        num_tokens = sum(map(len, examples))
        sides = _left(part, case, turns.records)
        for name, side in turns.run(case, sides, lambda name, own=examples: make_step(bench, name, own)).items():
            operations = bench.useful_operations(name, examples)
            share = operations / statistics.median(side.seconds) / rate
            turns.done(case, name, side, num_tokens, share_of_matrix_rate=share, **side.found)
        free_memory(bench.device)


def decode(part: Part, turns: Turns, decoder: Decoder) -> None:
    """Tokens are those that are written. How many both sides agree on is no measure of either: weights are random."""
    for case, size in zip(part.cases, _batch_sizes(decoder.work), strict=True):
        prompts = decoder.prompts(size, few_shot=case.endswith("few-shot"))

        def make(name: str, prompts: Any = prompts) -> AbstractContextManager[Action]:
            action = decoder.side(name, prompts)
            return nullcontext(lambda: seconds_of(action, decoder.device))

        measured = turns.run(case, _left(part, case, turns.records), make)
        written = [side.found for side in measured.values()]
        for name, side in measured.items():
            agreeing = _agreement(*written) if len(written) == 2 else None
            turns.done(case, name, side, size * decoder.work.new_tokens, agreeing=agreeing)


def _batch_sizes(work: Work) -> tuple[int, ...]:
    return (*work.batch_sizes, work.batch_sizes[-1])


def _agreement(ours: Sequence[list[int]], theirs: Sequence[list[int]]) -> float:
    same = [a == b for own, other in zip(ours, theirs, strict=True) for a, b in zip(own, other, strict=True)]
    return sum(same) / len(same)


def _left(part: Part, case: str, records: Records) -> list[str]:
    done = records.results(part.name)
    return [side for side in part.sides if (case, side) not in done]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--deadline", type=float, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
