"""Examples end to end in one row: each is computed as if it were alone, whatever the model and the signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.tiny import tiny_model
from tests.training.data.test_batches import LENGTHS
from tests.training.test_step import MIXED, VOCAB, assert_same, random_examples
from transformers import PreTrainedModel

from cotdistill.config import CachedTeacher, CrossEntropy, LossConfig, ModelConfig, TrainingConfig
from cotdistill.errors import ModelError
from cotdistill.models.forward.attention import check_packing, computing_attention_with, set_attention
from cotdistill.models.forward.heads import PackedTexts, last_hidden_states
from cotdistill.models.forward.packed_attention import NAME, attends_to_packed_texts
from cotdistill.models.load.loading import load_model, load_tokenizer
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks.segments import Region
from cotdistill.training.data.batches import (
    Batch,
    Layout,
    batches_of_step,
    collate,
    micro_batches,
    num_shared_tokens,
    packed_batches,
    steps_of_epoch,
)
from cotdistill.training.data.examples import Example, make_examples
from cotdistill.training.data.layout import laid_out
from cotdistill.training.loop import METRICS, train_student
from cotdistill.training.losses.fused import summed_losses
from cotdistill.training.losses.weights import token_weights
from cotdistill.training.signals.aligned import AlignedSignal
from cotdistill.training.signals.alignment import align
from cotdistill.training.signals.capture import capture
from cotdistill.training.signals.live import LiveSignal, LogitsChunk, TeacherSignal
from cotdistill.training.stage import train
from cotdistill.training.step import DistillationLoss, accumulate

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
FAMILIES: dict[str, Callable[[], transformers.PreTrainedConfig]] = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, head_dim=8),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**SIZES),
    "gpt2, positions of its own": lambda: transformers.GPT2Config(
        vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3
    ),
    "mistral, a window of four tokens": lambda: transformers.MistralConfig(**SIZES, sliding_window=4),
    "gemma2, capped logits": lambda: transformers.Gemma2Config(**SIZES, head_dim=8, sliding_window=4),
}


def model_of(config: transformers.PreTrainedConfig, attention: str | None = None) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.AutoModelForCausalLM.from_config(config)
    if attention:
        model.set_attn_implementation(attention)
    return model.eval()


def step(
    student: PreTrainedModel, signal: TeacherSignal | None, terms: tuple[LossConfig, ...], batches: Sequence[Batch]
) -> tuple[float, list[float], dict[str, torch.Tensor]]:
    module = DistillationLoss(student, terms, signal)
    student.zero_grad()
    loss, means, _ = accumulate(module, batches, device=CPU, dtype=torch.float32)
    return loss, means, {n: p.grad.clone() for n, p in module.trained_parameters().items() if p.grad is not None}


def packed(examples: Sequence[Example], max_batch_tokens: int = 10_000, layout: Layout = "packed") -> list[Batch]:
    return batches_of_step(dict(enumerate(examples)), layout, max_batch_tokens)


def alike(examples: Sequence[Example], num_shared: int) -> list[Example]:
    """The same examples with prompts that begin alike."""
    longer = [([*(n % 50 + 1 for n in range(num_shared)), *e.input_ids], e) for e in examples]
    return [
        Example(e.id, ids, [*ids[1:], e.targets[-1]], [Region.PROMPT] * num_shared + e.regions) for ids, e in longer
    ]


def reading(layout: Layout, *models: PreTrainedModel) -> AbstractContextManager[None]:
    """Within, the models can read batches of ``layout``."""
    return computing_attention_with(NAME, *models) if layout == "shared" else nullcontext()


def plain(
    student: PreTrainedModel, teacher: PreTrainedModel, examples: Sequence[Example], terms: tuple[LossConfig, ...]
) -> tuple[float, dict[str, torch.Tensor]]:
    """One example at a time, all its logits, autograd through everything."""
    num_loss_tokens = sum(example.num_loss_tokens for example in examples)
    loss = torch.zeros(())
    for example in examples:
        batch = collate([example])
        logits = student(input_ids=batch.input_ids).logits[0, batch.positions]
        with torch.no_grad():
            theirs = teacher(input_ids=batch.input_ids).logits[0, batch.positions]
        sums = summed_losses(
            terms, logits, LogitsChunk(theirs), batch.targets, token_weights(terms, batch.regions, batch.owners)
        )
        loss = loss + (sums * torch.tensor([term.weight for term in terms])).sum() / num_loss_tokens
    loss.backward()
    return loss.item(), {name: parameter.grad.clone() for name, parameter in student.named_parameters()}


@pytest.mark.parametrize("attention", [None, "eager"], ids=["its own", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_is_the_plain_loss_of_each_example_alone(family: str, attention: str | None) -> None:
    """In value and in every gradient, in one row and in several."""
    student, teacher = model_of(FAMILIES[family](), attention), tiny_model(VOCAB, hidden=48, layers=1, seed=2)
    examples = random_examples(7)
    expected, gradients = plain(student, teacher, examples, MIXED)
    for max_batch_tokens in (10_000, 40):
        batches = packed(examples, max_batch_tokens)
        assert (len(batches) == 1) == (max_batch_tokens == 10_000)
        loss, _, ours = step(student, LiveSignal(teacher), MIXED, batches)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert_same(gradients, ours)
    check_packing(student, torch.float32)


@pytest.mark.parametrize("num_shared", [0, 1, 20, 60])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt_neox"])
def test_what_prompts_begin_with_is_computed_once_for_all(family: str, num_shared: int) -> None:
    """The loss and every gradient of examples alone, where they share much, one token, or nothing."""
    student, teacher = model_of(FAMILIES[family]()), tiny_model(VOCAB, hidden=48, layers=1, seed=2)
    examples = alike(random_examples(7), num_shared)
    assert num_shared_tokens(examples) >= num_shared
    expected, gradients = plain(student, teacher, examples, MIXED)
    for max_batch_tokens in (10_000, 60):
        batches = packed(examples, max_batch_tokens, "shared")
        assert (len(batches) == 1) == (max_batch_tokens == 10_000)
        with reading("shared", student, teacher):
            loss, _, ours = step(student, LiveSignal(teacher), MIXED, batches)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert_same(gradients, ours)


def test_shared_tokens_are_read_once_a_micro_batch_and_count_in_its_budget() -> None:
    examples = alike(random_examples(12), 30)
    batches = packed(examples, 90, "shared")
    own = sum(len(example) - 30 for example in examples)
    assert 1 < len(batches) < len(packed(examples, 90))
    assert sum(batch.input_ids.numel() for batch in batches) == own + 30 * len(batches)
    assert all(batch.input_ids.numel() <= 90 for batch in batches)


def test_examples_with_one_prompt_share_all_of_it_but_its_last_token() -> None:
    """Several rationales of one question: what each says begins behind the same token."""
    prompt = [5, 6, 7, 8]
    examples = [
        Example("q", prompt + own[:-1], prompt[1:] + own, [Region.PROMPT] * 3 + [Region.RATIONALE] * len(own))
        for own in ([9, 10, 0], [11, 0])
    ]
    batch = collate(examples, "shared")
    assert batch.texts == PackedTexts(3, (3, 2))
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 10, 8, 11]]
    assert batch.targets.tolist() == [9, 10, 0, 11, 0]
    student = tiny_model(VOCAB, seed=1)
    expected = step(student, None, (CrossEntropy(),), [collate(examples)])
    with reading("shared", student):
        loss, _, gradients = step(student, None, (CrossEntropy(),), [batch])
    assert loss == pytest.approx(expected[0], rel=1e-5)
    assert_same(expected[2], gradients)


@pytest.mark.parametrize("layout", ["packed", "shared"])
def test_no_token_sees_another_examples(layout: Layout) -> None:
    """To the bit: other words in the neighbours change nothing at all."""
    student, (first, *others) = tiny_model(VOCAB, seed=1), alike(random_examples(5), 4)
    changed = [
        Example(e.id, e.input_ids[:4] + [token % 50 + 2 for token in e.input_ids[4:]], e.targets, e.regions)
        for e in others
    ]
    states = []
    for neighbours in (others, changed):
        batch = collate([*neighbours[:2], first, *neighbours[2:]], layout)
        with reading(layout, student):
            hidden = last_hidden_states(student, **batch.inputs)[0]
        shared = batch.texts.num_shared if batch.texts else 0
        start = shared + sum(len(neighbour) - shared for neighbour in neighbours[:2])
        own = slice(start, start + len(first) - shared)
        states.append(hidden[own])
        assert batch.input_ids[0, own].tolist() == first.input_ids[shared:]
    assert torch.equal(*states)


RATIONALES = [
    Rationale(Question(f"q{n}", "own", "train", f"What is {n} + 5?", str(n + 5), "number"), text, "me", None, "human")
    for n, text in enumerate(("0 + 5 = 5.", "1 and 5 make 6.\nSo it is 6.", None, "Three and five are eight. " * 5))
]
NANO, OTHER = ModelConfig(model="builtin:nano-student"), ModelConfig(model="builtin:nano-teacher")


def nano_signal(case: str, examples: Sequence[Example], runs: Path) -> TeacherSignal | None:
    """Of the student's own start, cut to two layers, or of the nano teacher on tokens of its own."""
    if case == "none":
        return None
    if case == "byte_offset":
        tokenizers = load_tokenizer(NANO), load_tokenizer(OTHER)
        teacher = LiveSignal(load_model(OTHER, dtype=torch.float32, device="cpu"))
        return AlignedSignal(teacher, align(RATIONALES, *tokenizers, "byte_offset"))
    own = NANO.model_copy(update={"keep_layers": 2})
    if case in ("hidden", "topk", "sampled"):
        config = CachedTeacher(model=own, store=case, k=8)  # pyright: ignore[reportArgumentType]
        return capture(config, examples, dtype="float32", max_batch_tokens=64, runs=runs)
    return LiveSignal(load_model(own, dtype=torch.float32, device="cpu"))


