"""Watches a demo until it ends, audits the books of the simulators, and prints the result."""

import shlex
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.simulators.audit import audit
from adapters.simulators.serve import SimulatedWorld
from adapters.simulators.stage import Life
from adapters.store import order_lists
from adapters.store import orders as order_rows
from adapters.store.counts import stored_counts
from adapters.store.transaction import Store
from consumer.demo.desk import Desk
from consumer.demo.journal_summaries import journal_summaries
from consumer.demo.settings import MESSAGES_WAIT_SECONDS
from statemachine.states import State

#: A demo has failed if nothing has changed for this long. It is longer than the longest wait of an order: for messages.
STALLED_SECONDS: Final = MESSAGES_WAIT_SECONDS + 15.0
LOOK_EVERY_SECONDS: Final = 0.25
#: If the output is no terminal, a line is printed this often.
PRINT_EVERY_SECONDS: Final = 5.0
MAX_FINDINGS_SHOWN: Final = 40
MAX_STALLED_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demo ended."""

    findings: tuple[str, ...]
    settled: bool  # every order reached the end that its story has
    seconds: float
    stalled: tuple[Life, ...] = ()  # the orders that did not

    @property
    def passed(self) -> bool:
        return self.settled and not self.findings


def watch_and_audit(
    world: SimulatedWorld,
    store: Store,
    desk: Desk,
    console: Console,
    stalled_seconds: float,
    *,
    on_look: Callable[[float], None] = lambda _seconds: None,
    stop: Callable[[], list[str]] = list,
) -> Outcome:
    """Watch the orders, stop what runs, audit the books, and print the result.

    `on_look` is called several times a second, with the seconds since the start. `stop` stops the processes, and
    returns a sentence for each process that ended with a wrong exit status.
    """
    began = time.monotonic()
    settled = _watch(world, store, console, stalled_seconds, on_look)
    seconds = time.monotonic() - began
    journal = journal_summaries(store, desk.seen)
    findings = [*stop(), *world.world.findings(), *audit(world.world.lives, world.books.effects(), journal)]
    outcome = Outcome(tuple(findings), settled, seconds, () if settled else tuple(world.world.unsettled()))
    _print_result(console, world, store, outcome)
    return outcome


@contextmanager
def folder_of(given: Path | None) -> Iterator[Path]:
    """Give the folder of a demo: the user's, or a new one. If the demo breaks off, nothing of a new one is left."""
    if given is not None:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="orderflow-demo-"))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def keep_or_drop(folder: Path, kept: bool, outcome: Outcome, console: Console) -> None:
    """Delete the folder of a demo that passed, unless the user asked to keep it; else print where it is.

    Also prints how to look at the orders that did not reach their end.
    """
    if outcome.passed and not kept:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"Settings, store and logs: {folder}", soft_wrap=True)
    config = shlex.quote(str(folder / "orderflow.toml"))
    for life in outcome.stalled[:MAX_STALLED_SHOWN]:
        look = f"orderflow orders explain {shlex.quote(life.order_id)} --shop {life.marketplace} --config {config}"
        console.print(f"  {life.story}: {look}", markup=False, soft_wrap=True)


# -- The live view -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far the orders have come. The demo has stalled if this stays the same for too long."""

    states: Mapping[tuple[str, str], str]
    at_end: int
    effects: int


def _watch(
    world: SimulatedWorld, store: Store, console: Console, stalled_seconds: float, on_look: Callable[[float], None]
) -> bool:
    """Show progress until every order has ended. False if nothing has changed for `stalled_seconds` before that."""
    lives = world.world.lives
    began = changed_at = time.monotonic()
    last: _Progress | None = None
    with _View(console, len(lives)) as view:
        while True:
            on_look(time.monotonic() - began)
            progress, now = _progress(world, store), time.monotonic()
            if progress != last:
                changed_at, last = now, progress
            view.show(progress)
            if progress.at_end == len(lives) and world.settled() and not stored_counts(store).commands:
                return True
            if now - changed_at > stalled_seconds:
                return False
            time.sleep(LOOK_EVERY_SECONDS)


