"""What all sections of the settings share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo


class Settings(BaseModel):
    """Base of all sections: frozen, unknown keys refused, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def from_folder(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    return (folder / path.expanduser()).resolve()


FolderPath = Annotated[Path, AfterValidator(from_folder)]
"""A path that is relative to the folder of the run file that names it."""


def kind_shorthand(value: Any) -> Any:
    """A bare name stands for a section with no settings but its kind."""
    return {"kind": value} if isinstance(value, str) else value