@pytest.mark.parametrize(
    ("case", "terms"),
    [
        ("none", ("cross_entropy",)),
        ("live", ("cross_entropy", "forward_kl", "hidden_mse")),
        ("context", ("reverse_kl",)),
        ("hidden", ("cross_entropy", "forward_kl")),
        ("topk", ("forward_kl",)),
        ("sampled", ("forward_kl",)),
        ("byte_offset", ("cross_entropy", "forward_kl")),
    ],
)
@pytest.mark.parametrize("layout", ["packed", "shared"])
def test_whatever_the_signal_packed_is_padded(
    tmp_path: Path, case: str, terms: tuple[str, ...], layout: Layout
) -> None:
    """With both tasks of multi_task; a live teacher is packed with its student, also behind prompts of its own."""
    context = "rationale" if case == "context" else "none"
    target = "rationale_then_answer" if case == "byte_offset" else "multi_task"
    examples, _ = make_examples(
        RATIONALES, load_tokenizer(NANO), max_length=512, too_long="error", target=target, context=context
    )
    student = load_model(NANO, dtype=torch.float32, device="cpu")
    signal = nano_signal(case, examples, tmp_path)
    losses = TrainingConfig.model_validate({"loss": terms, "signal": signal and {"model": "the one above"}}).loss
    expected = step(student, signal, losses, [collate(examples)])
    for max_batch_tokens in (10_000, 120):
        with reading(layout, student, *(signal.models if signal else ())):
            loss, means, gradients = step(student, signal, losses, packed(examples, max_batch_tokens, layout))
        assert loss == pytest.approx(expected[0], rel=1e-5)
        assert means == pytest.approx(expected[1], rel=1e-5, abs=1e-7)
        assert_same(expected[2], gradients, 3e-5)


