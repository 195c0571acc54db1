"""Every setting, as frozen pydantic models that refuse unknown keys; variants are told apart by ``kind``.

``load_run`` reads a run file. One file describes one arm, or a base and several named ``arms`` that override it by
dotted keys, and the comparisons between them that were declared before anything ran.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Len
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cotdistill.errors import ConfigError, nearest
from cotdistill.records import AnswerType, Format

BENCHMARKS = (
    "svamp",
    "gsm8k",
    "aqua",
    "commonsenseqa",
    "openbookqa",
    "strategyqa",
    "arc_challenge",
    "arc_easy",
    "mmlu",
    "bbh",
)
"""Names of the built-in benchmarks; each is one file in ``tasks/``, but ARC's two sets share one."""

PROCEDURAL_KINDS = (
    "boolean_expressions",
    "date_understanding",
    "dyck_languages",
    "logical_deduction",
    "multistep_arithmetic",
    "navigate",
    "object_counting",
    "tracking_shuffled_objects",
    "web_of_lies",
    "word_sorting",
)
"""Names of the generators of the procedural task; each is one file in ``tasks/procedural/``."""


class Settings(BaseModel):
    """Base of all sections: frozen, unknown keys refused, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    return (folder / path.expanduser()).resolve()


FolderPath = Annotated[Path, AfterValidator(_from_folder)]
"""A path that is relative to the folder of the run file that names it."""

# ---- tasks ----------------------------------------------------------------------------------------------------------


class BenchmarkTask(Settings):
    """A built-in benchmark, read from ``data_dir`` where given, from the model hub otherwise."""

    kind: Literal["benchmark"] = "benchmark"
    name: str
    data_dir: FolderPath | None = None
    subtasks: tuple[str, ...] | None = Field(default=None, description="of bbh and mmlu: only these")
    num_train: int | None = Field(default=None, ge=1, description="use only the first so many training questions")
    num_test: int | None = Field(default=None, ge=1, description="use only the first so many test questions a subtask")
    exclude_faulty: bool = Field(default=False, description="leave out items whose text or answer is known to be wrong")

    @model_validator(mode="after")
    def known_name(self) -> BenchmarkTask:
        if self.name not in BENCHMARKS:
            raise ValueError(f"unknown benchmark {self.name!r}; {nearest(self.name, (*BENCHMARKS, 'procedural'))}")
        return self


class FileTask(Settings):
    """The user's own questions: JSONL, CSV or Parquet, with ``columns`` mapping our names to theirs.

    Our names are id, question, answer, choices, rationale. Without ``test`` a share of the rows, chosen by a hash of
    their ids, is held out for testing.
    """

    kind: Literal["file"] = "file"
    train: FolderPath
    test: FolderPath | None = None
    test_share: float = Field(default=0.2, gt=0, lt=1)
    columns: dict[Literal["id", "question", "answer", "choices", "rationale"], str] = {}
    answer_type: AnswerType | Literal["auto"] = "auto"
    num_train: int | None = Field(default=None, ge=1)
    num_test: int | None = Field(default=None, ge=1)

    @property
    def name(self) -> str:
        return self.train.name.split(".")[0]


class ProceduralTask(Settings):
    """Questions made by generators that follow BIG-Bench-Hard's texts. Train and test are disjoint by construction."""

    kind: Literal["procedural"] = "procedural"
    kinds: tuple[str, ...] = PROCEDURAL_KINDS
    difficulty: int = Field(default=2, ge=1, le=4, description="1: two or three steps, 4: BIG-Bench-Hard's own size")
    num_train: int = Field(default=2000, ge=1, description="over all kinds")
    num_test: int = Field(default=400, ge=1, description="over all kinds")
    seed: int = 0

    @property
    def name(self) -> str:
        return "procedural"

    @model_validator(mode="after")
    def known_kinds(self) -> ProceduralTask:
        if not self.kinds:
            raise ValueError(f"no kinds given; known: {', '.join(PROCEDURAL_KINDS)}")
        for kind in self.kinds:
            if kind not in PROCEDURAL_KINDS:
                raise ValueError(f"unknown procedural kind {kind!r}; {nearest(kind, PROCEDURAL_KINDS)}")
        return self


