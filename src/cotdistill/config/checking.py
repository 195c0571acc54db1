"""How a student is checked on held-out questions while it is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cotdistill.config.base import PLACE, FolderPath, Settings

__all__ = [
    "Every",
    "Validation",
]


class Every(Settings):
    """How often: every so many optimizer steps, or every so many epochs. After the last step always."""

    steps: int | None = Field(default=None, ge=1, description="optimizer steps between two checks", examples=[50])
    epochs: float | None = Field(default=None, ge=0.01, description="epochs between two checks", examples=[1])

    @model_validator(mode="after")
    def one_of_both(self) -> Every:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give one of steps and epochs, for example {epochs: 1}")
        return self


class Validation(Settings):
    """Loss and accuracy on questions that are held out of the training, and what follows from them.

    A ``share`` is chosen by a hash of the questions, so arms and seeds hold out the same ones, whatever their
    rationales. The rows of a file (``data``) are read as the task's own files are; loss is measured on those with a
    rationale of their own, or on all where students are taught answers alone. Answers are generated greedily, and
    prompted and judged as in the test.
    """

    share: float | None = Field(
        default=None, gt=0, lt=1, description="share of the training questions to hold out", examples=[0.05]
    )
    data: Annotated[FolderPath | None, PLACE] = Field(
        default=None, description="a file of questions, instead of a share", examples=["validation.jsonl"]
    )
    every: Every = Field(default=Every(epochs=1), description="how often the student is checked")
    questions: int = Field(
        default=100, ge=0, description="how many are answered each time; 0: only the loss is taken", examples=[0]
    )
    keep: Literal["last", "best"] = Field(default="last", description="the weights of which step become the student")
    by: Literal["accuracy", "loss"] = Field(
        default="accuracy", description="what tells which step is best; of equal ones the earlier is"
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="stop after so many checks in a row without a better one. Default: never",
        examples=[3],
    )

    @property
    def chooses(self) -> bool:
        """Whether what is found decides which student there will be."""
        return self.keep == "best" or self.patience is not None

    @model_validator(mode="after")
    def held_out_somehow(self) -> Validation:
        if (self.share is None) == (self.data is None):
            raise ValueError("give one of share and data, for example {share: 0.05}")
        if self.chooses and self.by == "accuracy" and not self.questions:
            raise ValueError("questions: 0 measures no accuracy to choose by; set by: loss, or ask some questions")
        return self