def test_a_packed_training_takes_the_steps_of_a_padded_one(tmp_path: Path) -> None:
    """Also by default, on a CPU; the model attends as before when it is over."""
    rows = []
    for packing in (False, True, None):
        config = TrainingConfig(
            epochs=2, batch_size=4, learning_rate=1e-3, dtype="float32", max_batch_tokens=60, packing=packing
        )
        folder = tmp_path / str(packing)
        folder.mkdir()
        student = tiny_model(VOCAB, seed=1)
        train_student(student, alike(random_examples(9), 8), config, signal=None, seed=0, folder=folder)
        assert student.config._attn_implementation == "sdpa"
        rows.append([(row["loss"], row["grad_norm"], row["num_tokens"]) for row in read_rows(folder / METRICS)])
    assert [pytest.approx(row, rel=1e-4) for row in rows[0]] == rows[1]
    assert rows[1] == rows[2]


def test_examples_share_where_all_models_can() -> None:
    """OPT's masks know of no other text in its row, and none is made of texts that share."""
    llama, window = model_of(FAMILIES["llama"]()), model_of(FAMILIES["mistral, a window of four tokens"]())
    opt = model_of(transformers.OPTConfig(**SIZES, word_embed_proj_dim=32, ffn_dim=64))
    for models, wishes, expected in [
        ([llama], {}, "shared"),
        ([llama, llama], {"packing": True}, "shared"),
        ([llama], {"packing": False}, "padded"),
        ([llama], {"compiled": True}, "padded"),
        ([llama], {"packing": True, "compiled": True}, "packed"),
        ([llama, window], {}, "padded"),
        ([window], {"packing": True}, "packed"),
        ([opt], {"packing": True}, "shared"),
    ]:
        with laid_out(models, torch.float32, **wishes) as layout:
            assert layout == expected, (wishes, expected)
            assert models[0].config._attn_implementation == (NAME if layout == "shared" else "sdpa")
    with pytest.raises(ZeroDivisionError), laid_out([llama], torch.float32):
        1 / 0  # noqa: B018
    assert llama.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_attends_otherwise_is_known(family: str, dtype: torch.dtype) -> None:
    """A window and capped logits are none of plain attention; the model itself says so, whatever its class."""
    plain_attention = family in ("llama", "qwen3", "gpt_neox", "gpt2, positions of its own")
    assert attends_to_packed_texts(model_of(FAMILIES[family]()), dtype) is plain_attention
    assert not attends_to_packed_texts(model_of(FAMILIES[family](), "eager"), dtype)


