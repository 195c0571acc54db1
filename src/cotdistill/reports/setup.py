"""What an experiment was made with and on: what a reader must know to judge it, and to make it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.config import CellConfig
from cotdistill.config.base import Settings
from cotdistill.evaluation.stored import outcomes_of
from cotdistill.progress import duration
from cotdistill.reports.details import said
from cotdistill.reports.facts import settings_of, teacher_name
from cotdistill.storage.finished import FinishedStage

if TYPE_CHECKING:
    from cotdistill.experiments.result import CellResult, ExperimentResult

Row = tuple[str, str]


_TRAINING = ("epochs", "max_steps", "learning_rate", "schedule", "warmup_share", "batch_size", "optimizer")
_EVALUATION = ("max_new_tokens", "temperature", "few_shot")
"""Settings that are shown even where they are at their defaults."""
_SAID_APART = ("loss", "signal", "dtype")
_MOST = 4
"""Values of a setting, or of a fact, beyond which they are only counted."""


def setup_of(result: ExperimentResult, stages: Mapping[Path, FinishedStage]) -> list[Row]:
    """Heading and text of each fact, as far as it is known; ``stages`` are all that the done cells are made of."""
    configs = [arm.done[0].cell.config for arm in result.arms.values() if arm.done]
    rows = [
        ("students", _counted(_student(config) for config in configs)),
        ("teachers", _teachers([config for config in configs if config.training])),
        ("signals", _counted(_signals(config) for config in configs)),
        ("trained on", _training_data(result, stages)),
        ("tested on", _test_data(result.done)),
        ("losses", _counted(_losses(config) for config in configs)),
        ("training", _settings([config.training for config in configs if config.training], _TRAINING)),
        ("evaluation", _settings([config.evaluation for config in configs], _EVALUATION)),
        ("seeds", ", ".join(map(str, sorted({cell.cell.seed for cell in result.done if not cell.cell.untrained})))),
        *_made(list(stages.values())),
        ("settings in full", f"{result.path.parent.name}/{result.path.name}/experiment.yaml" if stages else ""),
    ]
    return [(heading, text) for heading, text in rows if text]


def _student(config: CellConfig) -> str:
    return config.student.model


_NOT_ASKED = {"answer_only": "gold answers alone", "human": "the rationales in the data"}


def _teachers(configs: Sequence[CellConfig]) -> str:
    """Who writes rationales, at which levels and in which formats."""
    found: dict[str, list[CellConfig]] = {}
    for config in configs:
        found.setdefault(teacher_name(config), []).append(config)
    told = []
    for name, each in found.items():
        levels, formats = (
            _listed((str(getattr(config.annotation, key)) for config in each), " | ", 8)
            for key in ("granularity", "format")
        )
        arms = f" in {len(each)} arm{'s' * (len(each) != 1)}" if len(found) > 1 else ""
        what = _NOT_ASKED.get(each[0].teacher.kind) or f"granularity {levels}, format {formats}"
        told.append(f"{name} ({what}){arms}")
    return "; ".join(told)


def _signals(config: CellConfig) -> str:
    signals = config.training.signals if config.training else ()
    return " + ".join(f"{signal.model.model} ({signal.kind})" for signal in signals)


def _losses(config: CellConfig) -> str | None:
    terms = config.training.loss if config.training else ()
    return " + ".join(term.kind if len(terms) == 1 else f"{term.weight:g} {term.kind}" for term in terms) or None


def _counted(values: Iterable[str | None]) -> str:
    """Different values with how many arms have each, if they are several."""
    counts = Counter(value for value in values if value)
    if len(counts) == 1:
        return next(iter(counts))
    told = [f"{value} in {count} arm{'s' * (count != 1)}" for value, count in counts.most_common(2 * _MOST)]
    return "; ".join(told + ([f"{len(counts) - len(told)} others"] if len(counts) > len(told) else []))


def _training_data(result: ExperimentResult, stages: Mapping[Path, FinishedStage]) -> str:
    """Questions by task, and how many of them were to train on."""
    found: dict[str, set[int]] = {}
    for arm in result.arms.values():
        for cell in arm.done[:1]:
            if "training" in cell.stages and (folder := cell.stages.get("annotation")) is not None:
                annotation, task = stages[folder], cell.cell.config.task
                name = getattr(task, "side_name", lambda _, task=task: getattr(task, "name", ""))("train")
                number = int(annotation.summary.get("rationales", 0)) + sum(annotation.dropped.values())
                found.setdefault(str(name or task.kind), set()).add(number)
    return "; ".join(f"{name}: {_range(numbers)} questions" for name, numbers in found.items())


def _test_data(cells: Sequence[CellResult]) -> str:
    """Questions by benchmark: those of the subtasks are added up."""
    items = {id(found): found for cell in cells for found in [outcomes_of(cell.predictions()).items]}
    numbers: dict[str, set[int]] = {}
    for each in items.values():
        for name, count in Counter(task.partition("/")[0] for task in each.tasks).items():
            numbers.setdefault(name, set()).add(count)
    return "; ".join(f"{name}: {_range(found)} questions" for name, found in sorted(numbers.items()))


def _range(numbers: Iterable[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _settings(sections: Sequence[Settings], shown: Sequence[str]) -> str:
    """Settings by name; one in which arms differ has each of its values."""
    flat = [{name: getattr(section, name) for name in shown} | settings_of(section) for section in sections]
    told = []
    for key in dict.fromkeys(key for one in flat for key in one if key.partition(".")[0] not in _SAID_APART):
        values = dict.fromkeys(said(one.get(key)) or "default" for one in flat)
        if set(values) != {"default"}:
            several = f" by arm: {' | '.join(values)}" if len(values) <= _MOST else f" by arm: {len(values)} values"
            told.append(f"{key.replace('_', ' ')}{several if len(values) > 1 else f' {next(iter(values))}'}")
    return ", ".join(told)


def _made(stages: Sequence[FinishedStage]) -> list[Row]:
    """What the stages' manifests say of types, machines, software, date and time."""
    manifests = [stage.manifest for stage in stages]
    dates = sorted(datetime.fromisoformat(date) for each in manifests if (date := each.get("finished")))
    return [
        ("computed in", _listed(dtype for stage in stages for dtype in _dtypes(stage))),
        ("on", _listed(_machine(each.get("machine", {})) for each in manifests)),
        ("software", _software([each.get("versions", {}) for each in manifests])),
        ("date", _dates(dates)),
        ("computing time", _times(stages)),
    ]


