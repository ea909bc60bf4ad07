"""`--watch`: reads a list again and again until Ctrl-C, and shows what changed."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, Self, TextIO

import typer

from adapters.errors import StoreUnavailable
from consumer.cli.output import note, table

#: How long a look at the list is shown.
EVERY_SECONDS: Final = 2.0
Rows = Sequence[Mapping[str, Any]]


class Shown(Protocol):
    """Shows the rows of each look."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, rows: Rows) -> None: ...

    def fails(self, why: str) -> None:
        """The store did not answer. What was shown stays."""


def watch(read: Callable[[], Rows], shown: Shown, wait: Callable[[float], object]) -> None:
    """Read and show the rows every two seconds, until Ctrl-C. A store that does not answer ends nothing."""
    try:
        with shown:
            while True:
                try:
                    shown.show(read())
                except StoreUnavailable as error:
                    shown.fails(str(error))
                wait(EVERY_SECONDS)
    except KeyboardInterrupt:
        return


_TO_SECOND_SCREEN: Final = "\x1b[?1049h\x1b[?25l"  # without its cursor
_BACK: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_CLEAR_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"


class Screen:
    """The second screen of a terminal. Each look is written over the one before, in one piece, so nothing flickers.

    At the end the first screen comes back, with the last look.
    """

    def __init__(self, title: Callable[[], str], out: TextIO = sys.stdout) -> None:
        """`title`: the first line of each look."""
        self._title = title
        self._out = out
        self._lines: list[str] = []  # of the last look

    def __enter__(self) -> Self:
        self._write(_TO_SECOND_SCREEN)
        return self

    def __exit__(self, *_: object) -> None:
        self._write(_BACK + "".join(f"{line}\n" for line in self._lines))

    def show(self, rows: Rows) -> None:
        size = shutil.get_terminal_size()
        self._lines = [self._title(), *(table(rows, size.columns) if rows else ["none"])]
        room = size.lines - 1  # a line feed in the last line would move all of them
        lines = self._lines
        if len(lines) > room:
            lines = [*lines[: room - 1], f"... {len(lines) - room + 1} lines more: make the window higher, or filter"]
        text = "".join(f"{line[: size.columns]}{_CLEAR_LINE}\r\n" for line in lines)
        self._write(_HOME + text + _CLEAR_BELOW)

    def fails(self, why: str) -> None:
        self._write(f"{_HOME}not read: {why[:60]}; trying again{_CLEAR_LINE}")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class JsonLines:
    """A line of JSON for each row that is new on the list (`listed`), has changed, or is not on the list any more
    (`unlisted`, as it was last)."""

    def __init__(self, key: Sequence[str]) -> None:
        """`key`: the names of the values that tell a row from the others."""
        self._key = key
        self._before: dict[tuple[Any, ...], Mapping[str, Any]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, rows: Rows) -> None:
        now = {tuple(row[name] for name in self._key): row for row in rows}
        before = self._before or {}
        for key, row in now.items():
            if key not in before:
                self._print("listed", row)
            elif before[key] != row:
                self._print("changed", row)
        for key in before.keys() - now.keys():
            self._print("unlisted", before[key])
        self._before = now

    def fails(self, why: str) -> None:
        note(f"orderflow: not read: {why}; trying again")

    @staticmethod
    def _print(change: str, row: Mapping[str, Any]) -> None:
        typer.echo(json.dumps({"change": change} | dict(row), default=lambda instant: instant.isoformat()))
        sys.stdout.flush()
