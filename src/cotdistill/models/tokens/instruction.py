"""A chat template that puts a bare question as a student was trained to be asked.

A student relies on the sentence that says what to reply, and on what else its prompts began and ended with. Saved in
the template of its folder, these are added by every program that uses the template: `transformers serve`, vLLM, a call
of ``apply_chat_template``. Our own prompts have them already and are left alone (``COMPLETE``), and so is any other
text that holds the sentence.
"""

from __future__ import annotations

import json
import re
from typing import cast

from transformers import PreTrainedTokenizerBase

from cotdistill.models.tokens.framing import COMPLETE, framing
from cotdistill.models.tokens.template import encode_prompt

_PLAIN = (
    "{BEGINNING}{%- for turn in messages %}{{ turn.content + (eos_token if turn.role == 'assistant' else '') + '\\n' }}"
    "{%- endfor %}"
)
"""For a tokenizer without a template: what :func:`encode_prompt` does without one."""

_ADDED = """{#- A bare question is put as this student was trained to be asked. -#}
{%- set asked = namespace(turns=[], last=-1) -%}
{%- for turn in messages -%}
  {%- if turn.role == 'user' and not (COMPLETE | default(false)) -%}{%- set asked.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for turn in messages -%}
  {%- set content = turn.content -%}
  {%- if loop.index0 == asked.last and SENTENCE not in (content | string) -%}
    {%- set content = BEFORE + content + AFTER if content is string
        else [{'type': 'text', 'text': BEFORE}] + content + [{'type': 'text', 'text': AFTER}] -%}
    {%- set asked.turns = asked.turns + [{'role': 'user', 'content': content}] -%}
  {%- else -%}
    {%- set asked.turns = asked.turns + [turn] -%}
  {%- endif -%}
{%- endfor -%}
{%- set messages = asked.turns -%}
"""

_EARLIER = re.compile(rf"{re.escape(_ADDED.partition(chr(10))[0])}.*?{re.escape(_ADDED.splitlines()[-1])}\n", re.DOTALL)
"""What an earlier training added: only the last one's instruction counts."""

_QUESTION = "How many legs have 3 dogs?"


def add_instruction(tokenizer: PreTrainedTokenizerBase, before: str, after: str, sentence: str) -> bool:
    """Let the tokenizer's template put ``before`` and ``after`` around a last question without ``sentence`` in it.

    False, and nothing is changed, where the new template would not give the very tokens that the student was trained
    with: one of several templates, or a tokenizer that marks the beginning of a text in a way of its own.
    """
    template = tokenizer.chat_template
    if template is not None and not isinstance(template, str):
        return False
    before_training = _EARLIER.sub("", template or "")
    right = encode_prompt(tokenizer, before + _QUESTION + after)
    beginning = "{{ bos_token }}" if framing(tokenizer).beginning else ""
    added = _ADDED
    for name, text in (("BEFORE", before), ("AFTER", after), ("SENTENCE", sentence)):
        added = added.replace(name, json.dumps(text, ensure_ascii=False))
    inner = before_training or _PLAIN.replace("{BEGINNING}", beginning)
    tokenizer.chat_template = added.replace("COMPLETE", COMPLETE) + inner
    if encode_prompt(tokenizer, before + _QUESTION + after) == right == encode_question(tokenizer, _QUESTION):
        return True
    tokenizer.chat_template = template
    return False


def encode_question(tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
    """Token ids of a question as any program puts it that knows no more than the tokenizer's template."""
    if not tokenizer.chat_template:
        return encode_prompt(tokenizer, question)
    turns = [{"role": "user", "content": question}]
    if framing(tokenizer).in_parts:
        turns = [{"role": "user", "content": [{"type": "text", "text": question}]}]
    text = cast("str", tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    return cast("list[int]", tokenizer(text, add_special_tokens=False)["input_ids"])
