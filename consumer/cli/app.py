"""The command line (docs/rules.md 34): names, options, exit codes and the JSON of the reading commands are a
contract."""

from typing import Any, Final

import typer.core

from adapters.errors import OrderflowError, StoreUnavailable
from consumer.cli import config, dead_letters, demo, events, offsets, orders, service, shops
from consumer.cli.options import group
from consumer.cli.output import BAD_ANSWER, BAD_USE, fail
from consumer.operations.orders import NotPossible

EPILOG: Final = """\
\b
Examples:
  orderflow init                              write a first configuration
  orderflow run --config orderflow.toml       poll, decide, accept, import, ship
  orderflow orders list --attention           what needs a person
  orderflow orders explain ORDER              why is it there, what does it wait for

\b
Exit codes:
  0  good
  1  the answer is bad: no such order, nothing to decide, a difference found, an audit failed, or you said no
  2  the configuration or the use is wrong, or the store does not answer
"""


class _Commands(typer.core.TyperGroup):
    """Errors of ours become one text without a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(arg.encode(errors="ignore").decode() != arg for arg in args):  # neither the store nor JSON takes it
            ctx.fail("an argument is no text in UTF-8")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
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
for command in (service.run, service.init, service.migrate, service.diagram, service.version):
    app.command()(command)
for command in (demo.demo, demo.simulate):
    app.command()(command)
app.add_typer(config.commands, name="config")
app.add_typer(orders.commands, name="orders")
app.add_typer(shops.commands, name="shops")
app.add_typer(dead_letters.commands, name="dead-letters")
app.add_typer(offsets.commands, name="offsets")
app.add_typer(events.commands, name="events")


def main() -> None:
    """The `orderflow` command."""
    app(prog_name="orderflow")