@pytest.mark.parametrize("budget", [1, 100, 600, 4096])
def test_bins_keep_to_the_budget_and_lose_nothing(budget: int) -> None:
    for indices in steps_of_epoch(LENGTHS, 32, seed=0, epoch=0):
        bins = packed_batches(indices, LENGTHS, budget)
        assert sorted(index for places in bins for index in places) == sorted(indices)
        assert all(len(places) == 1 or sum(LENGTHS[i] for i in places) <= budget for places in bins)
        assert len(bins) <= len(micro_batches(indices, LENGTHS, budget))
        fullest_two = sorted(sum(LENGTHS[i] for i in places) for places in bins)[:2]
        assert len(bins) < 2 or sum(fullest_two) > budget, "two bins that fit into one"


# ---- what cannot be packed ------------------------------------------------------------------------------------------


def test_positions_that_cannot_start_again_are_refused() -> None:
    bloom = model_of(transformers.BloomConfig(vocab_size=VOCAB, hidden_size=32, n_layer=1, n_head=4))
    with pytest.raises(ModelError, match=r"training\.packing.*has no position_ids.*set training\.packing: false"):
        check_packing(bloom, torch.float32)


def test_a_state_that_runs_on_into_the_next_example_is_refused() -> None:
    """Its class takes position_ids like any other's; its convolutions do not know where an example begins."""
    config = transformers.Lfm2Config(**SIZES, full_attn_idxs=[1], block_multiple_of=8)
    with pytest.raises(ModelError, match="lets a text see the one before it"):
        check_packing(model_of(config), torch.float32)


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_training_is_refused_before_its_first_step(tmp_path: Path, who: str) -> None:
    bloom = transformers.BloomConfig(vocab_size=len(load_tokenizer(NANO)), hidden_size=32, n_layer=1, n_head=4)
    model_of(bloom).save_pretrained(tmp_path / "bloom")
    load_tokenizer(NANO).save_pretrained(tmp_path / "bloom")
    models = {"student": NANO, "teacher": NANO} | {who: ModelConfig(model=str(tmp_path / "bloom"))}
    config = TrainingConfig.model_validate(
        {"packing": True, "loss": ["forward_kl"], "signal": {"model": models["teacher"].model}, "dtype": "float32"}
    )
    with pytest.raises(ModelError, match=r"training\.packing, .*bloom"):
        train(models["student"], RATIONALES, config, seed=0, runs=tmp_path)
    assert not list(tmp_path.rglob(METRICS))


