"""Whose rationales, at which granularity and in which format, which are kept, and how they are degraded on purpose."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from cotdistill.config.base import MACHINE, PLACE, FolderPath, Settings, kind_shorthand
from cotdistill.config.engine import Sampling, ScriptedModel, ServedModel, TransformersModel, VLLMModel
from cotdistill.config.parts import Part, is_part, own_shorthand
from cotdistill.config.perturbation import Perturbation
from cotdistill.config.prompt import PromptFile
from cotdistill.config.selection import Level, Selection
from cotdistill.config.shorthand import Shorthand
from cotdistill.records import Format, Question

__all__ = [
    "AnnotationConfig",
    "AnswerOnlyTeacher",
    "AskedTeacher",
    "Compression",
    "DatasetTeacher",
    "HumanTeacher",
    "KeepFirst",
    "OpenAITeacher",
    "OwnTeacher",
    "ProceduralTeacher",
    "Rewritten",
    "RoutedTeacher",
    "ScriptedTeacher",
    "Teacher",
    "TeacherConfig",
    "TransformersTeacher",
    "VLLMTeacher",
    "names_of_route",
    "teachers_of",
]


class DatasetTeacher(Settings):
    """Released rationales: ``source: eit_cot`` is the granularity paper's release, in the data folder."""

    kind: Literal["dataset"] = "dataset"
    source: Literal["eit_cot"] = Field(default="eit_cot", description="the release")
    teacher: Literal["chatgpt", "gemini", "llama"] = Field(
        default="chatgpt", description="the model whose rationales were released"
    )
    data_dir: Annotated[FolderPath | None, PLACE] = Field(
        default=None,
        description="the folder that holds eit_cot; default: the task's, or $COTDISTILL_DATA",
        examples=["data"],
    )


class HumanTeacher(Settings):
    """The rationales that come with the questions."""

    kind: Literal["human"] = "human"


class AnswerOnlyTeacher(Settings):
    """No rationale: the student is taught the gold answer alone."""

    kind: Literal["answer_only"] = "answer_only"


class ProceduralTeacher(Settings):
    """The solver of the procedural tasks, which writes every granularity and format."""

    kind: Literal["procedural"] = "procedural"


class OwnTeacher(Settings):
    """Your own function, named instead of a kind: ``{kind: my_teacher.py:NAME, settings: {...}}``.

    It is called with a Question, a granularity, a format, and its settings as keywords, and returns the rationale, or
    None if it has none. A rationale that ends by stating an answer is checked against the gold answer.
    """

    kind: Literal["own"] = "own"
    function: Part = Field(description="your function that returns a rationale", examples=["teacher.py:by_hand"])
    settings: dict[str, bool | int | float | str] = Field(
        default={},
        description="what your function is called with besides the question, granularity and format",
        examples=[{"words": 20}],
    )


class _Answering(Settings):
    """Base of the teachers whose completions are kept and read.

    What a teacher thinks before it answers comes in a field of its own or between marks such as ``<think>``.
    ``reasoning`` says what becomes of it. ``as_response``: it is kept beside the rationale, which is the visible text;
    it is the rationale where the visible text holds none. ``as_rationale``: it is the rationale, and the visible text
    only states the answer. ``drop``: it is left out.
    """

    reasoning: Literal["as_response", "as_rationale", "drop"] = Field(
        default="as_response", description="what becomes of what the teacher thinks before it answers"
    )
    max_failed_share: Annotated[float, MACHINE] = Field(
        default=0.05, ge=0, le=1, description="a larger share of unanswered questions is an error"
    )


class _Asked(_Answering):
    """Base of the teachers that are asked: up to ``max_draws`` completions are drawn for each question, until one
    passes ``annotation.keep``."""

    max_draws: int = Field(
        default=1,
        ge=1,
        description="completions that are drawn for a question at most, until one is kept",
        examples=[4],
    )


