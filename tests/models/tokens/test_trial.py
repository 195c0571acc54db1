"""A chat template is a program by anybody: one that fails, never ends or fills the memory is refused in one line."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from tests.tiny import CHATML, save_tiny, tiny_tokenizer

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.tokens import trial
from cotdistill.models.tokens.template import encode_prompt

NESTED = "{% for a in range(99999) %}" * 4 + "{% endfor %}" * 4


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a trial needs a copy of the process")
@pytest.mark.parametrize(
    "template",
    [
        NESTED,
        "{% macro m(n) %}{{ m(n + 1) ~ m(n + 1) if n < 40 else '' }}{% endmacro %}{{ m(0) }}",
        "{{ 'x' * (10 ** 11) }}",
        "{{ 'x' * 99999999 }}",
        "{% set s = namespace(t='x') %}{% for i in range(99) %}{% set s.t = s.t ~ s.t %}{% endfor %}{{ s.t }}",
        "{{ 10 ** (10 ** 9) }}",
        "{{ 'x'.center(10 ** 10) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ messages[0].content | indent(10 ** 10, true) }}",
    ],
)
def test_a_template_that_does_not_end_or_fills_the_memory(template: str) -> None:
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match="its chat template takes more than"):
        encode_prompt(tokenizer, "How many?")


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('a\nb') }}", "{{ 1 / 0 }}", "{{ messages.x.y.z }}", "{% for", "{{ [][1] }}",
        "{{ {}['a'] + 1 }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages[99].content }}",
        "{{ 'x' | nosuchfilter }}", "{{ range(10 ** 9) | list | length }}", "{{ '{:d}'.format('x') }}",
        "{% include 'x' %}", "{{ messages.append(1) }}", "{{ namespace(x=1).y.z }}", "{{ ('(' * 500) | int / 0 }}",
        "{{ 10 ** 400 * 1.0 }}",
    ],
)  # fmt: skip
def test_a_template_that_raises(template: str) -> None:
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.chat_template = template
    with pytest.raises(ModelError) as error:
        encode_prompt(tokenizer, "How many?")
    assert "\n" not in str(error.value)
    assert "its chat template " in str(error.value)


def test_a_template_of_a_folder_is_tried_before_it_is_used(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m", chat=True)
    (folder / "chat_template.jinja").write_text(NESTED, encoding="utf-8")
    with pytest.raises(ModelError, match="its chat template takes more than"):
        encode_prompt(load_tokenizer(ModelConfig(model=str(folder))), "How many?")


def children() -> set[str]:
    """The processes that this thread has started and that are there, dead or alive."""
    listed = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return set(listed.read_text().split()) if listed.exists() else set()


def test_a_sound_template_passes_and_leaves_nothing_behind() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.chat_template = CHATML
    before = children()
    assert encode_prompt(tokenizer, "How many?")
    assert children() == before
