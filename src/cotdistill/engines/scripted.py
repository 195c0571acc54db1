"""Answers that were written elsewhere, read from a file as if a server gave them."""

from __future__ import annotations

from cotdistill.config import ScriptedTeacher
from cotdistill.engines.asking import Answer, Request, Unanswered
from cotdistill.engines.costs import estimated_tokens
from cotdistill.errors import DataError
from cotdistill.storage.jsonl import read_numbered_rows


class ScriptedServer:
    """The transport of a :class:`ScriptedTeacher`. Raises DataError for a row without ``id`` and ``output``."""

    def __init__(self, teacher: ScriptedTeacher):
        self._outputs: dict[str, str] = {}
        for number, row in read_numbered_rows(teacher.answers):
            if not isinstance(row.get("id"), str) or not isinstance(row.get("output"), str):
                raise DataError(
                    "row without id and output", where=f"{teacher.answers}, line {number}", remedy="give both as text"
                )
            self._outputs[row["id"]] = row["output"]

    async def complete(self, request: Request) -> Answer:
        if request.question_id not in self._outputs:
            raise Unanswered("no_answer", retryable=False)
        text = self._outputs[request.question_id]
        return Answer(text, None, estimated_tokens(request.prompt), estimated_tokens(text))

    async def close(self) -> None:
        pass
