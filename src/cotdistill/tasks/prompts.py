"""The one template: what a model is asked, and what it is taught to reply, in training and in evaluation alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from cotdistill.config import GoldContext, LossTurns, Message, TrainingTarget
from cotdistill.records import AnswerType, Question, Rationale
from cotdistill.tasks.answers.stripping import clean_rationale
from cotdistill.tasks.reasoning import without_marks
from cotdistill.tasks.segments import Region, Segment

Target = Literal["rationale", "answer", "answer_then_rationale", "predict", "explain", "turn"]
"""What a prompt asks for: a rationale and then the answer; the answer alone; the answer and then a rationale.
``predict`` (the answer) and ``explain`` (the rationale) are two tasks of one student, told apart by a prefix, as in
distilling step-by-step (Hsieh et al. 2023, arXiv 2305.02301). ``turn``: what was said in a conversation, as it was."""

_PREFIXES: dict[Target, str] = {"predict": "predict: ", "explain": "explain: "}

ANSWER_NAMES: dict[AnswerType, str] = {
    "number": "the number",
    "letter": "the letter of the right choice",
    "yes_no": "Yes or No",
    "true_false": "True or False",
    "list": "the items in order, separated by spaces",
    "text": "the result",
    "math": "the result in LaTeX",
}


def answer_name(answer_type: AnswerType) -> str:
    """What an answer of this type is called in an instruction."""
    return ANSWER_NAMES[answer_type]


def prompt_text(question: Question, target: Target, hint: str = "") -> str:
    """The question, its choices as "(A) ..." lines, a hint for a teacher, and one sentence that says what to reply."""
    if target == "turn":
        return question.question
    choices = [f"({chr(ord('A') + index)}) {choice}" for index, choice in enumerate(question.choices or ())]
    asked = _PREFIXES.get(target, "") + question.question
    return "\n".join([asked, *choices, *([hint] if hint else []), instruction(question.answer_type, target)])


def prompt_of(question: Question, target: Target, hint: str = "") -> str | tuple[Message, ...]:
    """:func:`prompt_text` behind the turns that came before the question, if there are any.

    What an assistant thought in earlier turns is not shown again, as templates of thinking models have it.
    """
    asked = prompt_text(question, target, hint)
    return in_conversation(question, asked)


def in_conversation(question: Question, asked: str | tuple[Message, ...]) -> str | tuple[Message, ...]:
    """What is asked about a question, behind the turns that came before it; alone if there are none.

    Of messages, the last comes behind the turns, and a system message among them goes before the conversation's.
    """
    if not question.turns:
        return asked
    turns = (Message(turn.role, turn.content) for turn in question.turns)
    if isinstance(asked, str):
        return (*turns, Message("user", asked))
    *before, last = asked
    is_own = any(message.role == "system" for message in before)
    return (*before, *(turn for turn in turns if not (is_own and turn.role == "system")), last)


INSTRUCTION_MARK = '"The answer is" and'
"""What every instruction that asks for an answer has in it."""


def around_question(answer_type: AnswerType, target: Target) -> tuple[str, str]:
    """What a prompt has before and after a question without choices."""
    place = "\0"
    before, _, after = prompt_text(Question("", "", "", place, "", answer_type), target).partition(place)
    return before, after


def instruction(answer_type: AnswerType, target: Target) -> str:
    """The sentence that says what to reply."""
    if target in ("answer", "predict"):
        return f'Reply with "The answer is" and {ANSWER_NAMES[answer_type]}, nothing else.'
    if target == "answer_then_rationale":
        return f'Start with "The answer is" and {ANSWER_NAMES[answer_type]}, then explain it step by step.'
    if target == "explain":
        return "Think step by step, without stating the answer."
    return f'Think step by step, then finish with "The answer is" and {ANSWER_NAMES[answer_type]}.'


def asked_of(rationale: Rationale, target: TrainingTarget) -> tuple[Target, ...]:
    """What a student is asked about one question, each prompt with its own response.

    If there is no rationale, only the answer is asked for.
    """
    if target == "multi_task":
        explains = rationale.reasoning or clean_rationale(rationale.rationale or "")
        return ("predict", "explain") if explains else ("predict",)
    if target == "answer_only" or (rationale.rationale is None and not rationale.reasoning):
        return ("answer",)
    return ("rationale",) if target == "rationale_then_answer" else ("answer_then_rationale",)


def lessons_of(
    rationales: Iterable[Rationale], target: TrainingTarget, loss_turns: LossTurns = "last"
) -> Iterator[tuple[Rationale, Target]]:
    """What a student is taught, example by example: with ``all``, also every earlier turn of the assistant, behind what
    came before it."""
    for rationale in rationales:
        if loss_turns == "all":
            for earlier in _earlier_turns(rationale):
                yield earlier, "turn"
        for asked in asked_of(rationale, target):
            yield rationale, asked


def _earlier_turns(rationale: Rationale) -> Iterator[Rationale]:
    question = rationale.question
    turns = question.turns or ()
    for place, turn in enumerate(turns):
        if turn.role == "assistant":
            before = replace(
                question,
                id=f"{question.id}, turn {place + 1}",
                question=turns[place - 1].content,
                answer="",
                choices=None,
                turns=turns[: place - 1] or None,
            )
            yield replace(rationale, question=before, rationale=turn.content, reasoning=turn.reasoning)


def target_of_student(rationales: Iterable[Rationale], target: TrainingTarget) -> Target:
    """What a student trained on ``rationales`` is asked for: the answer alone if that is all it saw."""
    for rationale in rationales:
        if (asked := asked_of(rationale, target)[0]) != "answer":
            return asked
    return "answer"


class Response(NamedTuple):
    """What is taught: ``reasoning`` for the template's block ("": none), what is ``visible`` behind it, in order, and
    the region of the stop token."""

    reasoning: str
    visible: tuple[Segment, ...]
    end: Region = Region.END


def response_of(rationale: Rationale, target: Target = "rationale", *, thinks: bool = False) -> Response:
    """The rationale and the statement of the gold answer; for ``answer_then_rationale`` in reverse order.

    The line break between two texts is at the end of the first. A student that ``thinks`` does so before it says
    anything: what the teacher thought, or else a rationale that comes before the answer. Any other says all of it. If
    only a rationale is asked for, the stop token belongs to it, so ``region: rationale`` is the task of explaining, and
    ``region: answer`` that of answering. A turn of a conversation is taught as it is.
    """
    explains = target not in ("answer", "predict")
    said = clean_rationale(rationale.rationale or "") if explains else ""
    if target == "turn":
        said = rationale.rationale or ""
    thought = without_marks(rationale.reasoning or "").strip() if explains else ""
    if thinks and not thought and target in ("rationale", "explain"):
        thought, said = said, ""
    shown = [Segment("" if thinks else thought, Region.REASONING), Segment(said, Region.RATIONALE)]
    explained = [segment for segment in shown if segment.text]
    stated = [] if target in ("explain", "turn") else [Segment(answer_statement(rationale.question), Region.ANSWER)]
    visible = _lines(stated + explained if target == "answer_then_rationale" else explained + stated)
    return Response(thought if thinks else "", visible, Region.RATIONALE if target == "explain" else Region.END)


def _lines(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    return tuple(each._replace(text=f"{each.text}\n") for each in segments[:-1]) + tuple(segments[-1:])


def response_text(rationale: Rationale, target: Target = "rationale") -> str:
    """What is taught, as one text."""
    return "".join(segment.text for segment in response_of(rationale, target).visible)


def hint_of(rationale: Rationale, context: GoldContext) -> str:
    """What a teacher may know that its student does not: the gold answer, alone or after the rationale."""
    known = {
        "none": "",
        "answer": answer_statement(rationale.question),
        "rationale": response_text(rationale),
    }
    return f"For reference: {known[context]}" if known[context] else ""


def answer_statement(question: Question) -> str:
    return f"The answer is {question.answer}."
