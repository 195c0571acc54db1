"""Verdicts on completions. Answers in LaTeX, whose comparison takes long, are judged beside the model's generation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from cotdistill.engines.engine import Completion
from cotdistill.evaluation.readers import Judge
from cotdistill.records import Question, Verdict
from cotdistill.tasks.answers.mathematics import NUM_JUDGES

Judged = tuple[str | None, Verdict]


class Judging:
    """Judges completions with ``judge``; those of ``slow`` questions, by key, ahead of time in threads.

    The threads wait for the processes that compare LaTeX. A verdict does not depend on when it is found.
    """

    def __init__(self, judge: Judge, slow: Mapping[str, Question]):
        self._judge, self._slow = judge, slow
        self._pool = ThreadPoolExecutor(NUM_JUDGES)
        self._ahead: dict[str, Future[Judged]] = {}

    def __enter__(self) -> Judging:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._pool.shutdown(wait=error is None, cancel_futures=True)

    def begin(self, completions: Iterable[Completion]) -> None:
        """Begin to judge those of slow questions."""
        for completion in completions:
            if (question := self._slow.get(completion.key)) is not None and completion.key not in self._ahead:
                self._ahead[completion.key] = self._pool.submit(self._now, completion, question)

    def __call__(self, completion: Completion, question: Question) -> Judged:
        """The stated answer and the verdict. Raises as the judge does."""
        begun = self._ahead.pop(completion.key, None)
        return self._now(completion, question) if begun is None else begun.result()

    def _now(self, completion: Completion, question: Question) -> Judged:
        return self._judge(completion.whole, question, not completion.truncated)
