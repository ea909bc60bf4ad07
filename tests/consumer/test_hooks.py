"""Hooks: a subclass overrides the methods that it needs, and `Several` calls each of several hooks in their order."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from consumer.hooks import HOOKS, Hooks, Several


class Heard(Hooks):
    """Records every call in a list that several recorders share."""

    def __init__(self, name: str, calls: list[tuple[str, str, tuple[Any, ...]]]) -> None:
        def keep(hook: str) -> Callable[..., None]:
            return lambda *args: calls.append((name, hook, args))

        for hook in HOOKS:
            setattr(self, hook, keep(hook))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_passed_on_to_each_of_several_in_order(hook: str) -> None:
    calls: list[tuple[str, str, tuple[Any, ...]]] = []
    several = Several(Heard("first", calls), Heard("second", calls))
    args = tuple(object() for _ in inspect.signature(getattr(Hooks(), hook)).parameters)
    getattr(several, hook)(*args)
    assert calls == [("first", hook, args), ("second", hook, args)]


def test_the_list_of_hooks_is_the_list_of_methods() -> None:
    assert set(HOOKS) == {name for name, _ in inspect.getmembers(Hooks, inspect.isfunction)}
