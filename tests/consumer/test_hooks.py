"""Hooks: a subclass overrides the methods that it needs, and `Several` calls each of several hooks in their order."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

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


def test_a_hook_that_raises_keeps_no_other_from_its_call_and_no_loop_from_its_turn() -> None:
    class Raises(Hooks):
        def page_published(self, shop: str) -> None:
            raise ZeroDivisionError

    calls: list[tuple[str, str, tuple[Any, ...]]] = []
    several = Several(Raises(), Heard("second", calls))
    with capture_logs() as lines:
        several.page_published("alpha")
        several.page_published("beta")
    assert [args for _, _, args in calls] == [("alpha",), ("beta",)]
    assert [(line["event"], line["hook"], line["error"]) for line in lines] == [
        ("hook_failed", "page_published", "ZeroDivisionError")
    ]
