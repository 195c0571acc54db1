"""Which date is it? A date is given, today lies some days from it, and a date some time from today is asked."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal, NamedTuple

from cotdistill.records import AnswerType
from cotdistill.tasks.procedural.problem import Problem, Solution, Step, Wording, letter
from cotdistill.tasks.procedural.words import NAMES

MONTHS = ("", "January", "February", "March", "April", "May", "June")
MONTHS += ("July", "August", "September", "October", "November", "December")
MONTH_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
EVENTS = ("exam", "flight", "interview", "lecture", "meeting", "recital", "trip", "visit", "wedding", "workshop")
NUM_CHOICES = {1: 4, 2: 4, 3: 5, 4: 6}
Unit = Literal["day", "week", "month", "year"]
DAYS = {"day": 1, "week": 7}
LARGEST_QUERY: dict[Unit, int] = {"day": 10, "week": 3, "month": 11, "year": 10}
YEARS = (1950, 2030)


class Shift(NamedTuple):
    """So many units later; earlier where ``amount`` is negative."""

    amount: int
    unit: Unit

    def __str__(self) -> str:
        """``3 days later``."""
        return f"{self.span} {'later' if self.amount > 0 else 'earlier'}"

    @property
    def span(self) -> str:
        return f"1 {self.unit}" if abs(self.amount) == 1 else f"{abs(self.amount)} {self.unit}s"


class Date(NamedTuple):
    """A day; its arithmetic is written out here because the solution shows it."""

    year: int
    month: int
    day: int

    def __str__(self) -> str:
        return f"{self.month:02}/{self.day:02}/{self.year}"

    def shifted(self, shift: Shift) -> Date:
        """At most one month's end may be crossed by days and weeks; months and years keep the day."""
        if shift.unit == "year":
            return self._replace(year=self.year + shift.amount)
        if shift.unit == "month":
            years, month = divmod(self.month - 1 + shift.amount, 12)
            return self._replace(year=self.year + years, month=month + 1)
        day = self.day + shift.amount * DAYS[shift.unit]
        if day < 1:
            before = self._replace(day=1).shifted(Shift(-1, "month"))
            return before._replace(day=day + before.num_days)
        if day > self.num_days:
            return self._replace(day=day - self.num_days).shifted(Shift(1, "month"))
        return self._replace(day=day)

    @property
    def num_days(self) -> int:
        """How many days the month has."""
        is_leap_year = self.year % 4 == 0 and (self.year % 100 != 0 or self.year % 400 == 0)
        return 29 if self.month == 2 and is_leap_year else MONTH_LENGTHS[self.month]


@dataclass(frozen=True, slots=True)
class DateUnderstanding(Problem):
    """The date in the text and the shifts from there: of an event (none, one or two), to today, to the date asked.

    Without the shift to today (difficulty 1) the date in the text is today's.
    """

    start: Date
    shifts: tuple[Shift, ...]
    name: str
    event: str
    date_style: int
    options: tuple[str, ...]

    answer_type: ClassVar[AnswerType] = "letter"

    @classmethod
    def draw(cls, random: Random, difficulty: int) -> DateUnderstanding:
        start = Date(random.randint(*YEARS), random.randint(1, 12), 1)
        start = start._replace(day=random.randint(1, start.num_days))
        shifts = [Shift(_signed(random, 9), "day") for _ in range(difficulty - 1)]
        if difficulty == 4:
            shifts[1] = Shift(_signed(random, 2), "week")
        today = _shifted(start, shifts)
        shifts.append(_draw_query(random, difficulty, today))
        asked = today.shifted(shifts[-1])
        options = _draw_options(random, asked, today, NUM_CHOICES[difficulty])
        return cls(start, tuple(shifts), random.choice(NAMES), random.choice(EVENTS), random.randrange(3), options)

    def question(self) -> str:
        return f"{self._statement()} What is the date {_query(self.shifts[-1])} in MM/DD/YYYY?"

    def _statement(self) -> str:
        date = _written(self.start, self.date_style)
        if len(self.shifts) == 1:
            return f"Today is {date}."
        *moves, to_today = self.shifts[:-1]
        days = -to_today.amount
        if not moves:
            near = {-2: "The day before yesterday was", -1: "Yesterday was", 1: "Tomorrow is"}
            if days in near:
                return f"{near[days]} {date}."
            when = f"is in {days} days, on" if days > 0 else f"was {-days} days ago, on"
            return f"{self.name}'s {self.event} {when} {date}."
        moved = " and then ".join(str(move) for move in moves)
        when = {-1: "was yesterday", 1: "is tomorrow"}.get(
            days, f"is in {days} days" if days > 0 else f"was {-days} days ago"
        )
        return f"{self.name}'s {self.event} was planned for {date}, but was moved {moved}. It {when}."

    def choices(self) -> tuple[str, ...]:
        return self.options

    def answer(self) -> str:
        return letter(self.options.index(str(_shifted(self.start, self.shifts))))

    def solve(self) -> Solution:
        steps: list[Step] = []
        date = self.start
        for index, shift in enumerate(self.shifts, 1):
            steps.append(_step(index, self._action(index), date, shift))
            date = date.shifted(shift)
        query = _query(self.shifts[-1])
        terms = "".join(f" {'+' if shift.amount > 0 else '-'} {shift.span}" for shift in self.shifts)
        moves = ", then ".join(str(shift) for shift in self.shifts)
        return Solution(
            restated=f"From {self.start} we must find the date {query}.",
            plan="We first find today's date, then the date asked for, then its option.",
            start=Wording(f"Given: {self.start}", f"d0 = {self.start}"),
            sketch=Wording(moves.capitalize(), f"d = d0{terms}"),
            steps=tuple(steps),
            question=f"Which option is {query}?",
            conclusion=Wording(f"The date is {date}", f"d = {date}"),
            check=f"of the {len(self.options)} options only one is {date}",
            answer=f"({letter(self.options.index(str(date)))})",
        )

    def _action(self, index: int) -> str:
        shift = self.shifts[index - 1]
        if index == len(self.shifts):
            return _query(shift).capitalize()
        return f"Today is {shift}" if index == len(self.shifts) - 1 else f"Moved {shift}"


