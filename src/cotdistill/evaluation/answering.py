"""A model's answers to questions: its completions, judged, and the vote over several samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cotdistill.config import (
    EvaluationConfig,
    Message,
    Model,
    Sampling,
    ServedModel,
    ServerSettings,
    TransformersModel,
    VLLMModel,
    VLLMSettings,
)
from cotdistill.engines.asking import PROMPT_TOO_LONG, CompletionLog, ask, refuse_failures
from cotdistill.engines.engine import Completion, Engine, Failed, Request
from cotdistill.engines.opening import name_of, open_engine
from cotdistill.errors import DataError
from cotdistill.evaluation.judging import Judging
from cotdistill.evaluation.readers import Judge, is_slow, judge_of
from cotdistill.progress import Progress, track
from cotdistill.records import AnswerType, Prediction, Question, Tally, Verdict
from cotdistill.storage.hashes import content_key
from cotdistill.tasks.answers.reading import same_answer
from cotdistill.tasks.few_shot import STOPS

LOG = "completions.jsonl"


def asked_model(model: Model, config: EvaluationConfig) -> ServedModel | TransformersModel | VLLMModel:
    """The evaluated model, in the engine and with the sampling of ``config``."""
    sampling = Sampling(
        temperature=config.temperature,
        max_new_tokens=config.max_new_tokens,
        seed=config.seed if config.temperature else None,
        stop=stop_strings(config),
    )
    engine = {name: getattr(config.engine, name) for name in type(config.engine).model_fields}
    if isinstance(config.engine, ServerSettings):
        if model.system is not None:
            engine["system"] = model.system
        return ServedModel(model=model.model, sampling=sampling, **engine)
    if isinstance(config.engine, VLLMSettings):
        return VLLMModel(model=model, sampling=sampling, dtype=config.dtype, **engine)
    return TransformersModel(model=model, sampling=sampling, dtype=config.dtype, max_batch_size=config.max_batch_size)


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions with their prompts. ``first_statement`` says which statement of a completion is its answer."""

    questions: Sequence[Question]
    prompts: Sequence[str | tuple[Message, ...]]
    first_statement: bool = False

    def requests(self, config: EvaluationConfig) -> Iterator[Request]:
        """A few-shot prompt is raw text to be continued, and begins like all others of its task."""
        raw = config.few_shot > 0
        for question, prompt in zip(self.questions, self.prompts, strict=True):
            for draw, key in enumerate(keys(question, config)):
                seed, group = f"{config.seed}/{question.task}/{question.id}/{draw}", question.task if raw else ""
                yield Request(key, prompt, question.id, draw, raw=raw, group=group, seed=seed)


def keys(question: Question, config: EvaluationConfig) -> list[str]:
    """The keys under which a question's completions are kept."""
    return [content_key([question.task, question.id, draw]) for draw in range(config.num_samples)]


def answer(
    model: Model, asked: Asked, config: EvaluationConfig, folder: Path
) -> tuple[list[Prediction], dict[str, int]]:
    """Predictions in the order of the questions, and counts by reason of questions that were not asked.

    Completions are kept in ``completions.jsonl``; a resumed run asks only for what is missing. Raises DataError if no
    prompt leaves the model room, and if requests stay unanswered.
    """
    settings = asked_model(model, config)
    judge = judge_of(config.reader, asked.questions, first=asked.first_statement)
    engine = open_engine(settings, num_beams=config.num_beams, max_reasoning_tokens=config.max_reasoning_tokens)
    number = len(asked.questions) * config.num_samples
    with CompletionLog(folder / LOG) as log:
        done = sum(key in log for question in asked.questions for key in keys(question, config))
        with track("evaluate", number, done=done) as progress:
            return answer_with(engine, judge, asked, config, log, progress, name=name_of(settings))


