"""Training and writing in plain torch and transformers, one text at a time, without a state: what ours must equal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

LEARNING_RATE = 2e-3


class Text(NamedTuple):
    """The tokens of prompt and response, and how many of them are the prompt's."""

    ids: list[int]
    num_prompt: int


class Step(NamedTuple):
    loss: float
    grad_norm: float


@dataclass(frozen=True)
class Losses:
    """Weights of cross-entropy, of the divergence from a teacher, and of the distance between hidden states."""

    cross_entropy: float = 1.0
    divergence: float = 0.0
    hidden: float = 0.0
    top: int | None = None
    """The teacher's likeliest tokens that the divergence is over, and all others together; None for all."""


def load(folder: Any) -> PreTrainedModel:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def train(
    model: PreTrainedModel,
    texts: Sequence[Text],
    losses: Losses,
    teacher: PreTrainedModel | None = None,
    *,
    num_steps: int,
    num_tokens: int,
    noise: Callable[[int], int] | None = None,
) -> list[Step]:
    """AdamW on all ``texts`` in every step, each text read alone; ``model`` is in eval mode afterwards.

    With ``noise``, which gives the seed of a step, the model is in training mode and all texts lie in one padded batch,
    longest first: whoever does the same from the same seeds draws the same noise. ``num_tokens`` is the tokenizer's.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
    num_targets = sum(len(text.ids) - text.num_prompt for text in texts)
    batches = [[text] for text in texts] if noise is None else [sorted(texts, key=lambda text: -len(text.ids))]
    steps = []
    model.train(noise is not None)
    for step in range(num_steps):
        if noise is not None:
            torch.manual_seed(noise(step))
        optimizer.zero_grad()
        total = 0.0
        for batch in batches:
            loss = _loss(model, batch, losses, teacher, num_tokens) / num_targets
            loss.backward()
            total += loss.item()
        grad_norm = nn.utils.clip_grad_norm_(parameters, 1.0).item()
        optimizer.step()
        steps.append(Step(total, grad_norm))
    model.eval()
    return steps


def _loss(
    model: PreTrainedModel, batch: Sequence[Text], losses: Losses, teacher: PreTrainedModel | None, num_tokens: int
) -> Tensor:
    with_hidden = bool(losses.hidden)
    found = _read(model, batch, with_hidden)
    expected = None
    if teacher is not None and (losses.divergence or losses.hidden):
        with torch.no_grad():
            expected = _read(teacher, batch, with_hidden)
    loss = torch.zeros(())
    for row, text in enumerate(batch):
        place = slice(text.num_prompt - 1, len(text.ids) - 1)
        logits = found.logits[row, place].float()
        if losses.cross_entropy:
            targets = torch.tensor(text.ids[text.num_prompt :])
            loss = loss + losses.cross_entropy * F.cross_entropy(logits, targets, reduction="sum")
        if losses.divergence:
            other = expected.logits[row, place].float()
            loss = loss + losses.divergence * _divergence(other, logits, losses.top, num_tokens).sum()
        if losses.hidden:
            loss = loss + losses.hidden * _distance(found.hidden_states, expected.hidden_states, row, place)
    return loss


def _read(model: PreTrainedModel, batch: Sequence[Text], with_hidden: bool) -> Any:
    """Output for all tokens that another one follows."""
    lengths = [len(text.ids) - 1 for text in batch]
    longest = max(lengths)
    ids = torch.tensor(
        [[*text.ids[:-1], *[0] * (longest - length)] for text, length in zip(batch, lengths, strict=True)]
    )
    inputs: dict[str, Any] = {"input_ids": ids, "use_cache": False}
    if with_hidden:
        inputs["output_hidden_states"] = True
    if len(batch) > 1:
        inputs["attention_mask"] = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    return model(**inputs)


def _divergence(teacher: Tensor, student: Tensor, top: int | None, num_tokens: int) -> Tensor:
    """The student's divergence from the teacher, token by token."""
    if top is None:
        shared = min(teacher.shape[-1], student.shape[-1])
        p, q = teacher[:, :shared].log_softmax(-1), student[:, :shared].log_softmax(-1)
        return (p.exp() * (p - q)).sum(-1)
    likeliest, ids = teacher[:, :num_tokens].log_softmax(-1).topk(top, -1)
    own = student.log_softmax(-1).gather(-1, ids)
    others, own_others = ((1 - kept.exp().sum(-1)).clamp(min=1e-7) for kept in (likeliest, own))
    return (likeliest.exp() * (likeliest - own)).sum(-1) + others * (others.log() - own_others.log())


def _distance(found: Sequence[Tensor], expected: Sequence[Tensor], row: int, place: slice) -> Tensor:
    """The mean squared distance of each layer from the teacher's at the same depth, over layers."""
    last, teachers_last = len(found) - 1, len(expected) - 1
    layers = [
        (found[i][row, place].float() - expected[round(i * teachers_last / last)][row, place].float()).square().mean(-1)
        for i in range(1, last + 1)
    ]
    return torch.stack(layers).mean(0).sum()


@torch.no_grad()
def greedy(model: PreTrainedModel, prompt: Sequence[int], num_new: int, stops: Collection[int]) -> list[int]:
    """The likeliest next tokens, the whole text read for each."""
    ids = list(prompt)
    for _ in range(num_new):
        token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in stops:
            break
        ids.append(token)
    return ids[len(prompt) :]


@torch.no_grad()
def beams(model: PreTrainedModel, prompt: Sequence[int], num_new: int, stops: Collection[int]) -> list[int]:
    """What transformers' search with three beams writes without a state."""
    found: Any = model.generate(  # pyright: ignore[reportCallIssue]
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        num_beams=3,
        max_new_tokens=num_new,
        do_sample=False,
        use_cache=False,
        eos_token_id=sorted(stops),
        pad_token_id=min(stops),
        early_stopping=False,
        length_penalty=1.0,
    )
    written = found[0, len(prompt) :].tolist()
    return written[: next((i for i, token in enumerate(written) if token in stops), len(written))]


@torch.no_grad()
def difference(model: PreTrainedModel, other: PreTrainedModel, texts: Sequence[Text]) -> float:
    """How far the logits of ``model`` are from those of ``other``, at the worst text, as a share of their size."""
    worst = 0.0
    for text in texts:
        ids = torch.tensor([text.ids])
        found, expected = (m(input_ids=ids, use_cache=False).logits for m in (model, other))
        worst = max(worst, ((found - expected).norm() / expected.norm()).item())
    return worst


def without_layers(model: PreTrainedModel, kept: Collection[int], num_layers: int) -> PreTrainedModel:
    """``model`` with its other decoder layers passed by."""
    for name, layers in model.named_modules():
        if isinstance(layers, nn.ModuleList) and len(layers) == num_layers and "vision" not in name:
            for index, layer in enumerate(layers):
                if index not in kept:
                    layer.register_forward_hook(_passed_by, with_kwargs=True)
    return model


def _passed_by(layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> Any:
    hidden = arguments[0] if arguments else keywords["hidden_states"]
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


@torch.no_grad()
def disturbed(model: PreTrainedModel, size: float) -> PreTrainedModel:
    """``model`` with each weight moved by a share of about ``size``, as rounding does."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.mul_(1 + size * torch.randn(parameter.shape, generator=generator))
    return model
