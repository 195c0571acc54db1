"""How rationales are made worse on purpose."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cotdistill.config.base import Settings

__all__ = [
    "Corrupted",
    "Padded",
    "Perturbation",
    "Removed",
    "Shuffled",
    "Swapped",
    "Truncated",
]


class _Perturbation(Settings):
    """Base of the ways to degrade rationales: a ``share`` of them, chosen by ``seed``."""

    share: float = Field(default=1.0, gt=0, le=1, description="the share of the rationales that is made worse")
    seed: int = Field(default=0, description="the seed of which rationales, and how", examples=[1])


class Removed(_Perturbation):
    """The answer alone, without a rationale."""

    kind: Literal["removed"] = "removed"


class Truncated(_Perturbation):
    """The first ``keep_share`` of a rationale's words, or its first ``num_words`` if that is set."""

    kind: Literal["truncated"] = "truncated"
    keep_share: float = Field(default=0.5, ge=0, lt=1, description="the share of a rationale's words that stays")
    num_words: int | None = Field(
        default=None, ge=0, description="the number of words that stay, instead of a share", examples=[20]
    )


class Shuffled(_Perturbation):
    """Sentences in a random order."""

    kind: Literal["shuffled"] = "shuffled"


class Corrupted(_Perturbation):
    """Every number replaced by another with the same number of digits."""

    kind: Literal["corrupted"] = "corrupted"


class Swapped(_Perturbation):
    """Another question's rationale."""

    kind: Literal["swapped"] = "swapped"


class Padded(_Perturbation):
    """Filler after a rationale, up to ``num_words`` words in all."""

    kind: Literal["padded"] = "padded"
    num_words: int = Field(ge=1, description="words of a rationale together with its filler", examples=[60])
    filler: str = Field(default="...", pattern=r"\S", description="the word that fills")


Perturbation = Removed | Truncated | Shuffled | Corrupted | Swapped | Padded
