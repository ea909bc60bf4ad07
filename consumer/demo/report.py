"""Watches a demo to its end, and reports how it ended."""

import io
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.simulators.audit import audit
from adapters.simulators.serve import SimulatedWorld
from adapters.simulators.stage import Life
from adapters.store import orders as order_rows
from adapters.store.counts import stored_counts
from adapters.store.transaction import Store
from consumer.operations.audit import told
from statemachine.states import State

#: The demo has failed when nothing at all has moved for so long.
STALLED_SECONDS: Final = 30.0
LOOK_EVERY_SECONDS: Final = 0.25
TELL_EVERY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demo ended."""

    findings: tuple[str, ...]
    settled: bool
    seconds: float

    @property
    def passed(self) -> bool:
        return self.settled and not self.findings


def watch_and_audit(
    world: SimulatedWorld,
    store: Store,
    console: Console,
    stalled_seconds: float,
    *,
    tend: Callable[[float], None] = lambda _seconds: None,
    stop: Callable[[], list[str]] = list,
) -> Outcome:
    """Watch, then stop what runs, then audit: `stop` returns what was wrong with it."""
    began = time.monotonic()
    settled = _watch(world, store, console, stalled_seconds, tend)
    seconds = time.monotonic() - began
    findings = [*stop(), *audit(world.world.lives, world.books.effects(), told(store))]
    outcome = Outcome(tuple(findings), settled, seconds)
    _report(console, world, store, outcome)
    return outcome


def keep_or_drop(folder: Path, kept: bool, outcome: Outcome, console: Console) -> None:
    if outcome.passed and not kept:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"Settings, store and logs: {folder}", soft_wrap=True)


# -- The live view -----------------------------------------------------------------------------------------------


def _watch(
    world: SimulatedWorld, store: Store, console: Console, stalled_seconds: float, tend: Callable[[float], None]
) -> bool:
    """Show what moves until all is settled, or nothing moves any more. Returns whether all is settled."""
    lives = world.world.lives
    progress = Progress(
        TextColumn("at their end"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    task = progress.add_task("orders", total=len(lives))
    last_moved, last_look, last_told = time.monotonic(), None, 0.0
    began = last_moved
    live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
    with live or io.StringIO():
        while True:
            tend(time.monotonic() - began)
            states = order_rows.states(store)
            at_end = sum(states.get((life.marketplace, life.order_id)) == life.ends for life in lives)
            look = (at_end, tuple(sorted(Counter(states.values()).items())), len(world.books.effects()))
            now = time.monotonic()
            if look != last_look:
                last_moved, last_look = now, look
            progress.update(task, completed=at_end)
            if live is not None:
                live.update(Group(_stock(states), progress))
            elif now - last_told >= TELL_EVERY_SECONDS:
                last_told = now
                counts = Counter(states.values())
                line = "  ".join(f"{state} {counts[state]}" for state in State if counts[state])
                console.print(line or "waiting for the first order", soft_wrap=True)
            if at_end == len(lives) and world.settled() and _is_quiet(store):
                return True
            if now - last_moved > stalled_seconds:
                return False
            time.sleep(LOOK_EVERY_SECONDS)


def _is_quiet(store: Store) -> bool:
    """No call is due or under way."""
    return not stored_counts(store).commands


def _stock(states: Mapping[tuple[str, str], str]) -> Table:
    shops = sorted({shop for shop, _ in states})
    counts = Counter((shop, state) for (shop, _), state in states.items())
    table = Table("state", *shops, title="Orders by state")
    for state in State:
        table.add_row(state, *(str(counts[shop, state] or "") for shop in shops))
    return table


# -- The end -----------------------------------------------------------------------------------------------------


def _report(console: Console, world: SimulatedWorld, store: Store, outcome: Outcome) -> None:
    effects = world.books.effects()
    by_us = Counter(effect.kind for effect in effects if effect.by == "api")
    by_others = Counter(effect.kind for effect in effects if effect.by not in ("api", "oms"))
    lives = world.world.lives
    table = Table("effect", "by us", "expected", "by others", title="Effects in the remotes' own books")
    for kind, wanted in _expected(lives).items():
        table.add_row(kind, str(by_us[kind]), wanted, str(by_others[kind] or ""))
    console.print(table)
    ends = Counter(order_rows.states(store).values())
    attention = Counter(
        reason for o in order_rows.latest(store, attention=True, limit=1_000_000) for reason, *_ in o.attention
    )
    console.print("States: " + ", ".join(f"{state} {count}" for state, count in ends.most_common()), soft_wrap=True)
    if attention:
        console.print(
            "For a person: " + ", ".join(f"{reason} {count}" for reason, count in attention.most_common()),
            soft_wrap=True,
        )
    for finding in outcome.findings[:40]:
        console.print(f"  {finding}", markup=False, soft_wrap=True)
    if not outcome.settled:
        console.print("[red]stalled[/red]: some order never came to its end")
    verdict = "[green]passed[/green]" if outcome.passed else f"[red]failed[/red], {len(outcome.findings)} findings"
    ending = ": every effect once and explained" if outcome.passed else ""
    console.print(f"Audit {verdict}{ending}. {len(lives)} orders, {outcome.seconds:.0f} s.")


def _expected(lives: Sequence[Life]) -> dict[str, str]:
    return {
        "accepted": str(sum(life.accepted_by == "api" for life in lives)),
        "imported": str(sum(life.imported for life in lives)),
        "tracking": "newest last",
        "shipped": str(sum(life.shipped_by == "api" for life in lives)),
    }
