"""A model behind an OpenAI-compatible server (vLLM, llama.cpp, OpenAI itself) as the evaluated one.

Requests run at the same time, and the client retries what a server refuses or loses. Each answer is durable once it has
come; a stopped evaluation asks only for what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from cotdistill.config import EvaluationConfig, ModelServer
from cotdistill.engines.lost_server import LostRequests
from cotdistill.errors import ConfigError, ModelError
from cotdistill.evaluation.answering import prediction_of, stop_strings, vote
from cotdistill.models.generate.stopping import cut_at_stop
from cotdistill.progress import track
from cotdistill.records import Prediction, Question
from cotdistill.storage.jsonl import RowAppender
from cotdistill.tasks.answers.reading import judge

Key = tuple[str, str, int]
"""Task, question id and number of the draw."""


def served_identity(name: str, server: ModelServer) -> str:
    """What stands for the model in keys: a server does not say which weights it runs."""
    return f"{name} at {server.base_url or 'api.openai.com'}"


def answer_served(
    name: str,
    questions: Sequence[Question],
    texts: Sequence[str],
    config: EvaluationConfig,
    folder: Path,
    *,
    first_statement: bool = False,
) -> list[Prediction]:
    """Predictions in the order of the questions, from the server's model ``name``.

    Few-shot prompts are raw text for the server to continue, all others one turn of a chat. Raises ModelError where the
    server cannot be asked, is not reached any more, or leaves questions without an answer; what was answered is kept.
    """
    assert config.server is not None
    ask = _Asker(name, config, config.server)
    stops = stop_strings(config)
    by_key = {(q.task, q.id): (q, text) for q, text in zip(questions, texts, strict=True)}
    keys = [(q.task, q.id, draw) for q in questions for draw in range(config.num_samples)]
    with RowAppender(folder / "served.jsonl") as appender:
        done = {(row["task"], row["id"], row.pop("sample")): Prediction.from_row(row) for row in appender.rows}
        missing = [key for key in keys if key not in done]
        failures: list[str] = []
        pool = ThreadPoolExecutor(config.server.concurrency)
        with track("evaluate", len(keys), done=len(keys) - len(missing)) as progress:
            try:  # also while requests are handed over, where Ctrl-C may come
                asked = {pool.submit(ask, by_key[key[:2]][1], key[2]): key for key in missing}
                for future in as_completed(asked):
                    key = asked[future]
                    question = by_key[key[:2]][0]
                    try:
                        text, finished, num_prompt, num_output = future.result()
                    except _Unanswered as failure:
                        failures.append(str(failure))
                        continue
                    cut = cut_at_stop(text, stops)
                    finished = finished or len(cut) < len(text)  # some servers go on behind a stop string
                    verdict = judge(cut, question, finished=finished, first=first_statement)
                    done[key] = prediction_of(question, cut, *verdict, num_prompt, num_output)
                    appender.append(done[key].to_row() | {"sample": key[2]})
                    progress.advance()
            finally:  # not waited for: a request may be under way for minutes
                pool.shutdown(wait=False, cancel_futures=True)
    if failures:
        problem = f"{len(failures)} of {len(keys)} requests were not answered (the first: {failures[0]})"
        raise ModelError(problem, where=name, remedy="run again: what was answered is kept")
    draws = range(config.num_samples)
    return [vote([done[q.task, q.id, draw] for draw in draws], q.answer_type) for q in questions]


class _Unanswered(Exception):
    """One request failed for good."""


class _Asker:
    """One request: the text that came back, whether it is whole, and the numbers of tokens.

    Raises ModelError where all others are pointless.
    """

    def __init__(self, name: str, config: EvaluationConfig, server: ModelServer):
        self.name, self.config, self.server = name, config, server
        self._where = f"evaluation.server, model {name}"
        # Each is lost after all of its tries. A few may be so for their own sake, by taking too long.
        self._lost = LostRequests(max(8, server.concurrency), self._where)
        key = os.environ.get(server.api_key_variable)
        if not key and server.base_url is None:
            remedy = f"export {server.api_key_variable}=..., or set base_url to a server of your own"
            problem = f"the environment variable {server.api_key_variable} is not set"
            raise ConfigError(problem, where="evaluation.server", remedy=remedy)
        try:
            import openai
        except ImportError:
            remedy = "pip install 'cotdistill[openai]'"
            raise ConfigError("this needs the package openai", where="evaluation.server", remedy=remedy) from None
        self._openai = openai
        self._client = openai.OpenAI(
            api_key=key or "none",
            base_url=server.base_url,
            timeout=server.timeout_seconds,
            max_retries=server.max_retries,
        )

    def __call__(self, prompt: str, draw: int) -> tuple[str, bool, int, int]:
        try:
            response = self._request(prompt, draw)
            self._lost.reached()
            choice, usage = response.choices[0], response.usage
            text = choice.text if self.config.few_shot else choice.message.content
            num_prompt, num_output = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
            return text or "", choice.finish_reason != "length", num_prompt, num_output
        except (self._openai.AuthenticationError, self._openai.PermissionDeniedError, self._openai.NotFoundError) as e:
            problem = f"the server refuses every request (status {e.status_code})"
            raise ModelError(problem, where=self._where, remedy="check base_url, model and key") from None
        except self._openai.APIStatusError as error:
            self._lost.reached()
            raise _Unanswered(f"status {error.status_code}") from None
        except self._openai.APIConnectionError as error:  # a timeout is one
            self._lost.lost()
            raise _Unanswered(type(error).__name__) from None
        except self._openai.OpenAIError as error:
            raise _Unanswered(type(error).__name__) from None
        except (AttributeError, IndexError, TypeError, ValueError):
            raise _Unanswered("malformed answer") from None

    def _request(self, prompt: str, draw: int) -> Any:
        config = self.config
        # OpenAI's newer models refuse max_tokens in a chat, other servers know nothing else.
        newer = self.server.base_url is None and not config.few_shot
        arguments: dict[str, Any] = {
            "model": self.name,
            "max_completion_tokens" if newer else "max_tokens": config.max_new_tokens,
            "temperature": config.temperature,
        }
        if config.temperature:
            arguments["seed"] = config.seed + draw
        if stops := stop_strings(config):
            arguments["stop"] = list(stops)
        if config.few_shot:
            return self._client.completions.create(prompt=prompt, **arguments)
        return self._client.chat.completions.create(messages=[{"role": "user", "content": prompt}], **arguments)
