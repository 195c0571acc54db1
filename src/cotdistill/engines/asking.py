"""Asking a model: each completion is saved before anything else is done with it, and is asked for only once."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from cotdistill.engines.costs import spent
from cotdistill.engines.engine import (
    BROKEN_OFF,
    EMPTY,
    MALFORMED,
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
from cotdistill.storage.texts import WRONG_SHAPE

OUT_OF_BUDGET = "out_of_budget"
PROMPT_TOO_LONG = "prompt_too_long"
TIMEOUT = "timeout"

_DRAW_AGAIN = "set teacher.max_draws with a temperature, or raise teacher.max_failed_share"
"""Why a paid completion is not simply asked for again."""

_REMEDIES = {
    OUT_OF_BUDGET: "raise the budget",
    TRUNCATED_REASONING: "raise max_new_tokens (only what was cut is asked for again)",
    TIMEOUT: "raise limits.timeout_seconds",
    PROMPT_TOO_LONG: "lower max_new_tokens, or remove long questions",
    BROKEN_OFF: _DRAW_AGAIN,
    REFUSED: _DRAW_AGAIN,
    EMPTY: _DRAW_AGAIN,
    MALFORMED: _DRAW_AGAIN,
}


_LIMIT = "/"
"""Stands in a key before the token limit under which a completion was asked for."""


def key_at(key: str, limit: int | None) -> str:
    """The key of a request that is asked for under a token limit."""
    return key if limit is None else f"{key}{_LIMIT}{limit}"


class Answered:
    """Which completions a file holds, by key: where each begins and how many tokens it has, without its text."""

    def __init__(self, completions: Iterable[tuple[int, Completion]] = ()):
        self._starts: dict[str, int] = {}
        self._ended: dict[str, list[tuple[str, int]]] = {}
        self._tokens = [0, 0]
        self._longest = 0
        for start, completion in completions:
            self._take(start, completion)

    def __contains__(self, key: object) -> bool:
        return key in self._starts

    def serving(self, key: str, limit: int | None) -> str:
        """The key of the completion that serves a request under this limit, there or not.

        One that ended by itself serves under every limit that it fits, so what is paid for is not asked for again; one
        that was cut serves only under the limit that cut it.
        """
        asked = key_at(key, limit)
        if asked in self or limit is None:
            return asked
        return next((ended for ended, tokens in self._ended.get(key, ()) if tokens <= limit), asked)

    def num_tokens(self) -> tuple[int, int]:
        return self._tokens[0], self._tokens[1]

    def longest(self) -> int:
        return self._longest

    def _take(self, start: int, completion: Completion) -> None:
        key = completion.key
        self._starts[key] = start
        if not completion.truncated:
            self._ended.setdefault(key.partition(_LIMIT)[0], []).append((key, completion.output_tokens))
        self._tokens[0] += completion.input_tokens
        self._tokens[1] += completion.output_tokens
        self._longest = max(self._longest, completion.output_tokens)


class CompletionLog(Answered):
    """Completions in a JSON Lines file, read when asked for; once added, one survives a kill of the process.

    Those that came ``with_tokens`` can be kept with them.
    """

    def __init__(self, path: Path, *, with_tokens: bool = False):
        self._with_tokens = with_tokens
        path.parent.mkdir(parents=True, exist_ok=True)
        self._appender = RowAppender(path)
        self._file = path.open("rb")
        super().__init__(_placed(path))

    def __getitem__(self, key: str) -> Completion:
        self._file.seek(self._starts[key])
        return Completion.from_row(json.loads(self._file.readline()))

    def get(self, key: str) -> Completion | None:
        return self[key] if key in self else None  # noqa: SIM401 (it is this method)

    def add_all(self, completions: Collection[Completion]) -> None:
        """Save those that are not there yet, together."""
        new = [completion for completion in completions if completion.key not in self]
        starts = self._appender.append_all(one.to_row(with_tokens=self._with_tokens) for one in new)
        for start, completion in zip(starts, new, strict=True):
            self._take(start, completion)

    def __enter__(self) -> CompletionLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._appender.close()
        self._file.close()


def logged(path: Path) -> Answered:
    """What is in a log that another process may be writing; an incomplete last line does not count.

    Raises DataError for any other line that is not a completion.
    """
    return Answered(_placed(path)) if path.is_file() else Answered()


def _placed(path: Path) -> Iterator[tuple[int, Completion]]:
    """Each completion of a log with the byte at which its line begins, except for an incomplete last line."""
    start = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip() and line.endswith(b"\n"):
                yield start, _completion(line, f"{path}, line {number}")
            start += len(line)


def _completion(line: bytes, where: str) -> Completion:
    try:
        return Completion.from_row(json.loads(line))
    except WRONG_SHAPE:
        raise DataError("malformed completion", where=where, remedy="fix or delete that line") from None


def ask(
    engine: Engine,
    requests: Iterable[Request],
    log: CompletionLog,
    progress: Progress,
    kept: Callable[[Sequence[Completion]], None] = lambda completions: None,
) -> dict[str, Failed]:
    """Ask what is not in ``log`` yet and write the completions there; returns the failures by key.

    ``kept`` is told what was just written. Of requests with the same key, the first is asked. ``requests`` is consumed
    as the work goes on.
    """
    failures: dict[str, Failed] = {}
    shown = 0

    def begun(count: int) -> None:
        nonlocal shown
        shown += count
        progress.advance(count)

    with closing(engine.generate(_once(requests), log, begun)) as outcomes:  # pyright: ignore[reportArgumentType]
        for together in outcomes:
            completions = [outcome for outcome in together if isinstance(outcome, Completion)]
            log.add_all(completions)
            kept(completions)
            failures |= {outcome.key: outcome for outcome in together if isinstance(outcome, Failed)}
            progress.advance(len(together) - shown, note=spent(engine.price, *log.num_tokens()))
            shown = 0
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
