"""No clock in a prompt: chat templates that write today's date write one fixed date.

Otherwise a training resumed after midnight would be another one, and a teacher's stored signal would no longer be
found.
"""

from __future__ import annotations

import datetime as dt
import json
import re

from transformers import PreTrainedTokenizerBase

from cotdistill.errors import ModelError

_CALL = re.compile(r"""\bstrftime_now\(\s*(?:format\s*=\s*)?(["'])(?P<format>(?:(?!\1)[^\\])*)\1\s*\)""")
_ANY_CALL = re.compile(r"\bstrftime_now\s*\(")


def fix_date(tokenizer: PreTrainedTokenizerBase, date: dt.date) -> None:
    """Put ``date`` into the tokenizer's chat templates wherever they ask for today's; it is saved with them.

    Raises ModelError for a template that asks in an unknown way.
    """
    templates = tokenizer.chat_template
    if isinstance(templates, dict):
        tokenizer.chat_template = {name: _dated(text, date, tokenizer) for name, text in templates.items()}
    elif templates:
        tokenizer.chat_template = _dated(templates, date, tokenizer)


def _dated(template: str, date: dt.date, tokenizer: PreTrainedTokenizerBase) -> str:
    midnight = dt.datetime.combine(date, dt.time())
    text = _CALL.sub(lambda call: json.dumps(midnight.strftime(call["format"]), ensure_ascii=False), template)
    if _ANY_CALL.search(text):
        raise ModelError(
            "its chat template asks for the time in a way that cannot be fixed",
            where=tokenizer.name_or_path,
            remedy="write a date into the template in its folder",
        )
    return text