def _signed(random: Random, largest: int) -> int:
    return random.choice((-1, 1)) * random.randint(1, largest)


def _shifted(date: Date, shifts: list[Shift] | tuple[Shift, ...]) -> Date:
    for shift in shifts:
        date = date.shifted(shift)
    return date


def _draw_query(random: Random, difficulty: int, today: Date) -> Shift:
    """Months and years only where every month has today's day."""
    units: list[Unit] = ["day"]
    if difficulty > 1:
        units.append("week")
    if difficulty > 2 and today.day <= 28:
        units.extend(("month", "year"))
    unit = random.choice(units)
    return Shift(_signed(random, LARGEST_QUERY[unit]), unit)


def _draw_options(random: Random, asked: Date, today: Date, num_options: int) -> tuple[str, ...]:
    """The date asked for among others that slips lead to."""
    safe = asked._replace(day=min(asked.day, 28))
    slips = {today, asked.shifted(Shift(-1, "day")), asked.shifted(Shift(1, "day"))}
    units: tuple[Unit, ...] = ("month", "year")
    slips |= {safe.shifted(Shift(amount, unit)) for amount in (-1, 1) for unit in units}
    others = random.sample(sorted(slips - {asked}), num_options - 1)
    return tuple(random.sample([str(date) for date in (asked, *others)], num_options))


def _written(date: Date, style: int) -> str:
    month = MONTHS[date.month]
    return (f"{month} {date.day}, {date.year}", str(date), f"{date.day} {month} {date.year}")[style]


def _query(shift: Shift) -> str:
    near = {Shift(1, "day"): "tomorrow", Shift(-1, "day"): "yesterday"}
    return near.get(shift, f"{shift.span} {'from today' if shift.amount > 0 else 'ago'}")


def _step(index: int, action: str, before: Date, shift: Shift) -> Step:
    after = before.shifted(shift)
    reason, working = _working(before, after, shift)
    sign = "+" if shift.amount > 0 else "-"
    return Step(
        question=f"Which date is {shift}?",
        given=f"We have {before}.",
        reason=reason,
        action=action,
        working=working,
        result=str(after),
        symbols=f"d{index} = d{index - 1} {sign} {shift.span} = {after}",
        check=f"{Shift(-shift.amount, shift.unit)} is {before} again",
    )


def _working(before: Date, after: Date, shift: Shift) -> tuple[str, str]:
    """The rule (a sentence) and the sum that give the new day, month or year."""
    sign = "+" if shift.amount > 0 else "-"
    if shift.unit == "year":
        return "Day and month stay.", f"{before.year} {sign} {abs(shift.amount)} = {after.year}"
    if shift.unit == "month":
        carry = "" if after.year == before.year else " - 12" if after.year > before.year else " + 12"
        return "The day stays.", f"month {before.month} {sign} {abs(shift.amount)}{carry} = {after.month}"
    num_days = abs(shift.amount) * DAYS[shift.unit]
    if after.month == before.month:
        return "The month stays.", f"day {before.day} {sign} {num_days} = {after.day}"
    ended = before if shift.amount > 0 else after
    other_sign = "-" if shift.amount > 0 else "+"
    return (
        f"{MONTHS[ended.month]} has {ended.num_days} days.",
        f"day {before.day} {sign} {num_days} {other_sign} {ended.num_days} = {after.day} of {MONTHS[after.month]}",
    )