class OpenAITeacher(ServedModel, _Asked):
    """A model behind any server that speaks OpenAI's chat completions."""


class _InProcess(_Asked):
    """Base of the asked teachers that run in this process."""

    sampling: Sampling = Field(
        description="how its completions are drawn", examples=[{"temperature": 0.7, "max_new_tokens": 512}]
    )

    @model_validator(mode="after")
    def draws_differ(self) -> _InProcess:
        if self.max_draws > 1 and not self.sampling.temperature:
            raise ValueError("max_draws above 1 needs a sampling.temperature above 0: all draws would be the same")
        return self


class TransformersTeacher(TransformersModel, _InProcess):
    """A transformers model in this process."""


class VLLMTeacher(VLLMModel, _InProcess):
    """A vllm model in this process."""


class ScriptedTeacher(ScriptedModel, _Answering):
    """Completions written elsewhere; questions without one are dropped."""

    max_failed_share: Annotated[float, MACHINE] = Field(
        default=1.0, ge=0, le=1, description="a larger share of questions without a completion is an error"
    )


AskedTeacher = OpenAITeacher | TransformersTeacher | VLLMTeacher | ScriptedTeacher
"""Teachers that are asked with our prompts; their completions are kept."""

OneTeacher = DatasetTeacher | HumanTeacher | AnswerOnlyTeacher | ProceduralTeacher | OwnTeacher | AskedTeacher
_SHORT = Shorthand(bare=True, own=True)
_OneTeacher = Annotated[Annotated[OneTeacher, Field(discriminator="kind")], BeforeValidator(own_shorthand), _SHORT]


def names_of_route(by: str, question: Question) -> tuple[str, ...]:
    """What a question is known by where teachers are told apart ``by`` task or by a column, the whole name first."""
    if by != "task":
        return (str(question.meta.get(by, "")),)
    before, _, behind = question.task.partition("/")
    return question.task, behind, before


class RoutedTeacher(Settings):
    """Several teachers: one for each value of ``by``, which is ``task`` or a column that ``task.keep_columns`` keeps.

    A task is known by its whole name, or by the part before or behind the slash. A question whose value has no teacher
    goes to ``default``, or is dropped and counted.
    """

    kind: Literal["routed"] = "routed"
    by: str = Field(default="task", min_length=1, description="what decides: task, or a column of task.keep_columns")
    teachers: dict[str, _OneTeacher] = Field(
        min_length=1, description="the teacher for each value", examples=[{"math": "human", "logic": "answer_only"}]
    )
    default: _OneTeacher | None = Field(
        default=None,
        description="the teacher for all other values; null: their questions are dropped",
        examples=["answer_only"],
    )

    @property
    def all(self) -> tuple[OneTeacher, ...]:
        return (*self.teachers.values(), *((self.default,) if self.default else ()))

    def value_of(self, question: Question) -> str:
        """What decides about a question."""
        return names_of_route(self.by, question)[0]

    def route(self, question: Question) -> OneTeacher | None:
        """Who is to write the rationale of a question, if anybody."""
        names = names_of_route(self.by, question)
        return next((self.teachers[name] for name in names if name in self.teachers), self.default)


Teacher = OneTeacher | RoutedTeacher

TeacherConfig = Annotated[Annotated[Teacher, Field(discriminator="kind")], BeforeValidator(own_shorthand), _SHORT]


def teachers_of(teacher: Teacher) -> tuple[OneTeacher, ...]:
    """All that a teacher's settings name."""
    return teacher.all if isinstance(teacher, RoutedTeacher) else (teacher,)


class KeepFirst(Settings):
    """The first share of a rationale, by sentences (rounded up) or words: ``{keep_first: 0.5}``."""

    kind: Literal["first"] = "first"
    keep_first: float = Field(gt=0, lt=1, description="the share of each rationale that stays", examples=[0.5])
    unit: Literal["sentences", "words"] = Field(default="sentences", description="what is counted")


