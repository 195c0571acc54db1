"""Supervised fine-tuning on rationales: our trainer beside TRL's SFTTrainer.

    make bench-env && .venv-bench/bin/python benchmarks/sft_step.py --against trl --json

``kd_step.py`` says what is the same on both sides and what is counted.
"""

from __future__ import annotations

from common.interleave import arguments, compare

if __name__ == "__main__":
    compare(arguments(__doc__ or "").parse_args(), {"sft": "trl_sft"})