def _dtypes(stage: FinishedStage) -> Iterable[str]:
    """The types that models computed in, as they were resolved for the stage."""
    found = stage.identity.get("dtype"), stage.identity.get("training", {}).get("dtype")
    return (f"{each}".removeprefix("torch.") for each in found if each)


def _machine(machine: Mapping[str, Any]) -> str:
    if not machine:
        return ""
    threads = machine.get("threads")
    processor = f"{machine.get('processor')}, {threads} thread{'s' * (threads != 1)}"
    return f"{machine['gpu']} ({processor})" if "gpu" in machine else processor


def _software(versions: Sequence[Mapping[str, str]]) -> str:
    """Each name with its version, or with all that stages were made with."""
    names = dict.fromkeys(name for one in versions for name in one)
    return ", ".join(f"{name} {_listed((one.get(name, '') for one in versions), ' or ')}" for name in names)


def _listed(values: Iterable[str], between: str = "; ", most: int = _MOST) -> str:
    found = list(dict.fromkeys(filter(None, values)))
    return between.join(found[:most]) + (f"{between}{len(found) - most} others" if len(found) > most else "")


def _dates(dates: Sequence[datetime]) -> str:
    if not dates:
        return ""
    first, last = (f"{date:%Y-%m-%d %H:%M}" for date in (dates[0], dates[-1]))
    return f"{first} to {last if first[:10] != last[:10] else last[11:]} UTC" if first != last else f"{last} UTC"


def _times(stages: Sequence[FinishedStage]) -> str:
    seconds: Counter[str] = Counter()
    for stage in stages:
        seconds[stage.noun] += stage.seconds  # pyright: ignore[reportArgumentType]
    return ", ".join(f"{noun.replace('_', ' ')} {duration(spent)}" for noun, spent in seconds.items())