def _task_shorthand(value: Any) -> Any:
    """``svamp``, ``procedural`` and ``my.jsonl`` stand for a whole section; ``kind`` may be left out where clear."""
    if isinstance(value, str | Path):
        name = str(value)
        if name == "procedural":
            return {"kind": "procedural"}
        if Path(name).suffix or "/" in name:
            return {"kind": "file", "train": name}
        return {"kind": "benchmark", "name": name}
    if isinstance(value, dict) and "kind" not in value:
        if value.get("name") == "procedural":
            return {"kind": "procedural"} | {key: v for key, v in value.items() if key != "name"}
        return {"kind": "benchmark" if "name" in value else "file" if "train" in value else "procedural"} | value
    return value


TaskConfig = Annotated[
    Annotated[BenchmarkTask | FileTask | ProceduralTask, Field(discriminator="kind")],
    BeforeValidator(_task_shorthand),
]

# ---- annotation -----------------------------------------------------------------------------------------------------


class DatasetTeacher(Settings):
    """Rationales that were released: ``source: eit_cot`` is the granularity paper's release under the data folder."""

    kind: Literal["dataset"] = "dataset"
    source: Literal["eit_cot"] = "eit_cot"
    teacher: Literal["chatgpt", "gemini", "llama"] = "chatgpt"
    data_dir: FolderPath | None = None


class HumanTeacher(Settings):
    """The rationales that came with the questions."""

    kind: Literal["human"] = "human"


class AnswerOnlyTeacher(Settings):
    """No rationale: the student is taught the gold answer alone."""

    kind: Literal["answer_only"] = "answer_only"


class ProceduralTeacher(Settings):
    """The solver of the procedural tasks, which writes every granularity and format."""

    kind: Literal["procedural"] = "procedural"


