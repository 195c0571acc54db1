"""How a student is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cotdistill.config.adapter import LoRA
from cotdistill.config.base import MACHINE, Settings
from cotdistill.config.checking import Validation
from cotdistill.config.loss import CrossEntropy, Divergence, ForwardKL, HiddenTerm, Losses, TotalVariation
from cotdistill.config.model import Dtype
from cotdistill.config.on_policy import OnPolicy
from cotdistill.config.signal import CachedTeacher, LiveTeacher, OneSignal, RoutedSignal, SignalConfig

__all__ = [
    "Attention",
    "LossTurns",
    "Optimizer",
    "Response",
    "Schedule",
    "TooLong",
    "Tracker",
    "TrainingConfig",
    "TrainingTarget",
]

TrainingTarget = Literal["rationale_then_answer", "answer_then_rationale", "answer_only", "multi_task"]
"""What a student is taught to write; ``tasks/prompts.py`` has the wording."""


Response = Literal["think", "plain"]
"""Where a student reasons: between its chat template's thinking marks, or in what it says."""


LossTurns = Literal["last", "all"]
"""Which turns of the assistant carry loss in a conversation."""


TooLong = Literal["drop", "error", "cut_reasoning"]
"""What becomes of an example over ``max_length``: nothing, one error for all, or its reasoning is cut at a sentence."""


Schedule = Literal["cosine", "linear", "constant", "warmup_stable_decay"]
"""How the learning rate falls after the warm-up; ``warmup_stable_decay`` keeps it and falls linearly at the end."""


Optimizer = Literal["adamw", "adamw_8bit"]
"""AdamW; with moments in 8 bits (bitsandbytes, on CUDA) it takes a quarter of their memory."""


Tracker = Literal["tensorboard", "wandb", "trackio"]
"""A program that shows a training's numbers; each is configured by its own environment variables."""


Attention = Literal["eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3"]
"""What computes attention, by transformers' names; flash attention needs a GPU and its own package."""


