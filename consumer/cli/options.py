"""The arguments and options that several commands share, and how a group of commands is made."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

Config = Annotated[Path, typer.Option("--config", help="The configuration file.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
OrderId = Annotated[str, typer.Argument(metavar="ORDER", help="Mirakl's order id.")]
OfShop = Annotated[str | None, typer.Option("--shop", help="The shop, where two have an order of this id.")]
ShopName = Annotated[str, typer.Argument(metavar="SHOP", help="The shop's name in the configuration.")]
Only = Annotated[Literal["accept", "import", "ship"] | None, typer.Option(help="This group of effects alone.")]
LetterIds = Annotated[list[int], typer.Argument(metavar="ID", help="One or several.")]
EventFiles = Annotated[list[str], typer.Argument(metavar="FILE", help="Files of events; - is standard input.")]
Reason = Annotated[str, typer.Option("--reason", metavar="WHY", help="Why; it is kept.")]
Who = Annotated[str | None, typer.Option("--who", help="Who decides; the system's user where not given.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]

FILE: Final = Path("orderflow.toml")


def group(text: str, **more: Any) -> typer.Typer:
    # Plain help: it reads the same on a terminal, in a pipe and in the docs.
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None, **more)