class Sampling(Settings):
    """How a teacher's answers are drawn. The key under which an answer is kept holds all of it."""

    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=1)
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Price(Settings):
    """Money for a million tokens, in one currency."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class Limits(Settings):
    """How a server is asked. Nothing here changes an answer, so nothing here is part of a key."""

    concurrency: int = Field(default=16, ge=1, description="requests under way at once")
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    timeout_seconds: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=6, ge=0)
    max_cost: float | None = Field(default=None, gt=0, description="in the currency of the price")
    max_total_tokens: int | None = Field(default=None, ge=1)
    price: Price | None = Field(default=None, description="default: of annotation/costs.py, where the model is there")
    max_failed_share: float = Field(default=0.05, ge=0, le=1, description="more unanswered questions are an error")


class OpenAITeacher(Settings):
    """Any server that speaks OpenAI's chat completions; ``base_url`` names one that is not OpenAI's own.

    The key comes from the environment variable ``api_key_variable``; a server of one's own may need none. Up to
    ``max_draws`` answers are drawn for a question, until one passes ``annotation.keep``.
    """

    kind: Literal["openai"] = "openai"
    model: str
    base_url: str | None = None
    api_key_variable: str = "OPENAI_API_KEY"
    sampling: Sampling = Sampling()
    max_draws: int = Field(default=1, ge=1)
    limits: Limits = Limits()


class ScriptedTeacher(Settings):
    """Answers written elsewhere, for example by a batch job: JSON Lines with ``id`` (a question's) and ``output``."""

    kind: Literal["scripted"] = "scripted"
    answers: FolderPath


def _kind_shorthand(value: Any) -> Any:
    """A bare name stands for a section with no settings but its kind."""
    return {"kind": value} if isinstance(value, str) else value


Teacher = DatasetTeacher | HumanTeacher | AnswerOnlyTeacher | ProceduralTeacher | OpenAITeacher | ScriptedTeacher

TeacherConfig = Annotated[Annotated[Teacher, Field(discriminator="kind")], BeforeValidator(_kind_shorthand)]


class _Perturbation(Settings):
    """Base of the ways to make rationales worse: a ``share`` of them, chosen by ``seed``."""

    share: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0


class Removed(_Perturbation):
    """No rationale, only the answer."""

    kind: Literal["removed"] = "removed"


class Truncated(_Perturbation):
    """The first ``keep_share`` of a rationale's words, or its first ``num_words`` where that is set."""

    kind: Literal["truncated"] = "truncated"
    keep_share: float = Field(default=0.5, ge=0, lt=1)
    num_words: int | None = Field(default=None, ge=0)


class Shuffled(_Perturbation):
    """Sentences in a random order."""

    kind: Literal["shuffled"] = "shuffled"


class Corrupted(_Perturbation):
    """Every number replaced by another one of as many digits."""

    kind: Literal["corrupted"] = "corrupted"


class Swapped(_Perturbation):
    """Another question's rationale."""

    kind: Literal["swapped"] = "swapped"


class Padded(_Perturbation):
    """Filler behind a rationale up to ``num_words`` words."""

    kind: Literal["padded"] = "padded"
    num_words: int = Field(ge=1)
    filler: str = Field(default="...", pattern=r"\S")


Perturbation = Removed | Truncated | Shuffled | Corrupted | Swapped | Padded


class AnnotationConfig(Settings):
    """Which rationales: ``granularity`` 1 (coarse) to 6 (fine), ``format``, and which of them to keep.

    ``keep: agree`` drops rationales whose teacher stated another answer than the gold one; ``verified`` also those with
    false arithmetic, another conclusion than that answer, leaked slot names, repetition or a cut end. Granularity and
    format say nothing of the human and answer_only teachers and are ignored by them.
    """

    granularity: int | None = Field(default=3, ge=1, le=6)
    format: Format = "cot"
    keep: Literal["all", "agree", "verified"] = "all"
    answer_conditioned: bool = Field(
        default=False, description="show the gold answer to a teacher that is asked; its rationales then say so"
    )
    perturbation: Annotated[
        Annotated[Perturbation, Field(discriminator="kind")] | None, BeforeValidator(_kind_shorthand)
    ] = None
    decontaminate: Literal["off", "report", "questions", "ngrams"] = Field(
        default="questions",
        description="leave out evaluation questions, by their words (questions) or also by 13 words in a row (ngrams)",
    )


# ---- training -------------------------------------------------------------------------------------------------------

RegionName = Literal["all", "rationale", "answer"]
"""Which response tokens a loss term sees. ``answer`` includes the stop token; ``all`` is rationale and answer."""


class CrossEntropy(Settings):
    """Negative log-likelihood of the rationale's own tokens."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    weight: float = Field(default=1.0, gt=0)
    region: RegionName = "all"


class Divergence(Settings):
    """Base of the divergences between the teacher's and the student's next-token distributions.

    They are taken at a temperature and multiplied by its square; formulas and sources are in ``training/losses.py``.
    """

    weight: float = Field(default=1.0, gt=0)
    region: RegionName = "all"
    temperature: float = Field(default=1.0, gt=0)


class ForwardKL(Divergence):
    """KL(teacher || student): the first paper's loss."""

    kind: Literal["forward_kl"] = "forward_kl"


class ReverseKL(Divergence):
    """KL(student || teacher)."""

    kind: Literal["reverse_kl"] = "reverse_kl"


class JensenShannon(Divergence):
    """Generalised Jensen-Shannon divergence; ``beta`` is the teacher's share of the mixture."""

    kind: Literal["jensen_shannon"] = "jensen_shannon"
    beta: float = Field(default=0.5, gt=0, lt=1)


class SkewForwardKL(Divergence):
    """KL(teacher || mixture); ``alpha`` is the teacher's share of the mixture."""

    kind: Literal["skew_forward_kl"] = "skew_forward_kl"
    alpha: float = Field(default=0.1, gt=0, lt=1)


class SkewReverseKL(Divergence):
    """KL(student || mixture); ``alpha`` is the student's share of the mixture."""

    kind: Literal["skew_reverse_kl"] = "skew_reverse_kl"
    alpha: float = Field(default=0.1, gt=0, lt=1)


class TotalVariation(Divergence):
    """Half the L1 distance."""

    kind: Literal["total_variation"] = "total_variation"


class AlphaBeta(Divergence):
    """Alpha-beta divergence; near (1, 0) it is forward KL, near (0, 1) reverse KL."""

    kind: Literal["alpha_beta"] = "alpha_beta"
    alpha: float = Field(default=0.5, gt=0)
    beta: float = Field(default=0.5, gt=0)


TokenLoss = CrossEntropy | Divergence
"""What is computed from logits, token by token."""

LayerMap = Literal["uniform", "last"] | Annotated[tuple[tuple[NonNegativeInt, NonNegativeInt], ...], Len(1)]
"""Which layers are matched: pairs of student and teacher layer, 0 being the embeddings, or a name for such pairs."""


class HiddenTerm(Settings):
    """Base of the distances between hidden states, averaged over pairs of layers (``training/hidden_matching.py``)."""

    weight: float = Field(default=1.0, gt=0)
    region: RegionName = "all"
    layers: LayerMap = "uniform"


class HiddenMSE(HiddenTerm):
    """The mean squared difference of hidden states."""

    kind: Literal["hidden_mse"] = "hidden_mse"


class HiddenCosine(HiddenTerm):
    """One minus the cosine of hidden states."""

    kind: Literal["hidden_cosine"] = "hidden_cosine"


LossConfig = Annotated[
    Annotated[
        CrossEntropy
        | ForwardKL
        | ReverseKL
        | JensenShannon
        | SkewForwardKL
        | SkewReverseKL
        | TotalVariation
        | AlphaBeta
        | HiddenMSE
        | HiddenCosine,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_kind_shorthand),
]

Dtype = Literal["auto", "float32", "bfloat16"]


class ModelConfig(Settings):
    """A causal language model: a folder, a hub name or ``builtin:smollm2-135m | nano-teacher | nano-student``."""

    model: str
    revision: str | None = None
    keep_layers: int | None = Field(default=None, ge=1, description="cut to so many evenly spaced layers")
    trust_remote_code: bool = False
    allow_pickle: bool = Field(default=False, description="also load weights that are neither safetensors nor GGUF")

    @field_validator("model")
    @classmethod
    def folder_of_its_own(cls, model: str, info: ValidationInfo) -> str:
        """A name that is written as a path is one, relative to the run file; others are hub or built-in names."""
        return str(_from_folder(Path(model), info)) if model.startswith((".", "/", "~")) else model


def _model_shorthand(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


Model = Annotated[ModelConfig, BeforeValidator(_model_shorthand)]


Alignment = Literal["none", "sorted_probability", "byte_offset"]
"""How a teacher's tokens are held against a student's: they are the same; by rank; or where both end in the text."""


class LiveTeacher(Settings):
    """The teacher's distributions, computed while training.

    A teacher with another tokenizer needs an ``alignment``: ``byte_offset`` for any divergence, or
    ``sorted_probability`` (ULD) for total_variation (``training/alignment.py`` says what they compare).
    """

    kind: Literal["live"] = "live"
    model: Model
    alignment: Alignment = "none"


class CachedTeacher(Settings):
    """The teacher's distributions, captured once and then read from disk: no teacher in memory while training.

    ``hidden`` is exact (last hidden states); ``topk`` keeps the ``k`` likeliest tokens and the mass of all others;
    ``sampled`` keeps ``num_samples`` draws, an unbiased estimate of forward KL.
    """

    kind: Literal["cache"] = "cache"
    model: Model
    store: Literal["hidden", "topk", "sampled"] = "hidden"
    k: int = Field(default=64, ge=1, description="tokens a position, for topk")
    num_samples: int = Field(default=16, ge=1, description="draws a position, for sampled")
    path: FolderPath | None = Field(default=None, description="a captured folder; default: found or made in runs")


def _signal_shorthand(value: Any) -> Any:
    return {"kind": "live"} | value if isinstance(value, dict) else value


SignalConfig = Annotated[
    Annotated[LiveTeacher | CachedTeacher, Field(discriminator="kind")], BeforeValidator(_signal_shorthand)
]


class TrainingConfig(Settings):
    """How the student is trained. Batches are counted in examples, micro-batches in tokens (padding included)."""

    epochs: float = Field(default=3.0, gt=0)
    learning_rate: float = Field(default=5.0e-5, gt=0)
    batch_size: int = Field(default=16, ge=1, description="examples per optimizer step")
    max_batch_tokens: int = Field(default=4096, ge=1, description="tokens per forward pass; steps accumulate over them")
    max_length: int = Field(default=1024, ge=8, description="tokens of prompt and response together")
    too_long: Literal["drop", "error"] = "drop"
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    loss: tuple[LossConfig, ...] = (CrossEntropy(),)
    signal: SignalConfig | None = None
    dtype: Dtype = "auto"
    checkpoint_every: int = Field(default=200, ge=1, description="optimizer steps")

    @model_validator(mode="after")
    def signal_where_needed(self) -> TrainingConfig:
        if not self.loss:
            raise ValueError("loss is empty; give at least one term, for example {kind: cross_entropy}")
        needing = [term.kind for term in self.loss if term.kind != "cross_entropy"]
        if needing and self.signal is None:
            raise ValueError(
                f"loss {needing[0]} needs a teacher; add signal: {{kind: live, model: ...}} or use cross_entropy"
            )
        if self.signal is not None and not needing:
            raise ValueError("signal is set but no loss term uses it; add a forward_kl term or delete signal")
        return self

    @model_validator(mode="after")
    def hidden_states_where_needed(self) -> TrainingConfig:
        for term in self.loss:
            if isinstance(term, HiddenTerm):
                if not isinstance(self.signal, LiveTeacher):
                    raise ValueError(f"{term.kind} needs all layers of the teacher; use signal: {{kind: live, ...}}")
                if self.signal.alignment != "none":
                    raise ValueError(f"{term.kind} needs a teacher that reads the same tokens; delete signal.alignment")
        return self

    @model_validator(mode="after")
    def terms_that_the_alignment_supports(self) -> TrainingConfig:
        if isinstance(self.signal, LiveTeacher) and self.signal.alignment == "sorted_probability":
            for term in self.loss:
                if isinstance(term, Divergence) and not isinstance(term, TotalVariation):
                    raise ValueError(
                        f"sorted probabilities are compared by total_variation only, not {term.kind}; use "
                        "total_variation (with weight 2 it is ULD's distance) or alignment: byte_offset"
                    )
        return self

    @model_validator(mode="after")
    def terms_that_the_signal_supports(self) -> TrainingConfig:
        if not isinstance(self.signal, CachedTeacher) or self.signal.store == "hidden":
            return self
        for term in self.loss:
            if isinstance(term, Divergence) and term.temperature != 1.0:
                raise ValueError(
                    f"a {self.signal.store} signal holds the distribution at temperature 1, not {term.temperature:g}; "
                    "use store: hidden, or temperature 1"
                )
            if self.signal.store == "sampled" and isinstance(term, Divergence) and not isinstance(term, ForwardKL):
                raise ValueError(f"a sampled signal gives forward_kl only, not {term.kind}; use store: hidden or topk")
        return self


# ---- evaluation and runs --------------------------------------------------------------------------------------------


class EvaluationConfig(Settings):
    """On what and how the student is tested: by default, greedy decoding of the prompt that it was trained with."""

    tasks: tuple[TaskConfig, ...] | None = Field(default=None, description="default: the run's own task")
    prompt: Literal["auto", "rationale", "answer"] = Field(
        default="auto", description="auto: as trained; a base student is asked for a rationale"
    )
    few_shot: Literal[0, 3] = Field(default=0, description="3: the official raw prompts of bbh, in place of prompt")
    max_new_tokens: int = Field(default=320, ge=1)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        default=None, description="texts that end an output; default: with few_shot, an empty line or a next question"
    )
    temperature: float = Field(default=0.0, ge=0, description="0: greedy")
    num_samples: int = Field(default=1, ge=1, description="outputs a question, which vote on the answer")
    seed: int = Field(default=0, description="of what is drawn at a temperature")
    max_batch_size: int = Field(default=64, ge=1)
    dtype: Dtype = "auto"

    @model_validator(mode="after")
    def samples_differ(self) -> EvaluationConfig:
        if self.num_samples > 1 and self.temperature == 0:
            raise ValueError("several samples need a temperature above 0: greedy ones are all the same")
        return self


class RunConfig(Settings):
    """One arm: questions, their rationales, a student, its training and its test. ``training: null`` is the base."""

    task: TaskConfig
    teacher: TeacherConfig = AnswerOnlyTeacher()
    annotation: AnnotationConfig = AnnotationConfig()
    student: Model
    training: TrainingConfig | None = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    seed: int = 0


class Comparison(Settings):
    """Two arms by name, declared before the run: the difference reported is accuracy of ``a`` minus that of ``b``."""

    a: str
    b: str


class Run(Settings):
    """A run file, resolved: its question, its arms in order, and the comparisons declared between them."""

    name: str
    question: str = ""
    arms: dict[str, RunConfig]
    comparisons: tuple[Comparison, ...] = ()

    @model_validator(mode="after")
    def compared_arms_exist(self) -> Run:
        for comparison in self.comparisons:
            for arm in (comparison.a, comparison.b):
                if arm not in self.arms:
                    raise ValueError(f"comparison of unknown arm {arm!r}; {nearest(arm, self.arms)}")
        return self


def load_run(path: Path, overrides: dict[str, Any] | None = None) -> Run:
    """Read a run file (YAML) and apply ``overrides`` (dotted keys) to its base, and so to all its arms.

    Keys ``question``, ``arms`` and ``comparisons`` belong to the file; all others are RunConfig's. Paths in the file
    are relative to the folder of the file. Raises ConfigError naming key, value and remedy.
    """
    base = _read_yaml(path)
    question, arms, comparisons = (base.pop(key, None) for key in ("question", "arms", "comparisons"))
    if arms is not None and not (isinstance(arms, dict) and all(isinstance(v, dict | None) for v in arms.values())):
        raise ConfigError("arms must map a name to its overrides", where=f"{path}, arms")
    resolved: dict[str, RunConfig] = {}
    for name, changes in (arms or {path.stem: {}}).items():
        values = json.loads(json.dumps(base, default=str))
        for key, value in ((overrides or {}) | (changes or {})).items():
            set_dotted(values, key, value)
        where = f"{path}, arm {name}" if arms else str(path)
        resolved[str(name)] = validated(RunConfig, values, where=where, folder=path.parent)
    run_name = path.stem if path.stem != "run" else path.resolve().parent.name
    fields = {
        "name": run_name,
        "question": question or "",
        "arms": resolved,
        "comparisons": comparisons or (),
    }
    return validated(Run, fields, where=str(path))


def validated(model: type[Settings], values: dict[str, Any], *, where: str, folder: Path | None = None) -> Any:
    """``model`` made from ``values``; pydantic's first complaint becomes one ConfigError line.

    Relative paths in ``values`` are taken from ``folder``, by default from the working folder.
    """
    try:
        return model.model_validate(values, context={"folder": folder or Path()})
    except ValidationError as error:
        raise _config_error(model, error, where) from None


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Set ``training.epochs`` style keys in nested dictionaries, making sections that are missing or shorthand."""
    *sections, last = key.split(".")
    for section in sections:
        child = values.get(section)
        if isinstance(child, str):
            child = _shorthand_section(section, child)
        if child is None:
            child = {}
        if not isinstance(child, dict):
            raise ConfigError(f"cannot set {key!r}: {section!r} is {child!r}, not a section", where="override")
        values[section] = child
        values = child
    values[last] = value


def _shorthand_section(section: str, name: str) -> dict[str, Any]:
    """The section that a bare name stands for, so that a setting of it can be overridden."""
    if section == "task":
        return _task_shorthand(name)
    return {"model": name} if section in ("student", "model") else {"kind": name}


def parse_overrides(settings: list[str]) -> dict[str, Any]:
    """``["training.epochs=1"]`` as ``{"training.epochs": 1}``; values are YAML."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected KEY=VALUE, found {setting!r}", where="--set")
        try:
            parsed[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"{text!r} is no YAML value", where=f"--set {key}") from None
    return parsed