class TrainingConfig(Settings):
    """How the student is trained. Batches are counted in examples, micro-batches in tokens that pass through the model.

    With ``packing`` the examples of a micro-batch lie end to end in one row, without padding. Where every layer of the
    models looks back over all tokens by torch's scaled dot product (``sdpa``, the usual default), the common beginning
    of the prompts is computed once for all examples, and each example's attention separately. A variable-length
    ``attention`` (flash, or flex, which needs no package) also computes each example's attention separately, but shares
    nothing. All others compute the whole square of the row and mask the rest, so padded rows of similar length are the
    better choice.
    """

    epochs: float = Field(default=3.0, gt=0, description="how often each example is trained on")
    max_steps: int | None = Field(
        default=None,
        ge=1,
        description="so many optimizer steps, whatever epochs says: the schedule ends there too",
        examples=[500],
    )
    learning_rate: float = Field(default=5.0e-5, gt=0, description="the highest rate of the schedule")
    batch_size: int = Field(default=16, ge=1, description="examples per optimizer step (multi_task: questions)")
    max_batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="tokens per forward pass; steps accumulate over them. Default: 1536 on a CPU, 4096 elsewhere",
        examples=[4096],
    )
    max_length: int | None = Field(
        default=None,
        ge=8,
        description="tokens of prompt and response together. Default: as many as the models take, at most 32768",
        examples=[2048],
    )
    too_long: TooLong = Field(
        default="drop",
        description="cut_reasoning: keep as many whole sentences as fit, and the answer; what is cut is counted",
    )
    target: TrainingTarget = Field(
        default="rationale_then_answer",
        description="multi_task: two examples per question, to answer and to explain, weighted by the loss's regions",
    )
    loss_turns: LossTurns = Field(
        default="last", description="all: every turn of the assistant is an example, behind what came before it"
    )
    response: Response | None = Field(
        default=None,
        description="think: the rationale, or the teacher's reasoning, goes between thinking marks, which are closed "
        "before the answer; plain: no marks. Default: think where the chat template thinks unless told otherwise",
        examples=["plain"],
    )
    warmup_share: float = Field(
        default=0.0, ge=0, lt=1, description="the share of the steps in which the rate rises from 0", examples=[0.05]
    )
    schedule: Schedule = Field(default="cosine", description="how the rate falls after the warm-up")
    decay_share: float = Field(
        default=0.2, gt=0, le=1, description="of warmup_stable_decay: the share of the steps that decays, at the end"
    )
    min_rate_share: float = Field(
        default=0.0, ge=0, le=1, description="where a decay ends, as a share of learning_rate"
    )
    optimizer: Optimizer = Field(
        default="adamw", description="adamw_8bit: moments in a quarter of the memory; needs CUDA and bitsandbytes"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="how much weights are drawn to 0, by AdamW", examples=[0.01]
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="longer gradients are shortened to this norm")
    loss: Losses = Field(
        default=(CrossEntropy(),),
        description="the terms of the loss, which are added",
        examples=[[{"kind": "forward_kl"}]],
    )
    signal: SignalConfig | None = Field(
        default=None,
        description="the model whose distributions a divergence compares with the student's",
        examples=[{"kind": "cache", "model": "Qwen/Qwen2.5-7B"}],
    )
    on_policy: OnPolicy | None = Field(
        default=None, description="train on the student's own samples too", examples=[{"share": 0.5}]
    )
    adapter: LoRA | None = Field(
        default=None, description="train adapters beside a frozen model", examples=[{"kind": "lora", "rank": 16}]
    )
    validation: Validation | None = Field(
        default=None,
        description="hold questions out, and check the student on them now and then",
        examples=[{"share": 0.05, "keep": "best"}],
    )
    gradient_checkpointing: Annotated[bool, MACHINE] = Field(
        default=False, description="less memory, at the cost of a second forward pass"
    )
    compile: bool = Field(
        default=False, description="compile the student's layers: minutes at first, then faster on GPUs"
    )
    packing: bool | None = Field(
        default=None,
        description="examples end to end in one row. Default: true on a CPU if models can share the start of prompts",
        examples=[True],
    )
    attention: Attention | None = Field(
        default=None, description="of the student and a live teacher; default: their own", examples=["sdpa"]
    )
    dtype: Dtype = Field(
        default="auto", description="the type models compute in; auto: bfloat16 where the machine computes it fast"
    )
    track: Annotated[tuple[Tracker, ...], MACHINE] = Field(
        default=(), description="trackers that are fed with what is recorded while training", examples=[["tensorboard"]]
    )
    checkpoint_every: Annotated[int, MACHINE] = Field(default=200, ge=1, description="optimizer steps")

    def epochs_of(self, num_examples: int) -> float:
        """How often each of ``num_examples`` (of multi_task: questions) is seen: ``max_steps`` comes before epochs."""
        return self.epochs if self.max_steps is None else self.max_steps * self.batch_size / max(1, num_examples)

    @model_validator(mode="after")
    def phases_within_the_training(self) -> TrainingConfig:
        if self.schedule == "warmup_stable_decay" and self.warmup_share + self.decay_share > 1:
            raise ValueError(
                f"warmup_share {self.warmup_share:g} and decay_share {self.decay_share:g} are more than the training; "
                "lower one of them"
            )
        return self

    @property
    def signals(self) -> tuple[OneSignal, ...]:
        """All teachers of the signal."""
        return self.signal.all if self.signal else ()

    def with_signals(self, change: Callable[[OneSignal], OneSignal]) -> TrainingConfig:
        """The training with each teacher of its signal changed."""
        signal = self.signal
        if signal is not None:
            several = isinstance(signal, RoutedSignal)
            changed = tuple(map(change, signal.all))
            signal = signal.model_copy(update={"teachers": changed}) if several else changed[0]
        return self.model_copy(update={"signal": signal})

    @property
    def captures(self) -> tuple[CachedTeacher, ...]:
        """What is captured before training."""
        return tuple(filter(None, map(self.captured, self.signals)))

    def captured(self, signal: OneSignal) -> CachedTeacher | None:
        """What is captured of one teacher: of one that is asked while training, what is known before."""
        if isinstance(signal, CachedTeacher) or signal.server is None:
            return signal if isinstance(signal, CachedTeacher) else None
        known = self.on_policy is None or self.on_policy.share < 1 or self.validation is not None
        return signal.captured if known or self.offline_samples else None

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

    @property
    def offline_samples(self) -> bool:
        """Whether the student's samples are drawn once, before training."""
        if self.on_policy is None or not self.on_policy.share:
            return False
        stored = any(isinstance(signal, CachedTeacher) for signal in self.signals)
        return stored if self.on_policy.offline is None else self.on_policy.offline

    @model_validator(mode="after")
    def samples_that_the_teacher_can_score(self) -> TrainingConfig:
        if self.on_policy is None:
            return self
        if self.signal is None:
            raise ValueError("on_policy needs a teacher that scores the samples; add signal: {kind: live, model: ...}")
        if self.on_policy.offline is False and not all(isinstance(one, LiveTeacher) for one in self.signals):
            raise ValueError("live samples are new, so no stored signal has them; delete on_policy.offline")
        if unsuited := self.on_policy.unsuited(offline=self.offline_samples):
            raise ValueError(unsuited)
        if self.offline_samples and any(getattr(signal, "alignment", "none") != "none" for signal in self.signals):
            raise ValueError("offline samples are scored as the same tokens; set on_policy.offline: false")
        if self.on_policy.share == 1 and any(isinstance(term, CrossEntropy) for term in self.loss):
            raise ValueError(
                "cross_entropy applies to steps on the rationales, and with on_policy.share: 1 there are none; lower "
                "the share, or delete the term"
            )
        return self

    @model_validator(mode="after")
    def hidden_states_where_needed(self) -> TrainingConfig:
        for term in self.loss:
            if isinstance(term, HiddenTerm):
                if not isinstance(self.signal, LiveTeacher) or self.signal.server is not None:
                    raise ValueError(f"{term.kind} needs all layers of the teacher; use signal: {{kind: live, ...}}")
                if self.signal.alignment != "none":
                    raise ValueError(f"{term.kind} needs a teacher that reads the same tokens; delete signal.alignment")
        return self

    @model_validator(mode="after")
    def terms_that_the_alignment_supports(self) -> TrainingConfig:
        if any(isinstance(each, LiveTeacher) and each.alignment == "sorted_probability" for each in self.signals):
            for term in self.loss:
                if isinstance(term, Divergence) and not isinstance(term, TotalVariation):
                    raise ValueError(
                        f"sorted probabilities are compared only by total_variation, not {term.kind}; use "
                        "total_variation (with weight 2 it is ULD's distance) or alignment: byte_offset"
                    )
        return self

    @model_validator(mode="after")
    def terms_that_the_signal_supports(self) -> TrainingConfig:
        for signal in self.signals:
            store = _store_of(signal)
            for term in self.loss if store != "hidden" else ():
                if isinstance(term, Divergence) and term.temperature != 1.0:
                    raise ValueError(
                        f"a {store} signal holds the distribution at temperature 1, not {term.temperature:g}; "
                        "use store: hidden, or temperature 1"
                    )
                if store == "sampled" and isinstance(term, Divergence) and not isinstance(term, ForwardKL):
                    raise ValueError(f"a sampled signal allows only forward_kl, not {term.kind}; use hidden or topk")
        return self


def _store_of(signal: OneSignal) -> str:
    """What there is of the teacher's distributions: all (``hidden``), or a part."""
    if isinstance(signal, CachedTeacher):
        return signal.store
    return "topk" if signal.server is not None else "hidden"
