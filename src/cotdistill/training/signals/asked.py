"""A teacher behind a server, asked while training about what nobody knew before: the student's own samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from transformers import PreTrainedModel

from cotdistill.training.data.batches import Batch
from cotdistill.training.data.examples import Example
from cotdistill.training.signals.live import TopKRows
from cotdistill.training.signals.served import ServerScores
from cotdistill.training.signals.stored import SignalWriter, StoredSignal


class ServedSignal:
    """Rows of examples that are ``known`` beforehand, and of samples, from ``scores``, whose ``writer`` keeps them.

    They stay beside the training, so that what is trained again, after a kill or without its student, asks nothing
    twice.
    """

    def __init__(self, scores: ServerScores, writer: SignalWriter, known: StoredSignal | None, device: torch.device):
        self.models: tuple[PreTrainedModel, ...] = ()
        self.num_outcomes: int | None = None
        self._scores, self._writer, self._known, self._device = scores, writer, known, device

    def admit(self, samples: Mapping[int, Example]) -> tuple[Mapping[int, Example], Collection[str]]:
        """Ask about all samples of a step at once."""
        for _ in self._scores.fetch([sample for sample in samples.values() if not self._knows(sample)]):
            pass
        return samples, ()

    def _knows(self, example: Example) -> bool:
        return self._known is not None and example.key in self._known.places

    def rows(self, batch: Batch) -> TopKRows:
        parts = [
            self._known.rows_of(example.key)
            if self._known is not None and self._knows(example)
            else self._writer.read(example.key)
            for example in batch.examples
        ]
        tokens, values = (
            torch.cat([part[name].to(self._device) for part in parts]) for name in ("tokens", "log_probabilities")
        )
        return TopKRows(tokens.long(), values)
