"""The command `orderflow`, put together from its groups; and how an error becomes a text and an exit code."""

import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
import typer.core
import typer.main

from adapters.errors import Cause, OrderflowError, StoreUnavailable
from consumer.cli.options import group
from consumer.cli.output import BAD_ANSWER, BAD_USE, fail
from consumer.garbage import collect_less_often_at_start, spare_what_is_imported
from consumer.operations.errors import NotPossible

EPILOG: Final = """\
\b
Examples:
  orderflow init                     write a first configuration
  orderflow run --config FILE        poll, decide, accept, import, ship
  orderflow orders list --attention  what needs a person
  orderflow orders explain ORDER     why it is in its state, what it waits for

\b
Exit codes:
  0  done
  1  a bad answer: no such order, a decision that is not possible, a
     difference found, an audit failed, or you said no; something fails
     (`doctor`) or stands still (`status`); the schema is not up to date
     (`migrate --check`)
  2  the configuration or the use is wrong, or the store does not answer, or
     a loop of `run` ended by itself
"""

#: What is wrong if the store answers, and where to look, by the cause of the error.
_STORE: Final = {
    Cause.LOCKED: (
        "another session has locked what this needs in the store",
        "`orderflow doctor` names it in the line store.transactions; after a moment try again",
    ),
    Cause.LOGIN: ("the store refuses the user", "see store.url and store.password_file in the configuration"),
    Cause.DISK_FULL: ("the store's disk is full", "make room, then try again"),
    Cause.READ_ONLY: ("the store takes no writes", "it is a replica, or its file may only be read; see store.url"),
    Cause.BUSY: ("the store has no connection left", "see who has them; then try again"),
}

#: Each command: its module in `consumer.cli`, and the first sentence of its help. In the order of the help.
COMMANDS: Final = {
    "run": ("service", "Run the service until SIGTERM or Ctrl-C; a second one ends it at once."),
    "init": ("service", "Write a first configuration file."),
    "doctor": ("doctor", "Look at everything that the service needs, and say what is wrong and what to do about it."),
    "status": (
        "status",
        "Show what goes on now: what stands still (PROBLEM), each shop, dead letters, the log, the leases, the loops.",
    ),
    "audit": ("audit", "Show who paused, resumed, reset, replayed, settled or decided, when and why."),
    "migrate": ("service", "Bring the store's schema up to date, or move a store from SQLite to PostgreSQL."),
    "diagram": ("service", "Print the state machine as a Mermaid diagram."),
    "version": ("version", "Print the version."),
    "demo": ("demo", "Run the whole service against simulated remotes, then audit their books."),
    "simulate": (
        "demo",
        "Run the simulators alone, until Ctrl-C, and write a configuration for a service to try on them.",
    ),
    "config": ("config", "The configuration: what is set, and what can be set."),
    "orders": ("orders", "Orders: look them up, and decide about them."),
    "shops": ("shops", "Shops, their accounts, and the switches of their effects."),
    "dead-letters": ("dead_letters", "Dead letters: records that could not be used, as they were received."),
    "offsets": ("offsets", "How far each partition was applied, and what to do if log and store do not fit."),
    "events": ("events", "Events, as other teams publish and read them (docs/events)."),
}


#: Commands that log while they run, because they run a service or simulators.
LOGGING: Final = ("run", "demo", "simulate")
#: Commands that only read the store: the module of each. It is imported without the rest of its group and without
#: structlog, which takes half of the time. None of them logs anything.
ONLY_READ: Final[Mapping[tuple[str, ...], str]] = {("orders", "list"): "orders_list"}


def _alone(name: str, module: str) -> Any:
    """A group with this command alone. The command is the function that has the module's name."""
    alone = group("")
    alone.command(name)(getattr(import_module(f"consumer.cli.{module}"), module))
    return typer.main.get_group(alone)


@cache
def _load(name: str) -> Any:
    """Import the module of a command. A module has a group `commands`, or a function with the command's name."""
    module = import_module(f"consumer.cli.{COMMANDS[name][0]}")
    if (commands := getattr(module, "commands", None)) is not None:
        return typer.main.get_command(commands)
    alone = typer.Typer(rich_markup_mode=None, add_completion=False)
    alone.command(name)(getattr(module, name))
    return typer.main.get_command(alone)


class _WhenUsed(MutableMapping[str, Any]):
    """The commands by name. The module of a command is imported when the command is looked up: importing all of them
    takes a second."""

    def __getitem__(self, name: str) -> Any:
        return _load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __setitem__(self, name: str, command: Any) -> None:
        raise NotImplementedError

    __delitem__ = None  # type: ignore[assignment]  # no command is taken away


class _Commands(typer.core.TyperGroup):
    """Prints an error of ours as a text without a traceback, and ends with the exit code of its kind."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _WhenUsed()
        self._is_verbose = False
        self._release_log: Callable[[], object] = lambda: None

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 of typer
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(arg.encode(errors="ignore").decode() != arg for arg in args):  # the store and JSON refuse such a text
            ctx.fail("an argument is no text in UTF-8")
        end = args.index("--") if "--" in args else len(args)
        self._is_verbose = "-v" in args[:end]  # also behind the name of a command, where people write it
        args = [arg for number, arg in enumerate(args) if arg != "-v" or number > end]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        found = self._resolved(ctx, args)
        spare_what_is_imported()
        return found

    def _resolved(self, ctx: Any, args: list[str]) -> Any:
        """The name of the command, the command, and its arguments. All that it needs is imported then."""
        if (module := ONLY_READ.get(tuple(args[:2]))) is not None:
            return args[0], _alone(args[1], module), args[1:]
        name, command, rest = super().resolve_command(ctx, args)
        if name != "version":  # `version` logs nothing, and need not wait for the import
            self._configure_log(name or "")
        return name, command, rest

    def _configure_log(self, name: str) -> None:
        """A command that prints a result for a person writes log lines only with -v, or if it fails."""
        from consumer import telemetry  # noqa: PLC0415 - it imports structlog, which takes time

        if self._is_verbose or name in LOGGING:
            telemetry.log_to_standard_error()  # `run` changes this, because a service logs to standard output
            self._release_log = lambda: None
        else:
            self._release_log = telemetry.hold_log().release

    def invoke(self, ctx: Any) -> Any:
        try:
            return self._invoked(ctx)
        except NotPossible as error:
            fail(str(error), BAD_ANSWER)
        except StoreUnavailable as error:
            fail(_of_store(error), BAD_USE)
        except OrderflowError as error:
            fail(str(error), BAD_USE)

    def _invoked(self, ctx: Any) -> Any:
        """What the command returns. If it raises an error, the held log lines are written: they may say why."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):  # the command has said what it has to say
            raise
        except Exception:
            self._release_log()
            raise


def _of_store(error: StoreUnavailable) -> str:
    """What a command says that could not use the store: what is wrong, and where to look."""
    what, where = _STORE.get(error.cause, ("the store does not answer", "see store.url in the configuration"))
    return f"{what} ({error}): {where}"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("orderflow"))
        raise typer.Exit


app = group(
    "Carries every order of a Mirakl seller from waiting acceptance to shipped, once, and shows why.",
    cls=_Commands,
    epilog=EPILOG,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _every_command(
    _verbose: Annotated[
        bool, typer.Option("-v", help="Write log lines to standard error too. It may stand behind the command.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What holds for every command. `app` needs a callback, because it knows its commands by name only."""


def main() -> None:
    """The entry point of the executable `orderflow`."""
    collect_less_often_at_start()
    os.umask(0o077)  # only this user may read what any command writes: stores, keys, logs, documents
    app(prog_name="orderflow")
