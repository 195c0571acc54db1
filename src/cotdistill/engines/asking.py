"""Asking a model: each completion is saved before anything else is done with it, and is asked for only once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from cotdistill.engines.costs import spent
from cotdistill.engines.engine import (
    BROKEN_OFF,
    EMPTY,
    REFUSED,
    TRUNCATED_REASONING,
    Completion,
    Engine,
    Failed,
    Request,
)
from cotdistill.errors import DataError
from cotdistill.progress import Progress
from cotdistill.records import count_by
from cotdistill.storage.jsonl import RowAppender

OUT_OF_BUDGET = "out_of_budget"
PROMPT_TOO_LONG = "prompt_too_long"

_DRAW_AGAIN = "set teacher.max_draws with a temperature, or raise teacher.max_failed_share"
"""Why a paid completion is not simply asked for again."""

_REMEDIES = {
    OUT_OF_BUDGET: "raise the budget",
    TRUNCATED_REASONING: "raise max_new_tokens",
    PROMPT_TOO_LONG: "lower max_new_tokens, or remove long questions",
    BROKEN_OFF: _DRAW_AGAIN,
    REFUSED: _DRAW_AGAIN,
    EMPTY: _DRAW_AGAIN,
}


class CompletionLog:
    """Completions in a JSON Lines file, by key; once added, a completion survives a kill of the process."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = RowAppender(path)
        self._completions: dict[str, Completion] = {}
        self._tokens = [0, 0]
        for number, row in enumerate(self._file.rows, 1):
            try:
                self._take(Completion.from_row(row))
            except (KeyError, TypeError):
                raise _malformed(path, number) from None

    def __contains__(self, key: object) -> bool:
        return key in self._completions

    def __getitem__(self, key: str) -> Completion:
        return self._completions[key]

    def add_all(self, completions: Collection[Completion]) -> None:
        """Save those that are not there yet, together."""
        new = [completion for completion in completions if completion.key not in self]
        self._file.append_all(completion.to_row() for completion in new)
        for completion in new:
            self._take(completion)

    def num_tokens(self) -> tuple[int, int]:
        return self._tokens[0], self._tokens[1]

    def _take(self, completion: Completion) -> None:
        self._completions[completion.key] = completion
        self._tokens[0] += completion.input_tokens
        self._tokens[1] += completion.output_tokens

    def __enter__(self) -> CompletionLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def logged_keys(path: Path) -> set[str]:
    """The keys in a log that another process may be writing; an incomplete last line does not count.

    Raises DataError for any other line that is not a completion.
    """
    keys: set[str] = set()
    if not path.is_file():
        return keys
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith("\n"):
                try:
                    keys.add(json.loads(line)["key"])
                except (ValueError, KeyError, TypeError):
                    raise _malformed(path, number) from None
    return keys


def _malformed(path: Path, line: int) -> DataError:
    return DataError("malformed completion", where=f"{path}, line {line}", remedy="fix or delete that line")


def ask(engine: Engine, requests: Iterable[Request], log: CompletionLog, progress: Progress) -> dict[str, Failed]:
    """Ask what is not in ``log`` yet and write the completions there; returns the failures by key.

    Of requests with the same key, the first is asked. ``requests`` is consumed as the work goes on.
    """
    failures: dict[str, Failed] = {}
    with closing(engine.generate(_once(requests), log)) as outcomes:  # pyright: ignore[reportArgumentType]
        for together in outcomes:
            log.add_all([outcome for outcome in together if isinstance(outcome, Completion)])
            failures |= {outcome.key: outcome for outcome in together if isinstance(outcome, Failed)}
            progress.advance(len(together), note=spent(engine.price, *log.num_tokens()))
    return failures


def _once(requests: Iterable[Request]) -> Iterator[Request]:
    seen: set[str] = set()
    for request in requests:
        if request.key not in seen:
            seen.add(request.key)
            yield request


def refuse_failures(
    failures: Collection[Failed], number: int, *, share: float = 0.0, where: str, remedy: str = "check the server"
) -> None:
    """Raise DataError if more than this share of the requests has failed."""
    if not failures or len(failures) <= share * number:
        return
    counts = count_by(failure.reason for failure in failures)
    said = next((f"; the server says: {failure.said}" for failure in failures if failure.said), "")
    raise DataError(
        f"{len(failures)} of {number} are unanswered ({', '.join(f'{name} {n}' for name, n in counts.items())}{said})",
        where=where,
        remedy=f"{next((_REMEDIES[name] for name in _REMEDIES if name in counts), remedy)}, "
        "and run again; what was answered is kept",
    )
