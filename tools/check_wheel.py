"""Build the source archive and the wheel, install the wheel outside the checkout, and run it in an empty folder.

The build has an environment of its own. The wheel's environment is new too and has cotdistill from nowhere else, but
reads the libraries it needs (torch and the like, gigabytes) from the environment that runs this script.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN = """
task: own.jsonl
student: builtin:nano-student
training: {epochs: 1}
evaluation: {max_new_tokens: 16}
arms: {base: {training: null}, people: {teacher: human}}
comparisons: [{a: people, b: base}]
"""


def run(*words: str | Path, folder: Path) -> str:
    """What the command wrote; the end of this script where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}{' '.join(map(str, words))}: exit status {done.returncode}")
    return done.stdout


def built(folder: Path) -> Path:
    """The wheel, made from the source archive."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, folder=folder)
    assert len(list(folder.glob("*.tar.gz"))) == 1
    (wheel,) = folder.glob("*.whl")
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """The bin folder of a new environment with the wheel."""
    venv.create(folder, symlinks=True, with_pip=False)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    # A folder named in a .pth file is searched, but .pth files in it are not read: our editable install is not found.
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--disable-pip-version-check")
    run(*pip, "install", "--no-index", "--no-deps", "--ignore-installed", wheel, folder=folder)
    return folder / "bin"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dist").mkdir()
        wheel = built(folder / "dist")
        programs = installed(wheel, folder / "environment")
        empty = folder / "empty"
        empty.mkdir()
        found = run(programs / "python", "-c", "import cotdistill; print(cotdistill.__file__)", folder=empty)
        if not found.startswith(str(folder / "environment")):
            sys.exit(f"cotdistill was imported from {found.strip()}, not from the wheel")
        command = programs / "cotdistill"
        run(command, "--help", folder=empty)
        rows = [
            {"question": f"What is {n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."} for n in range(40)
        ]
        (empty / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (empty / "run.yaml").write_text(RUN, encoding="utf-8")
        run(command, "doctor", folder=empty)
        run(command, "recipe", "copy", "granularity", folder=empty)
        run(command, "plan", "granularity/nano.yaml", folder=empty)
        run(command, "run", "run.yaml", folder=empty)
        if not (empty / "runs" / "empty" / "report.html").is_file():
            sys.exit(f"the run wrote no report.html; it wrote {sorted(map(str, (empty / 'runs').glob('*/*')))}")
        print(f"{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB, installed and run in an empty folder")


if __name__ == "__main__":
    main()
