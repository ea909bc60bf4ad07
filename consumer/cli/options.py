"""The arguments and options that several commands take, and how a group of commands is made."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from consumer.operations.errors import require_reason

#: Where the configuration is, unless --config or this variable names another file.
FILE: Final = Path("orderflow.toml")
CONFIG_VARIABLE: Final = "ORDERFLOW_CONFIG"

Config = Annotated[Path, typer.Option("--config", envvar=CONFIG_VARIABLE, help="The configuration file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="Print only the bytes as received. A terminal obeys control characters in them.")
]
OrderId = Annotated[str, typer.Argument(metavar="ORDER", help="Mirakl's order id.")]
MaybeOrderId = Annotated[str | None, typer.Argument(metavar="[ORDER]", help="Mirakl's order id.")]
AllOf = Annotated[
    str | None,
    typer.Option("--all-of", metavar="FILE", help="All orders in this file, one id in a line; - is standard input."),
]
OfShop = Annotated[str | None, typer.Option("--shop", help="The order's shop, if two shops have this order id.")]
ShopName = Annotated[str, typer.Argument(metavar="SHOP", help="The shop's name in the configuration.")]
Only = Annotated[Literal["accept", "import", "ship"] | None, typer.Option(help="Change only this group of effects.")]
DeadLetterId = Annotated[int, typer.Argument(metavar="ID", help="The dead letter's id, as `list` shows it.")]
BulkLimit = Annotated[int, typer.Option(min=1, max=10_000, help="At most this many of a reason or a source.")]
MaybeDeadLetterIds = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="One id or several.")]
SetAside = Annotated[
    str | None, typer.Option("--set-aside", metavar="SHOP", help="All records of this shop that are set aside.")
]
AllOfDeadLetters = Annotated[
    str | None,
    typer.Option("--all-of", metavar="FILE", help="All ids in this file, one in a line; - is standard input."),
]
OfReason = Annotated[
    str | None,
    typer.Option("--of-reason", metavar="NAME", help="Those with this reason, as the list shows it."),
]
OfSource = Annotated[
    str | None,
    typer.Option("--of-source", metavar="NAME", help="Those from this source, as the list shows it."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done, and how it would end.")]
EventFiles = Annotated[list[str], typer.Argument(metavar="FILE", help="Files with events; - is standard input.")]


def _own_reason(why: str) -> str:
    require_reason(why)  # before anything is asked
    return why


Reason = Annotated[str, typer.Option("--reason", metavar="WHY", help="The reason. It is stored.", callback=_own_reason)]
Who = Annotated[str | None, typer.Option("--who", help="Who decides. By default the system's user.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Limit = Annotated[int, typer.Option(min=1, help="Show at most this many.")]


def group(text: str, **more: Any) -> typer.Typer:
    """A group of commands with `text` as its help. The help is plain, the same on a terminal, in a pipe and in docs."""
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None, add_completion=False, **more)
