"""A training as it is handed to each of the processes that train together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.config import ModelConfig, TrainingConfig
from cotdistill.records import Rationale
from cotdistill.storage.stored import StoredRecords
from cotdistill.training.data.examples import Example
from cotdistill.training.data.store import Tokens, read_tokens
from cotdistill.training.held_out import Checks


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training, as each of several processes gets it; ``folder`` is where metrics and checkpoints go.

    ``tokens`` is the folder of the examples, ``checks`` what of them is held out, ``drawn`` the folder of the student's
    samples, where they are drawn once. Only where tokenizers are aligned are there ``rationales``: those to train on,
    then those of a validation file. What is in a file is handed over as its path.
    """

    student: ModelConfig
    tokens: Path
    rationales: Sequence[Sequence[Rationale]]
    config: TrainingConfig
    seed: int
    folder: Path
    runs: Path
    checks: Checks | None = None
    drawn: Path | None = None

    def parted(self, tokens: Tokens) -> tuple[Sequence[Example], Sequence[Example]]:
        """The examples to train on, and those that are held out."""
        if self.checks is None:
            return tokens.examples, ()
        if self.checks.tokens is not None:
            return tokens.examples, read_tokens(self.checks.tokens).examples
        return tokens.examples.parted(self.checks.ids) if self.checks.ids else (tokens.examples, ())

    def to_json(self) -> str:
        return json.dumps(
            {
                "student": self.student.model_dump(mode="json"),
                "tokens": str(self.tokens.resolve()),
                "rationales": [_told(part) for part in self.rationales],
                "config": self.config.model_dump(mode="json"),
                "seed": self.seed,
                "folder": str(self.folder.resolve()),
                "runs": str(self.runs.resolve()),
                "checks": self.checks and self.checks.to_row(),
                "drawn": self.drawn and str(self.drawn.resolve()),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> TrainingJob:
        row = json.loads(text)
        return cls(
            ModelConfig.model_validate(row["student"]),
            Path(row["tokens"]),
            [_read(part) for part in row["rationales"]],
            TrainingConfig.model_validate(row["config"]),
            row["seed"],
            Path(row["folder"]),
            Path(row["runs"]),
            Checks.from_row(row["checks"]) if row["checks"] else None,
            Path(row["drawn"]) if row["drawn"] else None,
        )


def _told(rationales: Sequence[Rationale]) -> str | list[dict[str, Any]]:
    """Where they lie or, of those in memory, their rows."""
    if isinstance(rationales, StoredRecords):
        return str(rationales.path.resolve())
    return [rationale.to_row() for rationale in rationales]


def _read(told: str | list[dict[str, Any]]) -> Sequence[Rationale]:
    if isinstance(told, str):
        return StoredRecords(Path(told), Rationale.from_row)
    return [Rationale.from_row(row) for row in told]