class Rewritten(Settings):
    """A teacher's version, where it states the same answer in fewer words: ``{teacher: {kind: openai, ...}}``."""

    kind: Literal["rewritten"] = "rewritten"
    teacher: Annotated[AskedTeacher, Field(discriminator="kind")] = Field(
        description="the teacher that is asked to shorten", examples=[{"kind": "openai", "model": "gpt-4o-mini"}]
    )


def _compression(value: Any) -> Any:
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "rewritten" if "teacher" in value else "first"} | value
    return value


Compression = KeepFirst | Rewritten
_ShortPerturbation = Annotated[Perturbation, Field(discriminator="kind"), Shorthand(bare=True)]
_ShortCompression = Annotated[Compression, Field(discriminator="kind"), Shorthand(kindless=("first", "rewritten"))]


def _part_or_file(value: Any) -> str:
    return "part" if isinstance(value, Part) or is_part(value) else "file"


OwnPrompt = Annotated[Annotated[Part, Tag("part")] | Annotated[PromptFile, Tag("file")], Discriminator(_part_or_file)]


class AnnotationConfig(Settings):
    """Which rationales: ``granularity`` 1 (coarse) to 6 (fine), ``format``, and which of them to keep.

    ``keep`` is ``all`` (except empty ones); ``finished``: those that no limit, content filter or error cut off;
    ``agree``: of these, those whose teacher states the gold answer; ``verified``: of these, those without a fault, such
    as false arithmetic, a conclusion other than that answer, leaked slot names, repetition or a missing end. The human
    and answer_only teachers ignore granularity and format.
    """

    granularity: Level | None = Field(
        default=3, description="how fine the steps are, 1 (coarse) to 6; null: no level is asked for"
    )
    format: Format = Field(default="cot", description="the form in which rationales are written")
    keep: Literal["all", "finished", "agree", "verified"] = Field(
        default="finished", description="which rationales are kept; see above"
    )
    answer_conditioned: bool = Field(
        default=False, description="show the gold answer to an asked teacher; its rationales are marked as such"
    )
    prompt: OwnPrompt | None = Field(
        default=None,
        description="instead of our prompts: your own function of (question, granularity, format, gold), a file of "
        "text, or one of messages (.yaml, .json), with $question, $choices and $gold",
        examples=["prompt.txt"],
    )
    compress: Annotated[_ShortCompression | None, BeforeValidator(_compression)] = Field(
        default=None,
        description="shorter rationales: their first share, or a teacher's rewriting",
        examples=[{"keep_first": 0.5}],
    )
    perturbation: Annotated[_ShortPerturbation | None, BeforeValidator(kind_shorthand)] = Field(
        default=None, description="make rationales worse on purpose", examples=["shuffled"]
    )
    selection: Annotated[Selection, Field(discriminator="kind")] | None = Field(
        default=None,
        description="a granularity for each question, or the best of several rationales",
        examples=[{"kind": "mix", "shares": {1: 0.5, 5: 0.5}}],
    )
    max_total_words: int | None = Field(
        default=None,
        ge=1,
        description="a budget of words to learn, answers included; questions beyond it are dropped",
        examples=[20000],
    )
    decontaminate: Literal["off", "report", "questions", "ngrams"] = Field(
        default="questions",
        description="drop evaluation questions, matched by all words (questions) or also by 13 words in a row (ngrams)",
    )

    @model_validator(mode="after")
    def gold_answer_where_it_is_said_to_be_shown(self) -> AnnotationConfig:
        if isinstance(self.prompt, PromptFile) and self.prompt.shows_gold != self.answer_conditioned:
            raise ValueError(
                f"{self.prompt} shows the right answer ($gold); set answer_conditioned: true, or leave it out"
                if self.prompt.shows_gold
                else f"answer_conditioned is set, but {self.prompt} names no $gold"
            )
        return self
