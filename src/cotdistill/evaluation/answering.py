"""A model's answers to prompts, batch by batch: resumable, cut at stop strings, by one output or a vote of several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from cotdistill.config import EvaluationConfig, Model
from cotdistill.errors import DataError
from cotdistill.models.generate.beams import beam_search
from cotdistill.models.generate.generation import Generated, Sampling, generate, num_positions
from cotdistill.models.generate.stopping import cut_at_stop, holds_a_stop
from cotdistill.models.load.loading import load_model, load_tokenizer, pick_device, resolve_dtype
from cotdistill.models.tokens.template import decode, encode_prompt, stop_token_ids
from cotdistill.progress import track
from cotdistill.records import AnswerType, Prediction, Question, Verdict
from cotdistill.storage.jsonl import RowAppender
from cotdistill.tasks.answers.reading import judge, same_answer
from cotdistill.tasks.few_shot import STOPS


def answer(
    config_model: Model,
    questions: Sequence[Question],
    texts: Sequence[str],
    config: EvaluationConfig,
    folder: Path,
    *,
    first_statement: bool = False,
) -> tuple[list[Prediction], dict[str, int]]:
    """Predictions in the order of the questions, and counts by reason of those that were not asked.

    ``texts`` are the prompts; ``first_statement`` says which statement of an output is its answer. Outputs are kept in
    ``predictions.jsonl``, or in ``samples.jsonl`` where several are drawn for a question. Whole batches are appended,
    and a resumed run keeps whole ones only: the composition of a batch can change its rounding, and so it must stay.
    """
    device, draws = pick_device(), config.num_samples
    tokenizer = load_tokenizer(config_model)
    prompts = [_encode(tokenizer, text, raw=config.few_shot > 0) for text in texts]
    model = load_model(config_model, dtype=resolve_dtype(config.dtype, device), device=device)
    lengths = lengths_that_fit(list(map(len, prompts)), num_positions(model), config.max_new_tokens)
    groups = [question.task for question in questions] if config.few_shot else None
    batches = plan_batches(lengths, config.max_batch_size, groups=groups, draws=draws)
    stops = stop_strings(config)
    token_stops = stop_token_ids(model, tokenizer)
    is_complete = holds_a_stop(tokenizer, stops) if stops else None

    def judged(index: int, output: Generated) -> Prediction:
        whole = decode(tokenizer, output.token_ids)
        text = cut_at_stop(whole, stops)
        finished = output.finished or len(text) < len(whole)  # beams go on behind a stop string
        verdict = judge(text, questions[index], finished=finished, first=first_statement)
        return prediction_of(questions[index], text, *verdict, len(prompts[index]), len(output.token_ids))

    def key(index: int, draw: int) -> tuple[str, str, int]:
        return questions[index].task, questions[index].id, draw

    def written(batch: Sequence[tuple[int, int]]) -> Iterator[Generated]:
        asked, limit = [prompts[i] for i, _ in batch], config.max_new_tokens
        if config.num_beams > 1:
            beams = config.num_beams
            return beam_search(model, asked, num_beams=beams, max_new_tokens=limit, stop_token_ids=token_stops)
        return generate(
            model,
            asked,
            max_new_tokens=limit,
            max_batch_size=len(batch),
            stop_token_ids=token_stops,
            is_complete=is_complete,
            sampling=_sampling(config, [key(*unit) for unit in batch]),
        )

    with RowAppender(folder / ("samples.jsonl" if draws > 1 else "predictions.jsonl")) as appender:
        done = {(row["task"], row["id"], row.pop("sample", 0)): Prediction.from_row(row) for row in appender.rows}
        left = [batch for batch in batches if any(key(*unit) not in done for unit in batch)]
        total = len(lengths) * draws
        with track("evaluate", total, done=total - sum(map(len, left))) as progress:
            for batch in left:
                for output in written(batch):
                    unit = batch[output.index]
                    done[key(*unit)] = judged(unit[0], output)
                    progress.advance()
                for unit in batch:
                    row = done[key(*unit)].to_row()
                    appender.append(row | {"sample": unit[1]} if draws > 1 else row)
    unasked = [i for i in range(len(prompts)) if i not in lengths]
    voted = {i: vote([done[key(i, draw)] for draw in range(draws)], questions[i].answer_type) for i in lengths}
    voted |= {i: prediction_of(questions[i], "", None, "truncated", len(prompts[i]), 0) for i in unasked}
    return [voted[i] for i in range(len(prompts))], {"prompt_too_long": len(unasked)} if unasked else {}


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, *, raw: bool) -> list[int]:
    """A few-shot prompt is raw text, to be continued; any other is put to the model as it was trained to be asked."""
    return tokenizer(text)["input_ids"] if raw else encode_prompt(tokenizer, text)  # pyright: ignore[reportReturnType]


def _sampling(config: EvaluationConfig, keys: Sequence[tuple[str, str, int]]) -> Sampling | None:
    if config.temperature == 0:
        return None
    return Sampling(config.temperature, [f"{config.seed}/{task}/{id_}/{draw}" for task, id_, draw in keys])


def lengths_that_fit(lengths: Sequence[int], num_positions: int | None, max_new_tokens: int) -> dict[int, int]:
    """Prompts by index, with their lengths, that leave room for ``max_new_tokens`` in a model's positions."""
    room = math.inf if num_positions is None else num_positions - max_new_tokens
    fitting = {index: length for index, length in enumerate(lengths) if length <= room}
    if not fitting:
        raise DataError(
            f"no prompt leaves room for {max_new_tokens} new tokens in the model's {num_positions} positions "
            f"(the shortest has {min(lengths)} tokens)",
            where="evaluation",
            remedy="lower evaluation.max_new_tokens",
        )
    return fitting