def answer_with(
    engine: Engine,
    judge: Judge,
    asked: Asked,
    config: EvaluationConfig,
    log: CompletionLog,
    progress: Progress,
    *,
    name: str,
) -> tuple[list[Prediction], dict[str, int]]:
    """:func:`answer` by an open engine, whose model is called ``name``; what is in ``log`` is not asked again."""
    requests = list(asked.requests(config))
    slow = {key: each for each in asked.questions if is_slow(config.reader, each) for key in keys(each, config)}
    with Judging(judge, slow) as judging:
        judging.begin(log[key] for key in slow if key in log)
        failed = ask(engine, requests, log, progress, kept=judging.begin)
        too_long = {key: failure for key, failure in failed.items() if failure.reason == PROMPT_TOO_LONG}
        _refuse_if_none_fits(too_long, len(requests), config.max_new_tokens)
        others = [failure for failure in failed.values() if failure.key not in too_long]
        refuse_failures(others, len(requests), where=f"model {name}")
        predictions = []
        for question in asked.questions:
            first, *_ = own = keys(question, config)
            if first in too_long:
                tokens = too_long[first].input_tokens
                cut = _prediction(question, "", None, "truncated", tokens, 0)
                predictions.append(vote([cut] * config.num_samples, question.answer_type))
            else:
                judged = [_judged(question, log[key], judging) for key in own]
                predictions.append(vote(judged, question.answer_type))
    num_too_long = len(too_long) // config.num_samples
    return predictions, {PROMPT_TOO_LONG: num_too_long} if too_long else {}


def _refuse_if_none_fits(too_long: dict[str, Failed], num_requests: int, max_new_tokens: int) -> None:
    if len(too_long) == num_requests:
        shortest = min(failure.input_tokens for failure in too_long.values())
        raise DataError(
            f"no prompt leaves room for {max_new_tokens} new tokens within the model's positions "
            f"(the shortest has {shortest} tokens)",
            where="evaluation",
            remedy="lower evaluation.max_new_tokens",
        )


def _judged(question: Question, completion: Completion, judging: Judging) -> Prediction:
    verdict = judging(completion, question)
    made = _prediction(question, completion.whole, *verdict, completion.input_tokens, completion.output_tokens)
    return replace(made, num_reasoning_tokens=_reasoning_tokens(completion), num_unclosed=int(not completion.closed))


def _reasoning_tokens(completion: Completion) -> int | None:
    """None where a server thought and did not say how much."""
    return completion.reasoning_tokens if completion.reasoning or completion.reasoning_tokens else 0


def stop_strings(config: EvaluationConfig) -> tuple[str, ...]:
    """What ends a completion besides the stop tokens."""
    return config.stop if config.stop is not None else STOPS.get(config.few_shot, ())


def vote(samples: Sequence[Prediction], answer_type: AnswerType) -> Prediction:
    """The first sample with the commonest answer, in whatever form; ties go to the answer given first.

    Its tokens of output are those of all samples. If no sample can be read, the first one counts.
    """
    if len(samples) == 1:
        return samples[0]
    votes = _votes(samples, answer_type)
    winner = max(votes, key=lambda answer: votes[answer]) if votes else None
    chosen = next(sample for sample in samples if sample.extracted == winner)
    wrong = _votes([sample for sample in samples if not sample.correct], answer_type).values()
    tally = Tally(len(samples), sum(sample.correct for sample in samples), tuple(sorted(wrong, reverse=True)))
    thought = [sample.num_reasoning_tokens for sample in samples]
    return replace(
        chosen,
        num_output_tokens=sum(sample.num_output_tokens for sample in samples),
        num_reasoning_tokens=None if None in thought else sum(filter(None, thought)),
        num_unclosed=sum(sample.num_unclosed for sample in samples),
        samples=tally,
    )


def _votes(samples: Sequence[Prediction], answer_type: AnswerType) -> dict[str, int]:
    """How many samples state each answer, in the form in which it came first."""
    votes: dict[str, int] = {}
    for given in (sample.extracted for sample in samples if sample.extracted is not None):
        answer = next((known for known in votes if same_answer(given, known, answer_type)), given)
        votes[answer] = votes.get(answer, 0) + 1
    return votes


def _prediction(
    question: Question, text: str, stated: str | None, verdict: Verdict, prompt_tokens: int, output_tokens: int
) -> Prediction:
    asked = (question.id, question.task, question.answer)
    return Prediction(*asked, text, stated, verdict, prompt_tokens, output_tokens)
