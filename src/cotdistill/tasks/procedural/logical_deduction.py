"""Which object is where? Clues fix places and order neighbours; together they leave one arrangement.

Clues pin some objects to places and order the others in a chain, so they are as many as the objects less one, and each
is needed. The solver pins first, then grows the chain clue by clue, then fills the free places with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import ClassVar, NamedTuple

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution, Step, Wording, letter
from cotdistill.tasks.procedural.words import NUMBERS, ORDINALS, listed

NUM_OBJECTS = {1: (3, 3), 2: (4, 4), 3: (5, 5), 4: (6, 7)}


class Theme(NamedTuple):
    """A row of objects: ``before`` and ``after`` order two of them; ``first``, ``last`` and, counted from either end,
    ``from_first`` and ``from_last`` say where one is. An object goes by one word; ``named`` makes it a noun."""

    scene: str
    named: str
    before: str
    after: str
    first: str
    last: str
    from_first: str
    from_last: str
    objects: tuple[str, ...]


LEFT_TO_RIGHT = {
    "before": "is to the left of",
    "after": "is to the right of",
    "first": "is the leftmost",
    "last": "is the rightmost",
    "from_first": "is the {} from the left",
    "from_last": "is the {} from the right",
}
COLORS = ("red", "blue", "green", "yellow", "orange", "purple", "black", "white", "gray", "brown")

THEMES = (
    Theme(scene="A shelf holds {number} books: {objects}.", named="the {} book", objects=COLORS, **LEFT_TO_RIGHT),
    Theme(
        scene="On a wire sit {number} birds: {objects}.",
        named="the {}",
        objects=("crow", "dove", "falcon", "hawk", "jay", "owl", "quail", "raven", "robin", "wren"),
        **LEFT_TO_RIGHT,
    ),
    Theme(
        scene="A market sells {number} kinds of fruit: {objects}.",
        named="the {}",
        before="are cheaper than",
        after="cost more than",
        first="are the cheapest",
        last="are the most expensive",
        from_first="are the {}-cheapest",
        from_last="are the {}-most expensive",
        objects=("apples", "figs", "grapes", "kiwis", "lemons", "mangoes", "oranges", "peaches", "pears", "plums"),
    ),
    Theme(
        scene="In a race there were {number} runners: {objects}.",
        named="{}",
        before="finished above",
        after="finished below",
        first="finished first",
        last="finished last",
        from_first="finished {}",
        from_last="finished {}-to-last",
        objects=("Ada", "Ben", "Dana", "Eli", "Finn", "Hugo", "Iris", "Leo", "Mia", "Rosa"),
    ),
    Theme(
        scene="A dealer shows {number} cars: {objects}.",
        named="the {}",
        before="is newer than",
        after="is older than",
        first="is the newest",
        last="is the oldest",
        from_first="is the {}-newest",
        from_last="is the {}-oldest",
        objects=("bus", "coupe", "jeep", "limousine", "minivan", "pickup", "roadster", "sedan", "tractor", "truck"),
    ),
)


class Clue(NamedTuple):
    """``text`` as the question has it. A pin has a ``place`` (0 is the first) and no ``after``; else ``before`` and
    ``after`` are next to each other in the chain."""

    text: str
    before: str
    after: str | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class LogicalDeduction(Problem):
    """``objects`` in the order of the question; ``order`` from the first place to the last; ``asked`` is a place."""

    theme: int
    objects: tuple[str, ...]
    order: tuple[str, ...]
    clues: tuple[Clue, ...]
    asked: int
    from_first: bool

    answer_type: ClassVar[AnswerType] = "letter"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> LogicalDeduction:
        num_objects = random.randint(*NUM_OBJECTS[difficulty])
        theme = random.randrange(len(THEMES))
        objects = tuple(random.sample(THEMES[theme].objects, num_objects))
        order = tuple(random.sample(objects, num_objects))
        pinned = sorted(random.sample(range(num_objects), random.randint(0, num_objects - 2)))
        clues = [_draw_pin(random, THEMES[theme], order, place) for place in pinned]
        chain = [name for place, name in enumerate(order) if place not in pinned]
        clues += [_draw_order(random, THEMES[theme], *pair) for pair in pairwise(chain)]
        random.shuffle(clues)
        return cls(theme, objects, order, tuple(clues), random.randrange(num_objects), random.random() < 0.5)

    def question(self) -> str:
        theme = THEMES[self.theme]
        number = NUMBERS[len(self.objects)]
        scene = theme.scene.format(number=number, objects=listed(self.objects))
        clues = " ".join(clue.text for clue in self.clues)
        return f"{number.capitalize()} things are in a fixed order. {scene} {clues} Which of these is true?"

    def choices(self) -> tuple[str, ...]:
        return tuple(self._claim(name) for name in self.objects)

    def _claim(self, name: str) -> str:
        return _placed(THEMES[self.theme], name, self.asked, len(self.objects), self.from_first)

    def answer(self) -> str:
        return letter(self.objects.index(self.order[self.asked]))

    def solve(self) -> Solution:
        pins = [clue for clue in self.clues if clue.place is not None]
        steps, slots = self._pin_steps(pins)
        links = [clue for clue in self.clues if clue.place is None]
        chain_steps, chain = _chain_steps(links)
        steps += chain_steps
        order = _filled(slots, chain)
        steps.append(_fill_step(slots, chain, order))
        found = order[self.asked]
        return Solution(
            restated=f"We must order {', '.join(self.objects)} by {len(self.clues)} clues.",
            plan="We place what has a fixed place, chain the others, and fill the gaps.",
            start=Wording(f"Places: {_row(['?'] * len(order))}", f"places = 1..{len(order)}"),
            sketch=Wording(f"The order is {_row(order)}", f"order = {_row(order)}"),
            steps=tuple(steps),
            question=f"What is at place {self.asked + 1}?",
            conclusion=Wording(self._claim(found), f"order[{self.asked + 1}] = {found}"),
            check=f"all {len(self.clues)} clues hold in {_row(order)}",
            answer=f"({letter(self.objects.index(found))})",
        )

    def _pin_steps(self, pins: Sequence[Clue]) -> tuple[list[Step], list[str]]:
        """The steps that use the pins, and the places, with ``?`` where nothing is known."""
        steps = []
        slots = ["?"] * len(self.objects)
        for pin in pins:
            given, slots = _row(slots), slots.copy()
            assert pin.place is not None
            slots[pin.place] = pin.before
            steps.append(
                Step(
                    question=f"Where do we put {pin.before}?",
                    given=f"Places: {given}.",
                    reason=pin.text,
                    action=f"{pin.before} at place {pin.place + 1}",
                    working=f"place {pin.place + 1} is taken",
                    result=_row(slots),
                    symbols=f"place({pin.before}) = {pin.place + 1} => {_row(slots)}",
                    check=f"{slots.count('?')} places are free",
                )
            )
        return steps, slots


def _chain_steps(links: Sequence[Clue]) -> tuple[list[Step], list[str]]:
    """The steps that join ordering clues into a chain, each clue as soon as it fits to an end, and the chain."""
    steps: list[Step] = []
    chain: list[str] = []
    waiting = list(links)
    while waiting:
        clue = next(clue for clue in waiting if not chain or chain[-1] == clue.before or chain[0] == clue.after)
        waiting.remove(clue)
        before, after = clue.before, clue.after
        assert after is not None
        grown = [*chain, after] if chain and chain[-1] == before else [before, *(chain or [after])]
        steps.append(
            Step(
                question=f"How do {before} and {after} stand?",
                given=f"Chain: {_row(chain) or 'empty'}.",
                reason=clue.text,
                action=f"{before} before {after}",
                working=f"{after} follows {before}",
                result=_row(grown),
                symbols=f"{before} < {after} => {_row(grown)}",
                check=f"{len(grown)} in the chain",
            )
        )
        chain = grown
    return steps, chain


def _fill_step(slots: Sequence[str], chain: Sequence[str], order: Sequence[str]) -> Step:
    free = " ".join(str(place) for place, name in enumerate(slots, 1) if name == "?")
    return Step(
        question="What is the whole order?",
        given=f"Places: {_row(slots)}.",
        reason="The chain takes the free places.",
        action=f"Fill in {_row(chain)}",
        working=f"places {free} were free",
        result=_row(order),
        symbols=f"fill({_row(chain)}) => {_row(order)}",
        check=f"{len(order)} objects in {len(order)} places",
    )


def _filled(slots: Sequence[str], chain: Sequence[str]) -> list[str]:
    rest = iter(chain)
    return [next(rest) if name == "?" else name for name in slots]


def _row(names: Sequence[str]) -> str:
    return " ".join(names)


def _draw_pin(random: Random, theme: Theme, order: Sequence[str], place: int) -> Clue:
    text = _placed(theme, order[place], place, len(order), from_first=random.random() < 0.5)
    return Clue(f"{text}.", before=order[place], place=place)


def _draw_order(random: Random, theme: Theme, before: str, after: str) -> Clue:
    one, other = theme.named.format(before), theme.named.format(after)
    text = f"{one} {theme.before} {other}" if random.random() < 0.5 else f"{other} {theme.after} {one}"
    return Clue(f"{text[0].upper()}{text[1:]}.", before, after)


def _placed(theme: Theme, name: str, place: int, num_places: int, from_first: bool) -> str:
    """``The gray book is the second from the left``: counted from one end, unless it is at an end."""
    named = theme.named.format(name)
    if place == 0:
        where = theme.first
    elif place == num_places - 1:
        where = theme.last
    else:
        ordinal = ORDINALS[place + 1 if from_first else num_places - place]
        where = (theme.from_first if from_first else theme.from_last).format(ordinal)
    return f"{named[0].upper()}{named[1:]} {where}"
