"""`orderflow doctor`: whether everything that the service needs is there."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from adapters.clock import SystemClock
from adapters.errors import ConfigError
from adapters.store.clock import StoreClock
from consumer import config
from consumer.cli.opening import Environment
from consumer.cli.options import FILE, Config, Json
from consumer.cli.output import BAD_ANSWER, BAD_USE, cell, fail, print_json
from consumer.operations.doctor.findings import Line, Result


def doctor(
    context: typer.Context,
    file: Config = FILE,
    *,
    outage_hours: Annotated[
        float,
        typer.Option("--outage-hours", min=1, help="The longest time for which no consumer may run."),
    ] = 72,  # a long weekend
    as_json: Json = False,
) -> None:
    """Look at everything that the service needs, and say what is wrong and what to do about it.

    Looks at the configuration, its files, secrets and ports; the database; Kafka; and each shop at Mirakl and at the
    OMS. Creates no order, and changes nothing but this: a key that belongs to another shop pauses the effects of the
    shop. Every check is bounded in time. The calls that Mirakl allows once a day (A01, SH21) are counted in the store:
    a second run on the same day does not make them again.

    Exit code 0: nothing fails; 1: something fails; 2: the configuration or the use is wrong, so nothing was looked at.

    \b
    Examples:
      orderflow doctor
      orderflow doctor --json --config /etc/orderflow/orderflow.toml
    """
    from consumer.operations.doctor.table import look_at_everything  # noqa: PLC0415 - it imports every client

    environment = Environment.of(context)
    try:
        settings = config.load(file)
    except ConfigError as error:
        if as_json:
            _print([Line(Result.FAIL, "configuration", "", str(error), "correct it")], as_json)
            raise typer.Exit(BAD_USE) from error
        fail(str(error), BAD_USE)
    is_real = isinstance(environment.clock, StoreClock)
    lines = look_at_everything(
        settings,
        machine_clock=SystemClock() if is_real else environment.clock,
        clock=environment.clock,
        transport=environment.transport,
        outage=timedelta(hours=outage_hours),
    )
    _print(lines, as_json)
    if any(one.result is Result.FAIL for one in lines):
        raise typer.Exit(BAD_ANSWER)


def _print(lines: list[Line], as_json: bool) -> None:
    """Print a line for each, with its cure behind it. Lines are not folded, so that they can be searched."""
    if as_json:
        print_json([asdict(one) for one in lines])
        return
    check, of = (max(len(getattr(one, name)) for one in lines) for name in ("check", "of"))
    for one in lines:
        cure = f"; {one.cure}" if one.cure else ""
        result = "FAIL" if one.result is Result.FAIL else one.result
        row = f"{result:7}  {one.check:{check}}  {one.of:{of}}  {cell(one.found)}{cell(cure)}"
        typer.echo(row.rstrip())
