"""How long something took is no matter of what time it is."""

from __future__ import annotations

import time

from cotdistill.storage.clock import Clock


def test_seconds_are_never_fewer_than_before_whatever_the_time_of_day(tmp_path, monkeypatch):
    (tmp_path / "clock").write_text("12.5\n", encoding="utf-8")
    clock = Clock(tmp_path / "clock")
    monkeypatch.setattr(time, "time", lambda: 0.0)  # set back to 1970
    assert 12.5 <= clock.seconds < 60
