"""The command `orderflow`, put together from its groups; and how an error becomes a text and an exit code."""

from typing import Any, Final

import typer.core

from adapters.errors import OrderflowError, StoreUnavailable
from consumer.cli import config, dead_letters, demo, doctor, events, offsets, orders, service, shops, status
from consumer.cli.options import group
from consumer.cli.output import BAD_ANSWER, BAD_USE, fail
from consumer.operations.errors import NotPossible

EPILOG: Final = """\
\b
Examples:
  orderflow init                              write a first configuration
  orderflow run --config orderflow.toml       poll, decide, accept, import, ship
  orderflow orders list --attention           what needs a person
  orderflow orders explain ORDER              why it is in its state, and what it waits for

\b
Exit codes:
  0  done
  1  a bad answer: no such order, a decision that is not possible, a difference found, an audit failed, or you said no
  2  the configuration or the use is wrong, or the store does not answer, or a loop of `run` ended by itself
"""


class _Commands(typer.core.TyperGroup):
    """Prints an error of ours as a text without a traceback, and ends with the exit code of its kind."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(arg.encode(errors="ignore").decode() != arg for arg in args):  # the store and JSON refuse such a text
            ctx.fail("an argument is no text in UTF-8")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        from consumer.telemetry import log_to_standard_error  # noqa: PLC0415 - `--help` need not wait for it

        log_to_standard_error()  # `run` changes this, because a service logs to standard output
        try:
            return super().invoke(ctx)
        except NotPossible as error:
            fail(str(error), BAD_ANSWER)
        except StoreUnavailable as error:
            fail(f"the store does not answer ({error}): see store.url in the configuration", BAD_USE)
        except OrderflowError as error:
            fail(str(error), BAD_USE)


app = group(
    "Carries every order of a Mirakl seller from waiting acceptance to shipped, once, and shows why.",
    cls=_Commands,
    epilog=EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# In the order of the help.
for command in (
    service.run,
    service.init,
    doctor.doctor,
    status.status,
    service.migrate,
    service.diagram,
    service.version,
    demo.demo,
    demo.simulate,
):
    app.command()(command)
app.add_typer(config.commands, name="config")
app.add_typer(orders.commands, name="orders")
app.add_typer(shops.commands, name="shops")
app.add_typer(dead_letters.commands, name="dead-letters")
app.add_typer(offsets.commands, name="offsets")
app.add_typer(events.commands, name="events")


def main() -> None:
    """The entry point of the executable `orderflow`."""
    app(prog_name="orderflow")
