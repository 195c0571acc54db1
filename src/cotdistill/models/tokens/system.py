"""A student's own system message, written into its chat template: the same in training and evaluation, and saved."""

from __future__ import annotations

import json

from transformers import PreTrainedTokenizerBase

from cotdistill.errors import ModelError

_FIRST = (
    "{{% if not messages or messages[0]['role'] != 'system' %}}"
    "{{% set messages = [{{'role': 'system', 'content': {text} if messages and messages[0]['content'] is string "
    "else [{{'type': 'text', 'text': {text}}}]}}] + messages %}}{{% endif %}}"
)


def set_system(tokenizer: PreTrainedTokenizerBase, text: str | None) -> None:
    """Put ``text`` before every conversation that has no system message; None changes nothing.

    Raises ModelError for a model without a chat template.
    """
    if text is None:
        return
    templates = tokenizer.chat_template
    if not templates:
        raise ModelError(
            "it has no chat template that could hold a system message",
            where=tokenizer.name_or_path,
            remedy="delete student.system, or take a chat model",
        )
    first = _FIRST.format(text=json.dumps(text, ensure_ascii=False))
    if isinstance(templates, dict):
        tokenizer.chat_template = {name: first + template for name, template in templates.items()}
    else:
        tokenizer.chat_template = first + templates
