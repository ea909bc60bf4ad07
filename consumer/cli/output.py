"""What a command prints: tables, pairs and JSON on standard output, errors and questions on standard error."""

import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from textwrap import TextWrapper, indent
from typing import Any, Final, NoReturn

import typer

#: Exit code: the command worked, and its answer is bad (the help of `orderflow` lists these answers).
BAD_ANSWER: Final = 1
#: Exit code: the configuration or the use is wrong, the store does not answer, or a loop of `run` ended by itself.
BAD_USE: Final = 2


#: Words up to this length stay whole in a table on a terminal, if there is room. The longest name of a reason has 27.
LONGEST_WHOLE_WORD: Final = 27


#: Values up to this length, such as "119 min ago", are not folded if there is room.
SHORT_VALUE: Final = 11


def fail(text: str, code: int) -> NoReturn:
    """Print an error, each line of it after the program's name, and end the command with this exit code."""
    for line in text.splitlines():
        typer.echo(f"orderflow: {printable(line)}", err=True)
    raise typer.Exit(code)


def note(text: str) -> None:
    """Print a line for the person on standard error."""
    typer.echo(folded(printable(text)), err=True)


def ask(question: str, yes: bool) -> None:
    """Ask for confirmation, unless --yes was given. A no ends the command with exit code 1."""
    if yes:
        return
    try:
        agreed = typer.confirm(printable(question), err=True)
    except typer.Abort as error:  # the input ended, or Ctrl-C, which click keeps as the context
        by_hand = isinstance(error.__context__, KeyboardInterrupt)
        why = "" if by_hand else "there was no answer, so "
        advice = "" if by_hand else "; with --yes nothing is asked"
        typer.echo(f"\norderflow: {why}nothing was done{advice}", err=True)
        raise
    if not agreed:
        raise typer.Abort


def at_most(limit: int, rows: list[dict[str, Any]], more: str = "--limit shows more") -> list[dict[str, Any]]:
    """Return the first `limit` rows. If there are more, say so on standard error, and how to see them (`more`).

    The caller has to read `limit + 1` rows.
    """
    if len(rows) > limit:
        typer.echo(f"orderflow: there are more than {limit}; {more}", err=True)
    return rows[:limit]


def print_json(value: Any) -> None:
    """Print JSON in ASCII. So no control character that a remote wrote reaches the terminal."""
    typer.echo(_json(value))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=lambda instant: instant.isoformat())


def print_json_items(items: Iterable[Any]) -> None:
    """Print a list as `print_json` does, one item after the other, so that they need not be in memory together."""
    before = "["
    for item in items:
        typer.echo(before)
        before = ","
        typer.echo(indent(_json(item), "  "), nl=False)
    typer.echo("[]" if before == "[" else "\n]")


def print_rows(rows: Sequence[Mapping[str, Any]], as_json: bool = False) -> None:
    """Print a table whose head is the keys of the rows. No value is cut: on a terminal long values are folded, between
    words if these are not very long."""
    if as_json or not rows:
        print_json(rows) if as_json else typer.echo("none", err=True)
        return
    for line in table(rows, shutil.get_terminal_size().columns if is_terminal() else None):
        typer.echo(line)