def test_a_student_that_was_packed_is_a_plain_one(tmp_path: Path) -> None:
    """Its config says nothing of how it was trained."""
    config = TrainingConfig(packing=True, attention="eager", epochs=1, dtype="float32")
    made = train(NANO, RATIONALES, config, seed=0, runs=tmp_path)
    assert transformers.AutoModelForCausalLM.from_pretrained(made.model).config._attn_implementation == "sdpa"


def test_an_attention_that_is_not_there_is_one_clear_line() -> None:
    """Flash attention needs a GPU; a model without the asked one keeps no other in silence."""
    with pytest.raises(ModelError, match=r"cannot compute flash_attention_2 \(.*delete training\.attention") as raised:
        set_attention(tiny_model(VOCAB), "flash_attention_2")
    assert "\n" not in str(raised.value)
    model = tiny_model(VOCAB)
    set_attention(model, "eager")
    assert model.config._attn_implementation == "eager"


def test_the_teachers_positions_are_counted_by_example() -> None:
    """A row may be longer than the teacher's positions; an example may not."""
    teacher, examples = tiny_model(VOCAB, seed=2), random_examples(30)
    teacher.config.max_position_embeddings = max(map(len, examples))
    batch = collate(examples, "packed")
    assert batch.input_ids.shape[1] > teacher.config.max_position_embeddings
    LiveSignal(teacher).rows(batch)
    teacher.config.max_position_embeddings -= 1
    with pytest.raises(ModelError, match="positions"):
        LiveSignal(teacher).rows(batch)


OTHERS: dict[str, Callable[[], transformers.PreTrainedConfig]] = {
    "nemotron, which hands nothing on to its attention": lambda: transformers.NemotronConfig(**SIZES, head_dim=8),
    "bloom, without position_ids": lambda: transformers.BloomConfig(
        vocab_size=VOCAB, hidden_size=32, n_layer=1, n_head=4
    ),
    "lfm2, convolutions": lambda: transformers.Lfm2Config(**SIZES, full_attn_idxs=[1], block_multiple_of=8),
    "a longer text changes the positions of all": lambda: transformers.LlamaConfig(
        **SIZES, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    ),
}


@pytest.mark.parametrize("family", OTHERS)
def test_examples_of_a_family_that_cannot_share_are_padded(family: str, tmp_path: Path) -> None:
    student = model_of(OTHERS[family]())
    with laid_out([student], torch.float32) as layout:
        assert layout == "padded"
    config = TrainingConfig(epochs=1, batch_size=4, dtype="float32")
    train_student(student, random_examples(4), config, signal=None, seed=0, folder=tmp_path)
    assert len(list(read_rows(tmp_path / METRICS))) == 1


def test_a_model_whose_states_are_not_finite_agrees_with_nothing() -> None:
    student = tiny_model(VOCAB, seed=1)
    torch.nn.init.constant_(student.get_input_embeddings().weight, float("nan"))  # pyright: ignore
    assert not attends_to_packed_texts(student, torch.float32)
    with pytest.raises(ModelError, match="lets a text see"):
        check_packing(student, torch.float32)