def to_yaml(settings: Settings) -> str:
    """The resolved settings as YAML that :func:`load_run` reads back."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError("no such file", where=path, remedy="check the path")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError(f"not valid YAML ({getattr(error, 'problem', error)})", where=where) from None
    if not isinstance(values, dict):
        raise ConfigError("expected a mapping of settings", where=path)
    return values


def _config_error(model: type[Settings], error: ValidationError, where: str) -> ConfigError:
    """One line from pydantic's first complaint: the key, the value, and the nearest right name or the type wanted."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *_, last = first["loc"]
        return ConfigError(
            f"unknown key {key!r}",
            where=where,
            remedy=nearest(str(last), _sibling_keys(model, first["loc"][:-1])),
        )
    if first["type"] == "missing":
        return ConfigError(f"{key!r} is missing", where=where, remedy="add it")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return ConfigError(message, where=f"{where}, {key}" if key else where)
    value = first["input"]
    if first["type"] == "union_tag_invalid":
        context = first.get("ctx", {})
        tag, expected = context["tag"], context["expected_tags"].replace("'", "")
        return ConfigError(f"unknown kind {tag!r}", where=f"{where}, {key}", remedy=nearest(tag, expected.split(", ")))
    return ConfigError(f"{value!r} for {key!r}: {message[:1].lower()}{message[1:]}", where=where)


def _sibling_keys(model: Any, location: tuple[Any, ...]) -> list[str]:
    """The keys that are known where ``location`` points to, found by walking the model's schema."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    nodes = [schema]
    for part in location:
        nodes = [child for node in nodes for child in _child_nodes(node, part, definitions)]
    return sorted({key for node in nodes for key in node.get("properties", {})})


def _child_nodes(node: dict[str, Any], part: Any, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(part, int):
        children = _variants(node.get("items", {}), definitions)
    elif part in node.get("properties", {}):
        children = _variants(node["properties"][part], definitions)
    else:  # a discriminator's value, which pydantic puts into the location: keep the variant of that kind
        kind = node.get("properties", {}).get("kind", {})
        children = [node] if kind.get("const") == part else []
    return children


def _variants(node: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _variants(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    options = node.get("anyOf", []) + node.get("oneOf", [])
    return [leaf for option in options for leaf in _variants(option, definitions)] if options else [node]
