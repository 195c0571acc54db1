"""Whether two models use the same tokens, as a divergence between their distributions requires."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.errors import ModelError
from cotdistill.models.forward.heads import output_head

logger = logging.getLogger(__name__)


def check_same_vocabulary(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> None:
    """Raise ModelError unless both tokenizers give every token the same id.

    How they split text does not matter: teacher and student both read the ids that the student's tokenizer made.
    """
    theirs, ours = teacher.get_vocab(), student.get_vocab()
    if theirs == ours:
        return
    different = [token for token in theirs.keys() | ours.keys() if theirs.get(token) != ours.get(token)]

    def place(token: str) -> int:
        return min(vocabulary[token] for vocabulary in (theirs, ours) if token in vocabulary)

    first = min(different, key=lambda token: (place(token), token))
    ids = " and ".join(str(vocabulary.get(first, "none")) for vocabulary in (theirs, ours))
    raise ModelError(
        f"{len(different)} tokens differ between teacher {teacher.name_or_path} ({len(theirs)} tokens) and student "
        f"{student.name_or_path} ({len(ours)} tokens), the first is {first!r} (ids {ids})",
        where="vocabulary",
        remedy="a loss on the teacher's distribution needs a teacher of the student's family; choose one, or set "
        "alignment: byte_offset in training.signal",
    )


def check_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, used: Iterable[int]) -> int:
    """How many token ids there are up to the highest one that is ``used``.

    A tokenizer may have more than the model (Gemma 3's have one for images), as long as no text has them. Raises
    ModelError for a token beyond the model's embeddings or its head.
    """
    highest = max(used)
    sizes = {
        "embeddings": model.get_input_embeddings().weight.shape[0],  # pyright: ignore
        "outputs": output_head(model).weight.shape[0],  # pyright: ignore
    }
    for what, size in sizes.items():
        if highest >= size:
            raise ModelError(
                f"token {highest} ({tokenizer.convert_ids_to_tokens(highest)!r}) is beyond the model's {size} {what}",
                where=model.name_or_path,
                remedy="model and tokenizer do not belong together; check both folders",
            )
    return highest + 1


def shared_vocabulary_size(teacher_outputs: int, student: PreTrainedModel, num_tokens: int) -> int:
    """How many logits the two heads share: the smaller of their sizes, of which each may be padded beyond the tokens.

    Warns if they differ. Raises ModelError if a head is smaller than ``num_tokens``, the ids up to the highest one in
    any text.
    """
    sizes = {"teacher": teacher_outputs, "student": output_head(student).weight.shape[0]}  # pyright: ignore
    for role, size in sizes.items():
        if size < num_tokens:
            raise ModelError(
                f"the {role}'s head has {size} outputs for {num_tokens} tokens",
                where="vocabulary",
                remedy="model and tokenizer do not belong together; check both folders",
            )
    shared = min(sizes.values())
    if len(set(sizes.values())) > 1:
        logger.warning(
            "the teacher's head has %d outputs and the student's %d, for %d tokens: the first %d are compared",
            *sizes.values(),
            num_tokens,
            shared,
        )
    return shared
