"""What the doctor says: one line for each thing that it has looked at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Result(StrEnum):
    """What a check found."""

    OK = "ok"
    WARN = "warn"  # it works, and a person should know
    FAIL = "fail"
    SKIPPED = "skipped"  # it could not be asked, because something else fails or is not there


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found of one thing, and what a person does about it."""

    result: Result
    text: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the answer: a check, what it looked at, and what it found. `of` "": this machine, the only store or
    the only log."""

    result: Result
    check: str
    of: str
    found: str
    cure: str


@dataclass(frozen=True, slots=True)
class Check:
    """One check, bound to what it looks at.

    `needs`: the name of an earlier check of the same subject. If that one fails or is skipped, this one is skipped.
    """

    name: str
    look: Callable[[], Sequence[Found]]
    needs: str = ""


#: A machine's clock that differs by more than SKEW_SECONDS is a warning; by more than WRONG_CLOCK_SECONDS, a failure.
SKEW_SECONDS: Final = 5.0
WRONG_CLOCK_SECONDS: Final = 60.0


def ok(text: str) -> list[Found]:
    return [Found(Result.OK, text)]


def warn(text: str, cure: str) -> list[Found]:
    return [Found(Result.WARN, text, cure)]


def fail(text: str, cure: str) -> list[Found]:
    return [Found(Result.FAIL, text, cure)]


def skipped(text: str, cure: str = "") -> list[Found]:
    return [Found(Result.SKIPPED, text, cure)]


def skew(seconds: float, of: str) -> list[Found]:
    """Return what a difference between the clock of this machine and another one means. Negative: ours is behind."""
    text = f"this machine is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {of}"
    cure = "set the time of this machine (NTP)"
    if abs(seconds) > WRONG_CLOCK_SECONDS:
        return fail(text, cure)
    return warn(text, cure) if abs(seconds) > SKEW_SECONDS else ok(f"within {SKEW_SECONDS:.0f} s of {of}")
