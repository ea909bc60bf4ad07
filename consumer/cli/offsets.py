"""`orderflow offsets`: how far each partition was applied, and setting it by hand."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from consumer import config, wiring
from consumer.apply import OrderWriter
from consumer.cli import opening
from consumer.cli.opening import opened_with_log
from consumer.cli.options import FILE, Config, Json, Reason, Who, Yes, group
from consumer.cli.output import BAD_ANSWER, ask, print_rows
from consumer.config import Settings
from consumer.operations import offsets
from consumer.operations.orders import needs_words

commands = group("How far the log was read, and what to do where it and the store have parted.")


@commands.command("list")
def offsets_list(file: Config = FILE, as_json: Json = False) -> None:
    """List how far each partition was applied, what the log holds, and whether the two fit.

    Exit code 1 where they do not: such a partition is not read on, until it is reset.

    \b
    Example:
      orderflow offsets list
    """
    with opened_with_log(file) as (settings, store, log):
        found = offsets.partition_statuses(store, log, wiring.group_of(settings), _consumed(settings))
    print_rows([asdict(one) for one in found], as_json)
    if not as_json:
        for mismatch in dict.fromkeys(one.mismatch for one in found if one.mismatch):
            typer.echo(f"{mismatch}: {mismatch.meaning}")
    if any(one.mismatch for one in found):
        raise typer.Exit(BAD_ANSWER)


@commands.command("reset")
def offsets_reset(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name at Kafka.")],
    *,
    reason: Reason,
    partition: Annotated[int | None, typer.Option(min=0, help="This partition alone.")] = None,
    to: Annotated[
        Literal["stored", "earliest", "latest"],
        typer.Option(
            "--to", help="Where the store is, as far as the log has it; the oldest record; behind the newest."
        ),
    ] = "stored",
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Set where a topic is read on after offsets and log have parted, and read every shop anew.

    Records that are read again do nothing twice. What the log has lost of Mirakl comes with the next polls; what it
    has lost of the OMS has to be published again by the OMS. Open orders count as ones whose import was attempted.

    \b
    Example:
      orderflow offsets reset mirakl.order-snapshots --reason "topic made anew after the disk was lost"
    """
    with opened_with_log(file) as (settings, store, log):
        if topic not in _consumed(settings):
            raise typer.BadParameter(f"one of {', '.join(_consumed(settings))}", param_hint="TOPIC")
        needs_words(reason)
        ask(f"reset {topic} to {to}, and read {len(settings.shops)} shops anew?", yes)
        orders = OrderWriter(store, config.policies(settings), opening.CLOCK, outbox=wiring.outbox_of(settings))
        moved = offsets.reset(
            store,
            orders,
            log,
            wiring.group_of(settings),
            topic,
            partition=partition,
            whence=to,
            who=who or opening.user(),
            why=reason,
            at=opening.CLOCK.now(),
            shops=settings.shops,
        )
    for one, was, now in moved:
        typer.echo(f"{one.topic}/{one.number}: {was} -> {now}")


def _consumed(settings: Settings) -> tuple[str, str]:
    return settings.topics.snapshots, settings.topics.oms_events
