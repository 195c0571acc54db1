"""What all sections of the settings share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

__all__ = [
    "MACHINE",
    "PLACE",
    "Keyed",
    "Settings",
    "identity",
]


class Settings(BaseModel):
    """Base of all sections: frozen, unknown keys refused, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def from_folder(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    try:
        return (folder / path.expanduser()).resolve()
    except (RuntimeError, OSError, ValueError) as error:  # no such user, links in a circle, a null byte
        raise ValueError(f"{str(path)[:200]!r} is not a usable path ({error})") from None


def _sensible(temperature: float) -> float:
    if temperature and not 1e-3 <= temperature <= 1e3:
        raise ValueError(f"{temperature:g} is not a usable temperature; use 0.001 to 1000")
    return temperature


Temperature = Annotated[float, AfterValidator(_sensible)]
"""What logits are divided by, limited to numbers that divide them without loss."""

FolderPath = Annotated[Path, AfterValidator(from_folder)]
"""A path that is relative to the folder of the experiment file that names it."""


def kind_shorthand(value: Any) -> Any:
    """A bare name stands for a section with no settings but its kind."""
    return {"kind": value} if isinstance(value, str) else value


class Mark(Enum):
    """What a field says about itself in ``Annotated[type, mark]``, for the identity of what is made from it."""

    MACHINE = "machine"
    """It changes no result: how fast, how often, by what route, at what price."""
    PLACE = "place"
    """It says where something is; the content is in the identity of the stage that reads it."""


MACHINE: Final = Mark.MACHINE
PLACE: Final = Mark.PLACE


def identity(settings: Settings, *, places: bool = False) -> dict[str, Any]:
    """All of ``settings`` that can change a result, as plain values for a key.

    Fields marked ``MACHINE`` are left out, as are those marked ``PLACE`` unless ``places`` are asked for (where nothing
    is read yet), and those at their defaults, so that a new field renames nothing made before it. ``kind`` always
    stays: it says what the others mean.
    """
    row: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if MACHINE in field.metadata or (PLACE in field.metadata and not places):
            continue
        plain = _plain(value, places)
        default = None if field.is_required() else _plain(field.get_default(call_default_factory=True), places)
        if name == "kind" or field.is_required() or plain != default:
            row[name] = plain
    return row


class Keyed(ABC):
    """Base of values that keys hold as something other than their text."""

    @property
    @abstractmethod
    def identity(self) -> Any:
        """What a key holds."""


def _plain(value: Any, places: bool) -> Any:
    if isinstance(value, Settings):
        return identity(value, places=places)
    if isinstance(value, Keyed):
        return value.identity
    if isinstance(value, tuple | list):
        return [_plain(each, places) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each, places) for key, each in value.items()}
    return str(value) if isinstance(value, Path) else value
