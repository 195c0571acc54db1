"""Offline rollouts: the student's samples are drawn once, before any training, and are then examples like others.

As in Lightning OPD (arXiv 2604.13010), they are those of the student that trainings start from, so arms, seeds and
epochs share them, and the teacher scores them once. Two stages: ``rollouts`` holds what the student wrote for each
prompt, ``tokens`` the examples that this makes of a training's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from cotdistill.config import (
    Model,
    OnPolicy,
    RolloutServer,
    Sampling,
    ServedModel,
    TrainingConfig,
    TransformersModel,
    VLLMModel,
    VLLMSettings,
)
from cotdistill.engines.asking import CompletionLog, ask, refuse_failures
from cotdistill.engines.engine import BROKEN_OFF, EMPTY, MALFORMED, REFUSED, Completion, Failed, Request
from cotdistill.engines.opening import identity_of, open_engine
from cotdistill.errors import ModelError
from cotdistill.models.load.loading import load_tokenizer, model_identity, pick_device, resolve_dtype
from cotdistill.models.load.positions import stated_positions
from cotdistill.models.tokens.template import decode
from cotdistill.models.tokens.thinking import settle
from cotdistill.progress import track
from cotdistill.storage.finished import open_finished
from cotdistill.storage.hashes import content_key
from cotdistill.storage.stages import open_stage
from cotdistill.tasks.segments import Region
from cotdistill.training.data.examples import Example
from cotdistill.training.data.store import FILE, StoredExamples, Tokens, write_examples
from cotdistill.training.held_out import Checks
from cotdistill.training.rollouts import MAX_ROWS, counts_of, refuse_too_long, sampled

VERSION = 1
"""Raised whenever a change of code changes which samples are drawn, or what examples they become."""

LOG = "rollouts.jsonl"


@dataclass(frozen=True, slots=True)
class Drawn:
    """The sample of each of a training's examples, in their order; ``summary`` counts them."""

    path: Path
    examples: StoredExamples
    summary: dict[str, Any]

    @property
    def highest(self) -> int:
        """The highest token id."""
        return self.summary["highest"]

    def trained(self, checks: Checks | None) -> Sequence[Example]:
        """Those for the prompts that are not held out."""
        return self.examples.parted(checks.ids)[0] if checks and checks.ids else self.examples

    def line(self) -> str:
        """How the samples are, in words."""
        said = "{num_samples:,} samples of the student before training: {mean_length:.1f} tokens on average, "
        said += "{truncated:,} cut off, {repeated:,} caught in a loop"
        if self.summary["tokenised_again"]:
            said += "; {tokenised_again:,} came as text, whose tokens may be others than those written"
        return said.format(**self.summary)


def make_drawn(student: Model, tokens: Tokens, config: TrainingConfig, runs: Path) -> Drawn | None:
    """The samples for the prompts of ``tokens``, drawn if they are not there yet; None if none is drawn beforehand.

    Raises TrainingError for a prompt that leaves no room, DataError for samples that a server does not give, ModelError
    for what another model's server gives.
    """
    if config.on_policy is None or not config.offline_samples:
        return None
    keys = _keys(tokens.examples)
    rollouts = _draw(student, tokens.examples, keys, config, runs)
    identity = {"version": VERSION, "rollouts": rollouts.name, "tokens": tokens.path.name}
    with open_stage(runs, "tokens", identity) as stage:
        if not stage.finished:
            tokenizer = load_tokenizer(student)
            settle(tokenizer, config.response)
            with CompletionLog(rollouts / LOG, with_tokens=True) as log:
                made = _Samples(tokenizer, tokens.examples, keys, log)
                unfinished = stage.path / f"{FILE}.tmp"
                highest = write_examples(unfinished, made)
            made.refuse_another_vocabulary(config.on_policy)
            unfinished.replace(stage.path / FILE)
            stage.finish({"highest": highest, **made.summary()}, seeds={}, dropped={})
        return read_drawn(stage.path)


def read_drawn(path: Path) -> Drawn:
    """The samples in the folder of a finished stage."""
    done = open_finished(path)
    return Drawn(path, StoredExamples(done.file(FILE)), done.summary)


def scored(config: TrainingConfig, examples: Sequence[Example], drawn: Drawn | None) -> Sequence[Example]:
    """What a stored signal must have: the examples of all steps that there are, and those held out."""
    if drawn is None:
        return examples
    assert config.on_policy is not None
    on_samples_alone = config.on_policy.share == 1 and config.validation is None
    return drawn.examples if on_samples_alone else [*examples, *drawn.examples]


def longest_samples(examples: Sequence[Example], on_policy: OnPolicy) -> list[Example]:
    """Stand-ins for samples that are not drawn yet: as long as they may become."""
    length = on_policy.longest
    return [example.with_response([0] * length, [Region.RATIONALE] * length) for example in examples]


def _keys(examples: Sequence[Example]) -> list[str]:
    """What a sample is kept under: its prompt, and how many examples before it have the same one."""
    drawn: Counter[str] = Counter()
    keys = []
    for example in examples:
        prompt = content_key(example.prompt)
        keys.append(f"{prompt}-{drawn[prompt]}")
        drawn[prompt] += 1
    return keys


