"""Runs the checks: those of different remotes at the same time, each bounded in time.

A subject is one thing that is asked: this machine, the store, Kafka, a shop at Mirakl, its company at the OMS. Its
checks run one after another in a thread of its own, because most need what the first one found.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.errors import StoreUnavailable
from consumer.operations.doctor.findings import Check, Found, Line, Result, fail, skipped

#: A check that takes longer has failed, and nothing more is asked of its subject.
LIMIT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked, and its checks in their order. `close` is called once, when nothing more is asked."""

    of: str
    checks: Sequence[Check]
    close: Callable[[], object] = lambda: None


def examine(subjects: Sequence[Subject], limit_seconds: float = LIMIT_SECONDS) -> list[Line]:
    """Run all checks. Returns their lines in the order of the subjects. Raises nothing that a check raises."""
    running = [_Running(subject) for subject in subjects]
    return [line for one in running for line in one.lines(limit_seconds)]


class _Running:
    """A subject whose checks run in a thread. The thread is left behind if a check takes too long."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._changes = threading.Condition()
        self._lines: list[Line] = []
        self._at = 0  # the index of the check that runs; the number of checks: all are done
        self._since = time.monotonic()
        self._is_given_up = False
        threading.Thread(target=self._run, name=f"doctor:{subject.of}", daemon=True).start()

    def lines(self, limit_seconds: float) -> list[Line]:
        """Wait for the subject. Gives it up when one of its checks takes longer than the limit."""
        checks = self._subject.checks
        with self._changes:
            while self._at < len(checks):
                left = self._since + limit_seconds - time.monotonic()
                if left <= 0:
                    self._is_given_up = True
                    late, *rest = checks[self._at :]
                    cure = "look at the network between here and there; then ask again"
                    self._add(late.name, fail(f"no answer in {limit_seconds:.0f} s", cure))
                    for check in rest:
                        self._add(check.name, skipped(f"{late.name} gave no answer"))
                    break
                self._changes.wait(left)
        if self._is_given_up:
            self._subject.close()
        return self._lines

    def _run(self) -> None:
        bad: set[str] = set()
        for number, check in enumerate(self._subject.checks):
            found = skipped(f"{check.needs} has to be ok first") if check.needs in bad else _looked(check)
            if any(one.result in (Result.FAIL, Result.SKIPPED) for one in found):
                bad.add(check.name)
            is_last = number + 1 == len(self._subject.checks)
            if is_last and not self._is_given_up:
                self._subject.close()
            with self._changes:
                if self._is_given_up:
                    return
                self._add(check.name, found)
                self._at, self._since = number + 1, time.monotonic()
                self._changes.notify_all()

    def _add(self, check: str, found: Sequence[Found]) -> None:
        self._lines += [Line(one.result, check, self._subject.of, one.text, one.cure) for one in found]


def _looked(check: Check) -> Sequence[Found]:
    try:
        return check.look()
    except StoreUnavailable as error:
        cure = "mend what the lines store.* say, or ask again if they are ok"
        return fail(f"the store could not do what this check needs: {error.cause}", cure)
    except Exception as error:  # a check that fails must not stop the others
        return fail(f"the check itself failed ({type(error).__name__})", "report this; the other lines are right")
