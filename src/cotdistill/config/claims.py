"""A claims file: what papers claim, each claim as a test declared on an experiment's recorded results.

``experiments/claims.py`` tests the claims; this module only reads them and checks their form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cotdistill.config.base import FolderPath, Settings
from cotdistill.config.comparison import Side
from cotdistill.config.experiment import STUDENT
from cotdistill.config.files import read_yaml
from cotdistill.config.validation import validated

Holds = Literal["everywhere", "somewhere"]


class Difference(Settings):
    """Arms ``a`` are more accurate than arms ``b``, pair by pair where all other factors agree.

    With ``tasks``, each pair is compared on each of these tasks separately. A claim that holds ``everywhere`` needs
    every pair and fails if one is opposite; one that holds ``somewhere`` needs one pair and fails only if all are
    opposite.
    """

    kind: Literal["difference"]
    a: Side
    b: Side
    tasks: tuple[str, ...] = ()
    holds: Holds = "everywhere"


class Equivalence(Settings):
    """Arms ``a`` are as accurate as arms ``b``, within ``margin_points`` (of 100) either way.

    Finding no difference supports nothing: the difference must be shown to be smaller than the margin.
    """

    kind: Literal["equivalence"]
    a: Side
    b: Side
    margin_points: float = Field(gt=0, lt=100)


class PeakInside(Settings):
    """Along ``axis``, with values in ``order``, accuracy rises and falls: some inner value beats both ends."""

    kind: Literal["peak_inside"]
    axis: str
    order: tuple[Any, ...] = Field(min_length=3)


class Trend(Settings):
    """The gain of ``a`` over ``b`` grows along ``axis``, with values in ``order``: for students, weakest first.

    It must grow at every step to the next value: one step at which it shrinks refutes the claim. The order is declared,
    not measured: the accuracy of ``b`` is part of the gain, so its noise would be in both.
    """

    kind: Literal["trend"]
    axis: str = STUDENT
    order: tuple[Any, ...] = Field(min_length=2)
    a: Side
    b: Side


class Ratio(Settings):
    """The accuracy of arms ``a``, or how many tokens they write, is ``at_least`` or ``at_most`` this many times that of
    arms ``b``: ``{a: half, b: whole, at_least: 0.91}``."""

    kind: Literal["ratio"]
    a: Side
    b: Side
    of: Literal["accuracy", "output_tokens"] = "accuracy"
    at_least: float | None = Field(default=None, gt=0)
    at_most: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def one_bound(self) -> Ratio:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a ratio needs one bound; give at_least or at_most")
        return self


ClaimTest = Annotated[Difference | Equivalence | PeakInside | Ratio | Trend, Field(discriminator="kind")]


class Claim(Settings):
    """What ``paper`` claims, in our words, and the experiment that tests it, or why none does (``untested``).

    ``source`` says how we know: ``first-hand`` if we read it in the paper or measured it in the paper's release.
    """

    id: str = Field(pattern=r"^[\w][\w.-]*$")
    paper: str
    source: Literal["first-hand", "second-hand"]
    text: str
    experiment: FolderPath | None = None
    test: ClaimTest | None = None
    untested: str | None = None

    @model_validator(mode="after")
    def tested_or_not(self) -> Claim:
        given = (self.experiment is not None, self.test is not None, self.untested is not None)
        if given not in ((True, True, False), (False, False, True)):
            raise ValueError(f"claim {self.id!r} needs an experiment and a test, or a reason why it is untested")
        return self


class Claims(Settings):
    """A claims file. Holm's family is all comparisons of all its claims."""

    claims: tuple[Claim, ...] = Field(min_length=1)

    @field_validator("claims")
    @classmethod
    def ids_differ(cls, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
        ids = [claim.id for claim in claims]
        for id in ids:
            if ids.count(id) > 1:
                raise ValueError(f"claim {id!r} is used twice; give each claim its own id")
        return claims


def load_claims(path: Path) -> Claims:
    """Read a claims file; paths in it are relative to its folder. Raises ConfigError naming key, value and remedy."""
    return validated(Claims, read_yaml(path), where=str(path), folder=path.parent)
