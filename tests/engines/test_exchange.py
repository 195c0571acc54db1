"""What a kill can cost: answers that are sent for but not yet kept."""

from __future__ import annotations

from cotdistill.config import Limits
from cotdistill.engines.costs import FREE, Budget
from cotdistill.engines.engine import Completion, Request
from cotdistill.engines.exchange import Exchange


def test_no_more_answers_are_under_way_or_unkept_than_the_concurrency() -> None:
    sent: list[str] = []

    async def send(request: Request) -> Completion:
        sent.append(request.key)
        return Completion.of(request, "4", "stop", 1, 1)

    async def close() -> None: ...

    limits = Limits(concurrency=3)
    exchange = Exchange(
        send, close, limits, Budget(limits, FREE), num_tokens=lambda _: 1, most_output=1, where="a test"
    )
    kept = 0
    for together in exchange.outcomes(Request(str(number), "2 + 2?") for number in range(20)):
        assert len(sent) - kept <= 3
        kept += len(together)
    assert (kept, len(set(sent))) == (20, 20)
