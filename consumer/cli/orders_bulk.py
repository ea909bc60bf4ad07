"""One decision about many orders: `--all-of FILE` of the commands that decide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from adapters.store.orders import OrderRow
from consumer.cli.at_work import note_no_worker
from consumer.cli.opening import Session, config_option, with_config
from consumer.cli.output import ask, note, print_results
from consumer.operations.errors import NotPossible, NotUnique, UnknownOrder
from consumer.operations.orders import Act, decide, find, question_of
from consumer.operations.what_first import names_in_turn
from statemachine.commands import Policy

#: The name that stands for standard input.
STDIN = "-"


def orders_of(session: Session, file: str, shop: str | None) -> list[OrderRow]:
    """The orders that a file names. Raises NotPossible if some are not known, else NotUnique if two shops have some.
    The text names each of them, and says that nothing was decided."""
    found: list[OrderRow] = []
    errors: list[NotPossible | NotUnique] = []
    ids = ids_in(file, "order")
    for one in ids:
        try:
            found.append(find(session.store, one, shop))
        except UnknownOrder as error:
            errors.append(error.with_options(config_option(session.file)))
        except (NotPossible, NotUnique) as error:
            errors.append(error)
    if errors:
        kind = NotUnique if all(isinstance(one, NotUnique) for one in errors) else NotPossible
        raise kind("\n".join([*map(str, errors), f"nothing was decided about the {len(ids)} orders of the list"]))
    return found


def ids_in(file: str, what: str) -> list[str]:
    """The ids that a file names, one in a line, each once. Raises NotPossible if it names none, or cannot be read."""
    try:
        content = typer.get_binary_stream("stdin").read() if file == STDIN else Path(file).read_bytes()
        lines = [line.strip() for line in content.decode().splitlines()]
    except OSError as error:
        raise NotPossible(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NotPossible(f"{file}: is no text in UTF-8") from error
    found = [one for one in dict.fromkeys(lines) if one]
    if not found:
        raise NotPossible(f"{file}: names no {what}")
    return found


@dataclass(frozen=True, slots=True)
class _Preview:
    row: OrderRow
    question: str  # what happens if the person says yes
    error: str = ""  # why the decision is not possible


def decide_all(
    session: Session, rows: Sequence[OrderRow], act: Act, *, yes: bool, prefix: Callable[[OrderRow], str]
) -> None:
    """Show for each order what the decision does, ask once, and decide. What became of each order is printed.

    An order for which the decision is not possible is left out, and does not stop the others. Then the exit code is 1.
    """
    policies = session.policies()
    previews = [_preview(session, row, act, policies.get(row.shop, Policy()), prefix(row)) for row in rows]
    for one in previews:
        note(f"{one.row.shop} {one.row.order_id}: {f'not possible: {one.error}' if one.error else one.question}")
    possible = [one for one in previews if not one.error]
    if possible:
        ask(f"{act.kind} {len(possible)} of {len(rows)} orders?", yes)
    decided = [_decided(session, one, act, was_asked=not yes) for one in previews]
    note_no_worker(session)
    print_results(decided, as_json=False)


def _preview(session: Session, row: OrderRow, act: Act, policy: Policy, prefix: str) -> _Preview:
    try:
        return _Preview(row, question_of(session.store, row, act, policy, prefix=prefix))
    except NotPossible as error:
        return _Preview(row, "", with_config(str(error), session.file))


def decide_now(session: Session, order: OrderRow, act: Act, *, was_asked: bool) -> OrderRow:
    """Apply a decision as of now: two persons may have their questions open, and the last yes has to count.

    Raises NotPossible as `decide` does, and if the order changed while its question was open (`was_asked`).
    """
    act = replace(act, at=session.clock.now())
    writer, shops = session.order_writer(), session.settings.shops
    return decide(session.store, writer, order, act, shops=shops, was_asked=was_asked)


def _decided(session: Session, one: _Preview, act: Act, *, was_asked: bool) -> dict[str, Any]:
    """What became of an order, as a row of the result."""
    after, error = one.row, one.error
    if not error:
        try:
            after = decide_now(session, one.row, act, was_asked=was_asked)
        except NotPossible as refusal:
            error = with_config(str(refusal), session.file)
    attention = names_in_turn(after)
    return {
        "shop": after.shop,
        "order_id": after.order_id,
        "state": after.state,
        "attention": attention,
        "error": error,
    }
