"""`orderflow audit`: who changed or decided what, when and why."""

from dataclasses import asdict
from typing import Annotated

import typer

from consumer.cli.opening import opened
from consumer.cli.options import FILE, Config, Json, Limit
from consumer.cli.output import at_most, print_table
from consumer.cli.spans import instant_of
from consumer.operations.audit import acts


def audit(
    context: typer.Context,
    *,
    file: Config = FILE,
    since: Annotated[str, typer.Option(metavar="SPAN|TIME", help="Only what was done after this.")] = "7d",
    who: Annotated[str, typer.Option(metavar="TEXT", help="Only what people with this in their name did.")] = "",
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Show who paused, resumed, reset, replayed, settled or decided, when and why. The newest come first.

    `who` is the system's user that ran the command. If the command was given a person with `--who NAME`, it is NAME as
    USER. If orderflow itself paused a shop, it is orderflow. A SPAN is a number with its unit: 90min, 2h, 3d. A TIME is
    in UTC: 2026-03-01 or 2026-03-01T08:00.

    \b
    Examples:
      orderflow audit
      orderflow audit --since 2026-03-01 --who ana --json
    """
    with opened(context, file) as session:
        begin = instant_of("--since", since, session.clock.now())
        found = acts(session.store, begin, who) if begin else []
    print_table(at_most(limit, [asdict(one) for one in found[: limit + 1]]), as_json, ["who", "act", "subject", "why"])