def plan_batches(
    lengths: dict[int, int], max_batch_size: int, *, groups: Sequence[str] | None = None, draws: int = 1
) -> list[list[tuple[int, int]]]:
    """Batches of (prompt's index, number of the draw), longest prompts first: padding is least, and a lack of memory
    shows at once. With ``groups``, by prompt, no batch has two: its rows begin alike."""
    batches = []
    for group in dict.fromkeys(groups or [""]):
        members = [index for index in lengths if groups is None or groups[index] == group]
        order = sorted(members, key=lambda index: (-lengths[index], index))
        units = [(index, draw) for index in order for draw in range(draws)]
        batches += [units[start : start + max_batch_size] for start in range(0, len(units), max_batch_size)]
    return batches


def stop_strings(config: EvaluationConfig) -> tuple[str, ...]:
    """What ends an output besides the stop tokens."""
    return config.stop if config.stop is not None else STOPS if config.few_shot else ()


def vote(samples: Sequence[Prediction], answer_type: AnswerType) -> Prediction:
    """The first sample with the answer that most samples give, whatever its form; ties go to the answer given first.

    Its number of output tokens is that of all samples. Where none can be read, the first sample stands.
    """
    votes: dict[str, int] = {}
    for given in (sample.extracted for sample in samples if sample.extracted is not None):
        answer = next((known for known in votes if same_answer(given, known, answer_type)), given)
        votes[answer] = votes.get(answer, 0) + 1
    winner = max(votes, key=lambda answer: votes[answer]) if votes else None
    chosen = next(sample for sample in samples if sample.extracted == winner)
    return replace(chosen, num_output_tokens=sum(sample.num_output_tokens for sample in samples))


def prediction_of(
    question: Question,
    text: str,
    extracted: str | None,
    verdict: Verdict,
    num_prompt_tokens: int,
    num_output_tokens: int,
) -> Prediction:
    return Prediction(
        question.id, question.task, question.answer, text, extracted, verdict, num_prompt_tokens, num_output_tokens
    )
