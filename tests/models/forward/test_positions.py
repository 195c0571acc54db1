"""A text has the positions that it has alone, whatever lies beside it; a row may be longer than a model's positions."""

from __future__ import annotations

import pytest
import torch
from tests.models.families import make

from cotdistill.errors import ModelError
from cotdistill.models.forward.attention import check_packing
from cotdistill.models.forward.heads import all_hidden_states, last_hidden_states
from cotdistill.models.forward.positions import short_texts

TEXTS = [list(range(5, 5 + length)) for length in (60, 11, 24, 25)]
"""``phi3_long`` has other positions in texts of more than 24 tokens."""


def alone(model, ids: list[int]) -> torch.Tensor:
    return model.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]


@torch.no_grad()
def test_short_and_long_texts_in_one_batch_are_read_as_each_alone():
    model = make("phi3_long")
    assert short_texts(model) == 24
    ids, mask = torch.zeros(2, len(TEXTS), 60, dtype=torch.long)
    for row, text in enumerate(TEXTS):
        ids[row, : len(text)], mask[row, : len(text)] = torch.tensor(text), 1
    padded = last_hidden_states(model, ids, mask)
    layers = all_hidden_states(model, ids, mask)
    row = torch.tensor([[token for text in TEXTS for token in text]])
    places = torch.tensor([[place for text in TEXTS for place in range(len(text))]])
    packed = last_hidden_states(model, row, None, places)[0].split([len(text) for text in TEXTS])
    for number, text in enumerate(TEXTS):
        expected = alone(model, text)
        for found in (padded[number, : len(text)], layers[-1][number, : len(text)], packed[number]):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    check_packing(model, torch.float32)


def test_a_family_with_a_table_of_its_positions_is_not_packed_into_longer_rows():
    with pytest.raises(ModelError, match="cannot read a row that is longer than its 512 positions"):
        check_packing(make("gpt_neo"), torch.float32)
    check_packing(make("llama"), torch.float32)
