"""What others call the columns that we read."""

from __future__ import annotations

from collections.abc import Collection, Iterable

_OTHERS = {
    "question": "prompt query instruction problem problem_statement question_text text input user frage aufgabe "
    "pregunta",
    "answer": "label target gold gold_answer final_answer correct_answer expected ground_truth result output response "
    "completion antwort lösung ergebnis respuesta",
    "rationale": "explanation reasoning chain_of_thought cot rationales reason thought thoughts steps solution working "
    "analysis justification begründung erklärung",
    "choices": "options candidates",
}
"""The likeliest first."""


def likely_column(ours: str, columns: Iterable[str], taken: Collection[str] = ()) -> str | None:
    """The column of a table that probably means ours; None if none does, or if it has ours."""
    by_word = {"_".join(column.casefold().split()): column for column in columns if column and column not in taken}
    if ours in by_word.values():
        return None
    return next((by_word[word] for word in (ours, *_OTHERS.get(ours, "").split()) if word in by_word), None)
