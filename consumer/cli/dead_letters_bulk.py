"""Several dead letters at once: which ones a command means, what becomes of each, one question, one result for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import typer

from adapters.store import dead_letters as dead_letter_rows
from adapters.store.dead_letters import StoredDeadLetter
from adapters.store.transaction import Store
from consumer import config
from consumer.cli.opening import Session
from consumer.cli.orders_bulk import STDIN, ids_in
from consumer.cli.output import BAD_ANSWER, ask, cell, note
from consumer.operations import dead_letters
from consumer.operations.errors import NotPossible


@dataclass(frozen=True, slots=True)
class Chosen:
    """The dead letters that the options of a command name."""

    ids: Sequence[int] = ()
    all_of: str | None = None  # a file with ids
    set_aside: str | None = None  # a shop
    reason: str | None = None
    source: str | None = None
    limit: int = 0  # of those with a reason or from a source

    @property
    def is_named_once(self) -> bool:
        """Whether exactly one of the ways to name dead letters is used. A reason and a source are one way together."""
        return sum(map(bool, (self.ids, self.all_of, self.set_aside, self.reason or self.source))) == 1

    @property
    def is_unseen(self) -> bool:
        """Whether each dead letter is shown before the question: a file, or a reason and a source, names them."""
        return not self.ids and not self.set_aside


def ids_of(session: Session, chosen: Chosen, *, answered: bool) -> list[int]:
    """The ids of the dead letters, each once. `answered`: no question comes.

    Raises NotPossible if they are named in no way or in several.
    """
    if not chosen.is_named_once:
        raise NotPossible("name them in one way: ids, --all-of FILE, --of-reason and --of-source, or --set-aside")
    if chosen.all_of == STDIN and not answered:
        raise NotPossible("--all-of - needs --yes or --dry-run: standard input holds the list and no answer")
    if chosen.set_aside:
        return dead_letters.set_aside(session.store, config.shop_ids(session.settings), chosen.set_aside)
    if chosen.all_of:
        return [_number(one, chosen.all_of) for one in ids_in(chosen.all_of, "dead letter")]
    if chosen.ids:
        return list(dict.fromkeys(chosen.ids))
    found = dead_letter_rows.open_ids(session.store, chosen.reason, chosen.source, chosen.limit + 1)
    if not found:
        raise NotPossible("there is no such open dead letter")
    if len(found) > chosen.limit:
        note(f"orderflow: there are more than {chosen.limit}; run it again for the next, or give a higher --limit")
    return found[: chosen.limit]


def _number(text: str, file: str) -> int:
    if not text.isdecimal():
        raise NotPossible(f"{file}: {text} is no id of a dead letter")
    return int(text)


def act_on_each(
    store: Store,
    ids: Sequence[int],
    verb: str,
    *,
    shown: bool,
    preview: Callable[[StoredDeadLetter], str],
    act: Callable[[StoredDeadLetter], str],
    yes: bool,
    dry_run: bool,
) -> None:
    """Ask once, and act on each dead letter. What became of each is printed.

    With `shown` or `dry_run` each is shown first, with what would become of it (`preview`); `dry_run` ends then. If
    `act` is not possible on one, the others go on, and the exit code is 1. `preview` and `act` raise NotPossible.
    """
    if shown or dry_run:
        possible = sum([_shown(store, one, preview) for one in ids])
        if dry_run:
            raise typer.Exit(0 if possible == len(ids) else BAD_ANSWER)
        if possible:
            ask(f"{verb} {possible} of {len(ids)}?", yes)
    else:
        ask(f"{verb} {len(ids)}?", yes)
    failed = False
    for one in ids:
        try:
            typer.echo(f"{one} is {act(dead_letters.find(store, one))}")
        except NotPossible as error:
            failed = True
            note(f"orderflow: {error}")
    if failed:
        raise typer.Exit(BAD_ANSWER)


def _shown(store: Store, dead_letter_id: int, preview: Callable[[StoredDeadLetter], str]) -> bool:
    """Show one dead letter, and what becomes of it. Returns whether that is possible."""
    try:
        found = dead_letters.find(store, dead_letter_id)
        becomes = preview(found)
    except NotPossible as error:
        note(f"{dead_letter_id}: not possible: {error}")
        return False
    note(f"{found.id}: {found.reason} from {found.source}, {found.times}x, last {cell(found.last_at)}: {becomes}")
    return True
