"""Which rationale a question gets if a teacher could give several, and which questions get one at all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cotdistill.config.base import Settings
from cotdistill.config.model import Model
from cotdistill.granularities import COARSEST, FINEST

__all__ = [
    "GranularityMix",
    "HybridGranularity",
    "LowestRankSurprisal",
    "Selection",
]

Level = Annotated[int, Field(ge=COARSEST, le=FINEST)]
"""A granularity."""


class HybridGranularity(Settings):
    """Coarse rationales for questions that are easy for the student, fine ones for hard ones.

    The untrained student says how hard a question is: by the surprisal of the gold answer without a rationale. In that
    order the questions are divided into ``shares`` (default: equal ones), one for each of the ``levels``. ``student``
    defaults to the one that is trained.
    """

    kind: Literal["hybrid"] = "hybrid"
    levels: tuple[Level, ...] = Field(
        default=(1, 3, 5), min_length=2, description="starting with the easiest questions"
    )
    shares: tuple[Annotated[float, Field(ge=0)], ...] | None = Field(
        default=None,
        description="the share of the questions that each level gets; default: equal ones",
        examples=[[0.5, 0.3, 0.2]],
    )
    student: Model | None = Field(
        default=None,
        description="who says how hard a question is; default: the student that is trained",
        examples=["builtin:nano-student"],
    )

    @model_validator(mode="after")
    def a_share_a_level(self) -> HybridGranularity:
        if self.shares is not None:
            if len(self.shares) != len(self.levels):
                raise ValueError(f"{len(self.shares)} shares for {len(self.levels)} levels; give one share per level")
            if sum(self.shares) <= 0:
                raise ValueError("all shares are 0")
        return self


class GranularityMix(Settings):
    """Each level for its share of the questions, whatever their difficulty, by a hash of their ids and ``seed``."""

    kind: Literal["mix"] = "mix"
    shares: dict[Level, Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="level: weight", examples=[{1: 0.5, 5: 0.5}]
    )
    seed: int = Field(default=0, description="the seed of which question gets which level", examples=[1])


class LowestRankSurprisal(Settings):
    """Of the rationales at ``levels`` (default: the annotation's granularity), the one with the lowest rank-surprisal
    ratio under the student (arXiv 2601.14249; see ``annotation/scoring.py``). A teacher that is asked draws
    ``num_draws`` at each level. ``keep_share`` drops the questions whose chosen rationales have the highest ratios.
    """

    kind: Literal["rank_surprisal"] = "rank_surprisal"
    levels: tuple[Level, ...] | None = Field(
        default=None,
        min_length=1,
        description="the levels to choose from; default: annotation.granularity",
        examples=[[1, 3, 5]],
    )
    num_draws: int = Field(
        default=1, ge=1, description="completions that an asked teacher draws at each level", examples=[4]
    )
    keep_share: float = Field(
        default=1.0, gt=0, le=1, description="the share of the questions that is kept, those with the lowest ratios"
    )
    student: Model | None = Field(
        default=None,
        description="whose ratios count; default: the student that is trained",
        examples=["builtin:nano-student"],
    )


Selection = HybridGranularity | GranularityMix | LowestRankSurprisal