def table(rows: Sequence[Mapping[str, Any]], columns: int | None) -> list[str]:
    """The lines of a table whose head is the keys of the rows. `columns`: the width of the terminal; None: any."""
    cells = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    if columns is not None:
        widths = _narrowed(widths, cells, columns)
    lines: list[str] = []
    for row in cells:
        folded = [_folded(value, width) for value, width in zip(row, widths, strict=True)]
        for line in zip_longest(*folded, fillvalue=""):
            lines.append(_GAP.join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip())
    return lines


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def fits(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a table of these rows fits into the terminal with whole words. Output that is no terminal is as wide as
    the table."""
    if not (rows and is_terminal()):
        return True
    columns = shutil.get_terminal_size().columns
    cells = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    whole = [max(map(len, column)) for column in _words(cells)]
    return sum(whole) + len(_GAP) * (len(whole) - 1) <= columns


def print_narrow(rows: Sequence[Mapping[str, Any]], unnamed: Sequence[str]) -> None:
    """Print rows on a terminal that is too narrow for their table: the first value, and beside it all others that are
    not empty as one text. `unnamed`: values that come first, without their names."""
    first = next(iter(rows[0]))
    shown = []
    for row in rows:
        values = {name: cell(row[name]) for name in row if name != first and row[name] not in (None, "", (), [])}
        texts = [values.pop(name) for name in unnamed if name in values]
        texts += [f"{name.replace('_', ' ')} {value}" for name, value in values.items()]
        shown.append({first: row[first], "": "; ".join(texts)})
    print_rows(shown)


def print_table(rows: list[dict[str, Any]], as_json: bool = False, unnamed: Sequence[str] = ()) -> None:
    """Print rows as `print_rows` does. On a terminal that is too narrow for their table: without columns that are empty
    or, if it is still too narrow, each row as a text behind its first value (`print_narrow`)."""
    if as_json or fits(rows):
        print_rows(rows, as_json)
        return
    filled = without_empty(rows)
    if fits(filled):
        print_rows(filled)
        return
    print_narrow(filled, unnamed)


def without_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without the columns in which no row has a value."""
    filled = [name for name in rows[0] if any(row[name] not in (None, "", (), []) for row in rows)] if rows else []
    return [{name: row[name] for name in filled} for row in rows]


def folded(text: str, first: str = "") -> str:
    """A text behind `first`, as a terminal shows it: folded between words, and each further line begins below the
    text. A command in backquotes is never folded, so that it can be pasted. Output that is no terminal stays as it is.
    """
    if not is_terminal():
        return f"{first}{text}".rstrip()
    columns = shutil.get_terminal_size().columns
    whole = re.sub(r"`[^`]*`", lambda found: found[0].replace(" ", _NO_FOLD), text)
    lines = TextWrapper(max(columns - len(first), MOST_FOLDED), break_on_hyphens=False, break_long_words=False).wrap(
        whole
    ) or [""]
    below = f"\n{' ' * len(first)}"
    return f"{first}{below.join(lines)}".replace(_NO_FOLD, " ").rstrip()


#: Stands for a space of a command while its text is folded. `printable` lets no text have it.
_NO_FOLD: Final = "\0"
#: A text is folded to no fewer columns than this, however narrow the terminal is.
MOST_FOLDED: Final = 30


def _folded(value: str, width: int) -> list[str]:
    return [value] if len(value) <= width else _Folding(width, break_on_hyphens=False).wrap(value)


class _Folding(TextWrapper):
    """Folds a text between words, and a word that is too long behind its underscores, if it has some."""

    def _split(self, text: str) -> list[str]:
        chunks = super()._split(text)
        return [part for one in chunks for part in (_parts(one) if len(one) > self.width else [one])]


def _parts(word: str) -> list[str]:
    """The parts of a name, each with the underscore behind it."""
    return re.findall(r"[^_]*_+|[^_]+", word)


#: Between two columns.
_GAP: Final = "  "


def _narrowed(widths: list[int], cells: Sequence[Sequence[str]], columns: int) -> list[int]:
    """Widths with which the table fits into a terminal of so many columns, if that is possible.

    The widest column gives way first, as long as its words stay whole. If that is not enough, names are folded behind
    their underscores. If that is not enough either, words are cut.
    """
    words = _words(cells)
    whole = [min(max(map(len, column)), LONGEST_WHOLE_WORD) for column in words]
    parts = [[len(part) for value in column for word in value.split() for part in _parts(word)] for column in words]
    folded = [min(max(column, default=1), LONGEST_WHOLE_WORD) for column in parts]
    room = columns - len(_GAP) * (len(widths) - 1)
    for least in (whole, folded, [1] * len(widths)):
        while sum(widths) > room and any(width > bound for width, bound in zip(widths, least, strict=True)):
            widest = max(range(len(widths)), key=lambda n: (widths[n] > least[n], widths[n]))
            widths[widest] -= 1
    return widths


def _words(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """The words of each column that stay whole if there is room. A short value, such as "in 36 h", is one word."""
    return [
        [word for value in column for word in ([value] if len(value) <= SHORT_VALUE else value.split() or [""])]
        for column in zip(*cells, strict=True)
    ]


def print_results(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print what became of each change or decision. Ends with BAD_ANSWER if a row has an `error`."""
    print_rows(rows, as_json)
    if any(row["error"] for row in rows):
        raise typer.Exit(BAD_ANSWER)


def print_pairs(pairs: Mapping[str, Any]) -> None:
    """Print a line for each name and its value."""
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        typer.echo(folded(cell(value), f"{name.replace('_', ' ').ljust(width)}  "))


def cell(value: Any) -> str:
    """A value as a person reads it: yes and no, instants in UTC without a zone, lists with spaces."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        case list() | tuple() | set() | frozenset():
            return " ".join(cell(one) for one in value)
    return printable(str(value))


def span(time: timedelta) -> str:
    """A span of time in its greatest unit that fits twice: "90 min", "47 h", "3 d"."""
    minutes = max(int(time.total_seconds() // 60), 0)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"


def printable(text: str) -> str:
    """Escape control characters and marks of direction, such as \\x1b and \\u202e: a terminal would obey them."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def text(body: bytes | None) -> str | None:
    """Bytes as text. Bytes that are not UTF-8 become escapes."""
    return body.decode(errors="backslashreplace") if body is not None else None


def print_bytes(body: bytes | None, *, raw: bool = False) -> None:
    """Print a body as text, in which control characters are escaped, also in a pipe. `raw`: write its bytes."""
    if raw:
        sys.stdout.flush()
        typer.echo(body or b"", nl=False)
        return
    for line in (text(body) or "").split("\n"):
        typer.echo(printable(line))
