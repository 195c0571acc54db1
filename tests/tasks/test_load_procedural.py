"""The procedural task, loaded like any other."""

from __future__ import annotations

from cotdistill.config import ProceduralTask
from cotdistill.tasks import load_task


def test_it_loads_with_a_fingerprint_that_its_settings_decide() -> None:
    config = ProceduralTask(kinds=("object_counting", "web_of_lies"), num_train=20, num_test=6)
    task = load_task(config)
    assert (task.name, len(task.train), len(task.test)) == ("procedural", 20, 6)
    assert load_task(config).fingerprint == task.fingerprint
    assert load_task(config.model_copy(update={"seed": 1})).fingerprint != task.fingerprint
