"""Distillation by forward KL: our trainer, with a captured signal and with a live teacher, beside TRL's GKDTrainer.

    make bench-env && .venv-bench/bin/python benchmarks/kd_step.py --against trl --json

The same weights, rows, batches, learning rate and loss (the mean over a step's response tokens) on both sides, each
repeat of each side in a process of its own. Tokens are those of prompt and response, counted once, without padding;
seconds are the whole call that trains one epoch. Needs the data folder ($COTDISTILL_DATA) and the extra smollm2.
"""

from __future__ import annotations

from common.interleave import arguments, compare

MODES = {"captured": "kd_captured", "live": "kd_live"}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="of our side's teacher signal")
    options = parser.parse_args()
    compare(options, {MODES[mode]: "trl_gkd" for mode in options.modes})


if __name__ == "__main__":
    main()
