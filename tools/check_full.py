"""Run parts of the checks one after the other, and add a line on how each went to docs/checks.md.

tools/check_full.py PART...: each part is a target of make, which has its own limit of time. All parts run, also after
one that failed; the exit status is then 1. A part's last line of output says what it did: the line repeats it.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "checks.md"


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def commit() -> str:
    """The checkout's commit, and whether files differ from it (those that nothing tracks count too)."""
    return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain") else "")


def processor() -> str:
    """The processor's name and how many of its cores there are."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()


def check(part: str) -> tuple[bool, str]:
    """Run ``part``, showing what it writes; whether it passed, and what the line says of it."""
    print(f"==> make {part}", flush=True)
    started, last = time.monotonic(), ""
    with subprocess.Popen(
        ["make", "--no-print-directory", part],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, errors="replace",
    ) as running:  # fmt: skip
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            if line.strip() and not line.startswith("==>"):
                last = line.strip().strip("=").strip()
    seconds = time.monotonic() - started
    result = "passed" if running.returncode == 0 else "FAILED"
    return running.returncode == 0, f"{part} {result} in {seconds:.0f} s" + (f" ({last})" if last else "")


def main() -> None:
    at = commit()  # before the parts, of which one may take an hour
    outcomes = [check(part) for part in sys.argv[1:]]
    line = f"- {date.today()}, {at}, {processor()}: {'; '.join(text for _, text in outcomes)}.\n"
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(line)
    print(line, end="")
    sys.exit(not all(passed for passed, _ in outcomes))


if __name__ == "__main__":
    main()
