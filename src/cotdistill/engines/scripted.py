"""Completions written elsewhere, read from a file as if a model wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cotdistill.config import Price, ScriptedModel
from cotdistill.engines.costs import estimated_tokens
from cotdistill.engines.engine import Begun, Completion, Failed, Kept, Request
from cotdistill.errors import DataError
from cotdistill.storage.jsonl import read_numbered_rows


class ScriptedEngine:
    """What a :class:`ScriptedModel` holds. Raises DataError for a row without ``id`` and ``completion`` as texts."""

    price: Price | None = None

    def __init__(self, scripted: ScriptedModel):
        self._texts: dict[str, str] = {}
        for number, row in read_numbered_rows(scripted.completions):
            if not isinstance(row.get("id"), str) or not isinstance(row.get("completion"), str):
                where = f"{scripted.completions}, line {number}"
                raise DataError("row needs an id and a completion", where=where, remedy="give both as text")
            self._texts[row["id"]] = row["completion"]

    def generate(
        self, requests: Iterable[Request], kept: Kept | None = None, begun: Begun | None = None
    ) -> Iterator[list[Completion | Failed]]:
        for request in requests:
            if kept is None or request.key not in kept:
                yield [self._outcome(request)]

    def _outcome(self, request: Request) -> Completion | Failed:
        text = self._texts.get(request.question)
        if text is None:
            return Failed(request.key, "not_in_the_script")
        return Completion.of(request, text, None, estimated_tokens(request.prompt), estimated_tokens(text))