def _progress(world: SimulatedWorld, store: Store) -> _Progress:
    states = order_rows.states(store)
    at_end = sum(states.get((life.marketplace, life.order_id)) == life.ends for life in world.world.lives)
    return _Progress(states, at_end, len(world.books.effects()))


class _View:
    """Shows progress: on a terminal a table that is redrawn, elsewhere a line every few seconds."""

    def __init__(self, console: Console, orders: int) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("at their end"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._task = self._bar.add_task("orders", total=orders)
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._printed_at = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: _Progress) -> None:
        self._bar.update(self._task, completed=progress.at_end)
        if self._live is not None:
            self._live.update(Group(_states_by_shop(progress.states), self._bar))
        elif time.monotonic() - self._printed_at >= PRINT_EVERY_SECONDS:
            self._printed_at = time.monotonic()
            counts = Counter(progress.states.values())
            line = "  ".join(f"{state} {counts[state]}" for state in State if counts[state])
            self._console.print(line or "waiting for the first order", soft_wrap=True)


def _states_by_shop(states: Mapping[tuple[str, str], str]) -> Table:
    shops = sorted({shop for shop, _ in states})
    counts = Counter((shop, state) for (shop, _), state in states.items())
    table = Table("state", *shops, title="Orders by state")
    for state in State:
        table.add_row(state, *(str(counts[shop, state] or "") for shop in shops))
    return table


# -- The result --------------------------------------------------------------------------------------------------


def _print_result(console: Console, world: SimulatedWorld, store: Store, outcome: Outcome) -> None:
    lives = world.world.lives
    console.print(_effects(world))
    console.print("States: " + _counted(order_rows.states(store).values()), soft_wrap=True)
    in_need = order_lists.latest(store, attention=True, limit=None)
    if in_need:
        reasons = [one.reason for order in in_need for one in order.attention]
        console.print("For a person: " + _counted(reasons), soft_wrap=True)
    for finding in outcome.findings[:MAX_FINDINGS_SHOWN]:
        console.print(f"  {finding}", markup=False, soft_wrap=True)
    if not outcome.settled:
        late = _counted(life.story for life in outcome.stalled)
        calls = ", ".join(f"{kind} {open_.count}" for kind, open_ in stored_counts(store).commands.items())
        why = f"not at the end of their story: {late or 'none'}. Open calls: {calls or 'none'}."
        console.print(f"[red]Stalled[/red]: nothing changed any more. Orders {why}", soft_wrap=True)
    console.print(f"{_verdict(outcome)}. {len(lives)} orders, {outcome.seconds:.0f} s.")


def _verdict(outcome: Outcome) -> str:
    if outcome.passed:
        return "Audit [green]passed[/green]: every effect once and explained"
    found = f"{len(outcome.findings)} findings" if outcome.findings else "nothing wrong in what was done"
    if outcome.settled:
        return f"Audit [red]failed[/red], {found}"
    return f"Demo [red]failed[/red]: it stalled. Audit: {found}"


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{word} {count}" for word, count in Counter(words).most_common())


def _effects(world: SimulatedWorld) -> Table:
    """A table: the effects in the remotes' own books, beside the effects that the stories of the orders ask for."""
    lives, effects = world.world.lives, world.books.effects()
    by_us = Counter(effect.kind for effect in effects if effect.by == "api")
    by_others = Counter(effect.kind for effect in effects if effect.by not in ("api", "oms"))
    expected = {
        "accepted": str(sum(life.accepted_by == "api" for life in lives)),
        "imported": str(sum(life.imported for life in lives)),
        "tracking": "newest last",
        "shipped": str(sum(life.shipped_by == "api" for life in lives)),
    }
    table = Table("effect", "by us", "expected", "by others", title="Effects in the remotes' own books")
    for kind, wanted in expected.items():
        table.add_row(kind, str(by_us[kind]), wanted, str(by_others[kind] or ""))
    return table
