"""What is made ahead is what would be made in time."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from cotdistill.training.data.ahead import ahead


def test_items_come_in_order_one_of_them_made_before_it_is_asked_for() -> None:
    made: list[int] = []
    second = threading.Event()

    def make(item: int) -> int:
        made.append(item)
        if item == 1:
            second.set()
        return item * item

    with closing(ahead(make, range(5))) as results:
        assert next(results) == 0
        assert second.wait(5)
        assert made == [0, 1], "one is made ahead, not more"
        assert list(results) == [1, 4, 9, 16]
    assert list(ahead(make, [])) == []


def test_an_error_comes_where_its_result_would_and_the_thread_ends() -> None:
    before = threading.active_count()
    results = ahead(lambda item: 1 // (2 - item), range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    with closing(ahead(str, range(1000))) as results:
        assert next(results) == "0"
    assert threading.active_count() == before
