"""Logging: how lines are written, and the hooks that write them.

No filter takes secrets or personal data out of a line. So a call that logs names each field by itself, and none of them
may hold a payload, a body or an error's text of a remote. The settings hold no secrets (config/secrets.py reads them
from files). tests/system/test_fleet.py looks for the demo's secrets and persons in every log.
"""

import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

import structlog

from adapters.errors import OrderflowError, RemoteError, cause_of
from consumer.hooks import Applied, Hooks, PollResult
from consumer.log_lines import LineWriter
from statemachine.machine import EventResult

#: How long a text of a line may be, in characters, and how many entries a list may have.
LONGEST_VALUE: Final = 4_000
MOST_ENTRIES: Final = 100
#: How many log lines a command keeps, to show them if it fails.
MOST_HELD: Final = 200

log = structlog.get_logger("orderflow")


class LogHooks(Hooks):
    """Logs decisions, changes of state, events without an edge, and failed polls. Of the polls that succeed, it logs
    the first one, and the first one after a failed call."""

    def __init__(self) -> None:
        self._polled: set[str] = set()  # shops that were polled with success, and had no failed call since

    def event_applied(self, applied: Applied) -> None:
        for decision in applied.event.new_facts.decisions:
            log.info("decision", shop=applied.order.shop, order_id=applied.order.order_id, decision=decision.kind)
        for invariant in applied.broken:
            order = applied.order
            log.error("invariant_broken", invariant=invariant, shop=order.shop, order_id=order.order_id)
        if not applied.moved and applied.result != EventResult.NO_EDGE:
            return
        write, name = (log.info, "transition") if applied.moved else (log.error, "no_edge")
        write(
            name,
            shop=applied.order.shop,
            order_id=applied.order.order_id,
            from_state=applied.before,
            to_state=applied.order.state,
            trigger=applied.event.trigger,
            event_id=applied.event.event_id,
        )

    def poll_ended(self, shop: str, result: PollResult, seconds: float) -> None:
        if shop not in self._polled:  # the first poll, or the first after a failed call
            log.info("polled", shop=shop, new=result.new, changed=result.changed, same=result.same)
            self._polled.add(shop)

    def poll_failed(self, shop: str, error: OrderflowError) -> None:
        if isinstance(error, RemoteError):
            self._polled.discard(shop)
            log.warning("poll_failed", shop=shop, operation=error.operation, outcome=error.outcome, cause=error.cause)
        else:
            log.warning("poll_failed", shop=shop, error=str(error), cause=cause_of(error))


def place_of(error: BaseException) -> str:
    """Return where an error was raised, without its text, which may quote personal data."""
    return "".join(traceback.format_tb(error.__traceback__)[-3:])


def _shortened(_logger: object, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Bound each value of a line, as an error may name every order of a batch."""
    for name, value in event.items():
        if isinstance(value, str) and len(value) > LONGEST_VALUE:
            event[name] = f"{value[:LONGEST_VALUE]}... ({len(value)} characters)"
        elif isinstance(value, list | tuple) and len(value) > MOST_ENTRIES:
            event[name] = [*value[:MOST_ENTRIES], f"... ({len(value)} entries)"]
    return event


def configure_logging(line_logged: Callable[[str], None], line_lost: Callable[[], None], stream: Any = None) -> None:
    """Write log lines to `stream`, by default standard output: coloured text on a terminal, else JSON.

    `line_logged` is called with the level of each line. A line that cannot be written, because the disk is full or
    because nobody reads the pipe, is lost: `line_lost` is called, and the caller goes on.
    """

    def count(_logger: object, level: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        line_logged(level)
        return event

    lines = LineWriter(stream)
    _configure(
        lambda *_: lines,
        is_terminal=(stream or sys.stdout).isatty(),
        more=[count],
        line_lost=line_lost,
    )


def log_to_standard_error() -> None:
    """Write log lines to standard error, because a command prints its result, such as JSON, on standard output."""
    _configure(
        lambda *_: structlog.PrintLogger(sys.stderr), is_terminal=sys.stderr.isatty(), more=[], line_lost=lambda: None
    )


class HeldLines:
    """Takes the log lines of a command, which prints a result for a person, and keeps the last ones until `release`.

    Any thread may call.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MOST_HELD)

    def msg(self, message: str) -> None:
        self._lines.append(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg

    def release(self) -> None:
        """Write the lines to standard error, because the command failed: they may say why."""
        while self._lines:
            sys.stderr.write(f"{self._lines.popleft()}\n")


def hold_log() -> HeldLines:
    """Write no log line for now: what a command prints says all that a person needs, unless it fails."""
    held = HeldLines()
    _configure(lambda *_: held, is_terminal=sys.stderr.isatty(), more=[], line_lost=lambda: None)
    return held


def _configure(
    factory: Callable[..., Any], *, is_terminal: bool, more: Sequence[Any], line_lost: Callable[[], None]
) -> None:
    renderer: Any = structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *more,
            _shortened,
            renderer,
        ],
        logger_factory=factory,
        wrapper_class=_never_raising(line_lost),
    )
    logging.getLogger("transitions").setLevel(logging.WARNING)  # its INFO lines make an event three times slower
    for name in ("httpx", "httpcore", "uvicorn", "kafka"):
        # Their lines contain addresses. Our own lines report failures.
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _never_raising(line_lost: Callable[[], None]) -> type[Any]:
    """Return a class of loggers that call `line_lost` where writing a line fails. An error in the log ends no loop."""

    class NeverRaising(structlog.make_filtering_bound_logger(logging.NOTSET)):  # type: ignore[misc]  # made at run time
        def _proxy_to_logger(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super()._proxy_to_logger(*args, **kwargs)
            except Exception:
                line_lost()
                return None

    return NeverRaising
