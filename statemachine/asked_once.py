"""Keeps the answer of a question about facts with the facts. Facts never change, and a plan asks some questions ten
times."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, TypeVarTuple

Ts = TypeVarTuple("Ts")
T = TypeVar("T")
A = TypeVar("A", bound="KeepsAnswers")


class KeepsAnswers:
    """What has room for answers. They are no field: they are neither compared, stored nor copied by `replace`."""

    __slots__ = ("_kept",)
    _kept: dict[object, tuple[tuple[Any, ...], Any]]  # by question, its last arguments and the answer


def asked_once(question: Callable[[A, *Ts], T]) -> Callable[[A, *Ts], T]:
    """Make a function of frozen values answer from memory when it is asked again with the same arguments.

    Nobody may change the answer.
    """

    @wraps(question)
    def answer(about: A, /, *more: *Ts) -> T:
        try:
            kept = about._kept
        except AttributeError:
            kept = {}
            object.__setattr__(about, "_kept", kept)  # the class is frozen
        last = kept.get(question)
        if last is None or last[0] != more:
            last = kept[question] = more, question(about, *more)
        found: T = last[1]
        return found

    return answer