def _draw(student: Model, examples: Sequence[Example], keys: Sequence[str], config: TrainingConfig, runs: Path) -> Path:
    """The folder of what the student writes for each prompt."""
    assert config.on_policy is not None
    asked = _asked(student, config.on_policy, config)
    identity = {
        "version": VERSION,
        "student": model_identity(student),
        "engine": identity_of(asked),
        "sampling": asked.sampling.model_dump(mode="json", exclude_defaults=True),
        "prompts": content_key(keys),
    }
    with open_stage(runs, "rollouts", identity) as stage:
        if not stage.finished:
            refuse_too_long(stated_positions(student), max(examples, key=_prompt_length), config.on_policy)
            raw = isinstance(asked, ServedModel)
            requests = (Request(key, e.prompt, e.id, raw=raw) for key, e in zip(keys, examples, strict=True))
            with CompletionLog(stage.path / LOG, with_tokens=True) as log:
                done = sum(key in log for key in keys)
                with track("rollouts", len(keys), done=done) as progress:
                    failed = ask(open_engine(asked), requests, log, progress) if done < len(keys) else {}
                answers = (log[key] for key in keys if key in log)
                unusable = [Failed(one.key, problem) for one in answers if (problem := _problem(one))]
                remedy = f"check the server, and remove what is unusable from {LOG}"
                refuse_failures([*failed.values(), *unusable], len(keys), where=str(stage.path), remedy=remedy)
                input_tokens, output_tokens = log.num_tokens()
            counts = {"num_samples": len(keys), "input_tokens": input_tokens, "output_tokens": output_tokens}
            stage.finish(counts, seeds={}, dropped={})
        return stage.path


def _prompt_length(example: Example) -> int:
    return example.num_prompt_tokens


def _asked(student: Model, on_policy: OnPolicy, config: TrainingConfig) -> ServedModel | TransformersModel | VLLMModel:
    """The student as it is before training, in its engine; a server is asked for the tokens that it writes."""
    engine, sampling = on_policy.engine, Sampling(temperature=on_policy.temperature, max_new_tokens=on_policy.longest)
    if isinstance(engine, RolloutServer):
        return engine.served.model_copy(update={"sampling": sampling, "extra_body": {"return_token_ids": True}})
    dtype = resolve_dtype(config.dtype, pick_device())
    how = {"model": student, "sampling": sampling, "dtype": str(dtype).removeprefix("torch.")}
    if isinstance(engine, VLLMSettings):
        return VLLMModel.model_validate(engine.model_dump() | how)
    return TransformersModel.model_validate(how | {"max_batch_size": MAX_ROWS})


def _problem(completion: Completion) -> str | None:
    """Why a sample is of no use; one that ends at once or within a thought is what the student writes."""
    if completion.problem in (BROKEN_OFF, REFUSED, MALFORMED):
        return completion.problem
    nothing = completion.truncated and not (completion.token_ids or completion.raw)
    return EMPTY if nothing else None


class _Samples:
    """Goes through samples once, and notes how they are."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], keys: Sequence[str], log: CompletionLog
    ):
        self._tokenizer, self._examples, self._keys, self._log = tokenizer, examples, keys, log
        self._counts: Counter[str] = Counter()
        self._special = frozenset(tokenizer.all_special_ids)

    def __iter__(self) -> Iterator[Example]:
        with track("tokens of rollouts", len(self._keys)) as progress:
            for example, key in zip(self._examples, self._keys, strict=True):
                completion = self._log[key]
                sample = sampled(self._tokenizer, example, self._ids(completion), finished=not completion.truncated)
                self._counts.update(counts_of(self._tokenizer, [sample]))
                progress.advance()
                yield sample

    def _ids(self, completion: Completion) -> Sequence[int]:
        """The tokens that were written, without a stop token; those of the text if they did not come."""
        ids = completion.token_ids
        if not ids and completion.raw:
            self._counts["tokenised_again"] += 1
            return self._tokenizer(completion.raw, add_special_tokens=False)["input_ids"]  # pyright: ignore
        if ids and not completion.truncated and ids[-1] in self._special:
            ids = ids[:-1]
        if not all(0 <= token_id < len(self._tokenizer) for token_id in ids):
            self._counts["foreign"] += 1
            return [token_id for token_id in ids if 0 <= token_id < len(self._tokenizer)]
        if completion.reasoning is None and decode(self._tokenizer, ids).strip() != completion.raw.strip():
            self._counts["foreign"] += 1
        return ids

    def refuse_another_vocabulary(self, on_policy: OnPolicy) -> None:
        """Ids fit any vocabulary that is large enough, so the words that a server reads in them are compared."""
        foreign = self._counts["foreign"]
        if isinstance(on_policy.engine, RolloutServer) and foreign * 2 > len(self._keys):
            raise ModelError(
                f"{foreign} of {len(self._keys)} samples have tokens with another text in the student's vocabulary",
                where=f"training.on_policy.engine, {on_policy.engine.served.at}",
                remedy="serve the student itself, as it is before training",
            )

    def summary(self) -> dict[str, Any]:
        number = len(self._keys)
        counts = {name: self._counts[name] for name in ("truncated", "repeated", "tokenised_again")}
        return {"num_samples": number, "mean_length": self._counts["tokens"] / number, **counts}
