"""All that a GPU is needed for, in the minutes that one is at hand: tests, training steps beside peers, decoding.

    bash benchmarks/gpu_setup.sh pack               # where there is a network: wheels for the GPU machine, in .whl/
    bash benchmarks/gpu_setup.sh run out.jsonl      # on it: installs them and runs this script
    python benchmarks/gpu.py --out out.jsonl --minutes 9
    python benchmarks/gpu.py --out out.jsonl --device cpu --tiny    # the same code to its end, on a CPU

In order of worth: the tests marked ``gpu``; a training step beside Liger's fused heads, TRL's SFTTrainer, GKDTrainer
and DistillationTrainer, at the shapes of Qwen2.5-1.5B and 0.5B with random weights; greedy decoding beside
transformers'; compiled layers. Sides take turns, and each line holds a median. ``share_of_matrix_rate`` is that of
bfloat16 products measured beforehand.

The file gets one JSON line a result, as soon as it is there: first the machine and the versions, then results with the
status ``done``, ``skipped`` or ``failed`` and a reason. Each part is a process of its own that is ended when its share
of the time is over.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from common.gpu_plan import TESTS_END, Part, parts
from common.gpu_records import Records, table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGES = ("torch", "transformers", "triton", "liger-kernel", "trl", "accelerate", "peft", "datasets", "numpy")
GRACE = 5.0
"""Seconds that a part gets to end by itself."""


def main() -> None:
    options = _options()
    started = time.time()
    end = started + 60 * options.minutes
    run = datetime.fromtimestamp(started, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    records = Records(options.out.resolve(), run)
    records.write("machine", **machine(options))
    run_tests(records, options, started + TESTS_END * (end - started))
    for part in parts(tiny=options.tiny):
        run_part(part, replace(records, deadline=started + part.end * (end - started)), options)
    records.write("end", seconds=round(time.time() - started, 1))
    print(table(records.read()), file=sys.stderr)


def machine(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": _device_name() if options.device == "cuda" else "CPU",
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "minutes": options.minutes,
        "tiny": options.tiny,
    }


def run_tests(records: Records, options: argparse.Namespace, deadline: float) -> None:
    """One line for all tests; their whole output lies beside the file."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu", "-vv", "-rs", "--tb=short", "--color=no"]
    left_out = ["compiled"] if options.tiny else []  # what the last part does too; twice is half a minute of a core
    command += [word for name in left_out for word in ("-k", f"not {name}")]
    log = records.path.with_suffix(".tests.log")
    with log.open("w", encoding="utf-8") as file:
        status, reason = _wait(command, deadline, stdout=file, stderr=subprocess.STDOUT)
    output = log.read_text(encoding="utf-8", errors="replace")
    results = re.findall(r"^(tests/\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)", output, flags=re.MULTILINE)
    names: dict[str, list[str]] = {}
    for name, result in results:
        names.setdefault(result, []).append(name)
    if status == 0 or (status == 1 and results):
        outcome = {"status": "done"}
    else:
        outcome = {"status": "failed", "reason": reason or f"pytest ended with {status}: {_tail(output)}"}
    records.write(
        "tests",
        **outcome,
        left_out=left_out,
        passed=len(names.get("PASSED", [])),
        failed=names.get("FAILED", []) + names.get("ERROR", []),
        skipped=re.findall(r"^SKIPPED \[\d+\] (.+)$", output, flags=re.MULTILINE),
    )


def run_part(part: Part, records: Records, options: argparse.Namespace) -> None:
    """Until each of the part's units has a line: the one that a process died of is failed, and the others go on."""
    command = [sys.executable, str(HERE / "common" / "gpu_part.py"), "--part", part.name, "--out", str(records.path)]
    command += ["--run", records.run, "--deadline", str(records.deadline), "--device", options.device]
    command += ["--tiny"] if options.tiny else []
    while left := _left(part, records):
        if records.time_is_up:
            _skip(part, records, left, "the time was up")
            return
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            status, reason = _wait(command, records.deadline + GRACE, stdout=out, stderr=err)
            texts = [_read(file) for file in (out, err)]
        if reason:
            _skip(part, records, _left(part, records), reason)
            return
        if status == 0:
            continue
        begun = next((json.loads(line) for line in reversed(texts[0].splitlines()) if line.startswith("[")), None)
        cause = f"the process ended with {status}: {_tail(texts[1])}"
        if begun is None or tuple(begun) not in _left(part, records):
            if _left(part, records) == left:  # not one unit further: it would end so again
                _fail(part, records, left, cause)
            continue
        _fail(part, records, [(begun[0], begun[1])], cause)


def _left(part: Part, records: Records) -> list[tuple[str, str]]:
    done = records.results(part.name)
    return [unit for unit in part.units if unit not in done]


def _skip(part: Part, records: Records, units: Sequence[tuple[str, str]], reason: str) -> None:
    for case, side in units:
        records.result(part.name, case, side, "skipped", reason=reason)


def _fail(part: Part, records: Records, units: Sequence[tuple[str, str]], reason: str) -> None:
    for case, side in units:
        records.result(part.name, case, side, "failed", reason=reason)


def _wait(command: Sequence[str], deadline: float, *, stdout: Any, stderr: Any) -> tuple[int, str | None]:
    """The exit status of a command, and why it was ended where it did not end in time."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=stdout, stderr=stderr, check=False, timeout=max(0.1, deadline - time.time())
        )
    except subprocess.TimeoutExpired:
        return -9, "the time was up"
    return done.returncode, None


def _read(file: Any) -> str:
    file.seek(0)
    return file.read()


def _tail(text: str) -> str:
    return " ".join(text.split())[-400:]


def _device_name() -> str:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown: nvidia-smi did not say"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Of this checkout, or what ``gpu_setup.sh pack`` wrote where the files travelled without git."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    packed = ROOT / ".whl" / "COMMIT"
    if done.returncode == 0:
        return done.stdout.strip()
    return packed.read_text(encoding="utf-8").strip() if packed.is_file() else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the file that results are appended to")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which it ends with what it has")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="toy shapes, to see that it runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
