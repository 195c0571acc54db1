"""Processor seconds of `import cotdistill` and of `cotdistill --help`: the best of several processes, as one JSON line.

.venv/bin/python benchmarks/startup.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

COMMANDS = {"import": ["-c", "import cotdistill"], "help": ["-m", "cotdistill", "--help"]}
REPEATS = 5


def main() -> None:
    best = {name: min(processor_seconds(arguments) for _ in range(REPEATS)) for name, arguments in COMMANDS.items()}
    print(json.dumps({f"{name}_processor_seconds": round(seconds, 3) for name, seconds in best.items()}))


def processor_seconds(arguments: list[str]) -> float:
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{arguments} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
