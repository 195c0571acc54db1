"""What a model is called where others can get it, and under which licence: of what is known on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cotdistill.config import ModelConfig
from cotdistill.models.load.builtin import PREFIX, SMOLLM2
from cotdistill.models.load.source import is_hub_name, locate

OURS = "cotdistill"
"""The tag of students' cards."""


class Origin(NamedTuple):
    """A name on the hub, and a licence by the hub's name; None where it is not known."""

    hub_name: str | None
    licence: str | None


def origin_of(model: ModelConfig) -> Origin:
    """Of a student of ours, the origin of its own base; of another folder, only the licence that its card states."""
    if model.model == SMOLLM2:
        return Origin("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
    if model.model.startswith(PREFIX):
        return Origin(None, "apache-2.0")
    card = _card(locate(model))
    licence, base, tags = (card.get(name) for name in ("license", "base_model", "tags"))
    licence = licence if isinstance(licence, str) else None
    if is_hub_name(model.model):
        return Origin(model.model, licence)
    is_ours = isinstance(tags, list) and OURS in tags
    return Origin(base if is_ours and isinstance(base, str) else None, licence)


def public_name(model: str) -> str:
    """A name that means the same elsewhere; of a path on this machine only the end: a student's key, a folder's name.

    Whatever is absolute, begins with a dot or exists is a path.
    """
    path = Path(model)
    if not (model.startswith(("/", "./", "../", "~")) or ("/" in model and path.exists())):
        return model
    return f"{path.parent.name}/student" if path.name == "student" else path.name


def _card(path: Path) -> dict[str, object]:
    """The metadata of a folder's card; nothing if there is none or it cannot be read, as it is anybody's."""
    from huggingface_hub import ModelCard

    try:
        text = (path / "README.md").read_text(encoding="utf-8")
        return ModelCard(text, ignore_metadata_errors=True).data.to_dict()
    except Exception:
        return {}
