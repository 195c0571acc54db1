"""How many tokens a model has positions for, from its files. Loads no torch."""

from __future__ import annotations

import json
from typing import Any

from cotdistill.config import ModelConfig
from cotdistill.models.load.source import config_folder

_KEYS = ("max_position_embeddings", "n_positions", "index_topk")
"""What configs call them; ``models/forward/positions.py`` says why the number of chosen tokens is among them."""


def stated_positions(model: ModelConfig) -> int | None:
    """What the model's ``config.json`` says; None if it says nothing, or there is none (a GGUF file).

    Raises ModelError if the model cannot be found.
    """
    try:
        content: Any = json.loads((config_folder(model) / "config.json").read_text(encoding="utf-8"))
        content = content.get("text_config") or content
        found = [content[key] for key in _KEYS if isinstance(content.get(key), int)]
    except (OSError, ValueError, AttributeError):
        return None
    return min(found, default=None)
