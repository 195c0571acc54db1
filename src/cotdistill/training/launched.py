"""A command under ``accelerate launch`` or ``torchrun``: the first rank runs it, the others help it to train."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch.distributed as dist

from cotdistill.errors import line_of
from cotdistill.training.distributed import Ranks, join
from cotdistill.training.job import TrainingJob
from cotdistill.training.stage import fit

DONE = "done"


def run_on_ranks(command: Callable[[Ranks], None]) -> None:
    """Run ``command`` on the first rank, with all ranks; the others join in whenever it trains, and end with it.

    If a rank fails, its exit status makes the launcher end all.
    """
    ranks = join()
    if not ranks.is_first:
        _help(ranks)
    else:
        try:
            command(ranks)
        except SystemExit as end:
            if end.code:
                raise
        ranks.broadcast(DONE)
    ranks.wait()
    dist.destroy_process_group()


def _help(ranks: Ranks) -> None:
    try:
        while (job := ranks.broadcast(None)) != DONE:
            fit(TrainingJob.from_json(job), ranks)
    except Exception as error:
        line = line_of(error)
        if line is None:
            raise
        print(f"cotdistill: rank {ranks.rank}: {line}", file=sys.stderr)
        sys.exit(2)
