"""`orderflow offsets`: how far each partition was applied, and setting it by hand."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from adapters.ports import Partition
from consumer.cli.opening import opened_with_log
from consumer.cli.options import FILE, Config, Json, Reason, Who, Yes, group
from consumer.cli.output import BAD_ANSWER, ask, print_table
from consumer.config import Settings
from consumer.operations import offsets
from consumer.operations.offsets import ResetPosition

commands = group("How far each partition was applied, and what to do if log and store do not fit.")


@commands.command("list")
def offsets_list(context: typer.Context, file: Config = FILE, as_json: Json = False) -> None:
    """List how far each partition was applied, what the log holds, and whether the two fit.

    Exit code 1 if they do not fit. Such a partition is not read until a person resets it or, at a record_unreadable,
    passes the record (`offsets skip`).

    \b
    Example:
      orderflow offsets list
    """
    with opened_with_log(context, file) as (session, log):
        topics = _consumed(session.settings)
        found = offsets.partition_statuses(session.store, log, session.group_id, topics)
    print_table([asdict(one) for one in found], as_json)
    if not as_json:
        for mismatch in dict.fromkeys(one.mismatch for one in found if one.mismatch):
            typer.echo(f"{mismatch}: {mismatch.meaning}")
    if any(one.mismatch for one in found):
        raise typer.Exit(BAD_ANSWER)


@commands.command("reset")
def offsets_reset(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name in Kafka.")],
    *,
    reason: Reason,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition.")] = None,
    to: Annotated[
        Literal["stored", "earliest", "latest"],
        typer.Option(
            "--to",
            help="stored: at the store's position, or at the oldest record if the log does not have that position any "
            "more; earliest: at the oldest record; latest: after the newest record.",
        ),
    ] = "stored",
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """After an offset mismatch, set the position from which a topic is read, and read every shop from its beginning.

    Records that are read again change nothing. What the log has lost of Mirakl comes with the next polls. What it has
    lost of the OMS has to be published again by the OMS. Every open order counts as one whose import was attempted.

    \b
    Example:
      orderflow offsets reset mirakl.order-snapshots --reason "topic recreated after the disk was lost"
    """
    with opened_with_log(context, file) as (session, log):
        settings = session.settings
        _require_consumed(topic, settings)
        planned = offsets.positions_after_reset(
            session.store, log, session.group_id, topic, partition=partition, whence=to
        )
        moves = ", ".join(_shown(one) for one in planned if one.before != one.after) or "no position changes"
        ask(f"reset {topic} to {to} ({moves}), and read {len(settings.shops)} shops from their beginning?", yes)
        positions = offsets.reset(
            session.store,
            session.order_writer(),
            log,
            session.group_id,
            topic,
            partition=partition,
            whence=to,
            who=session.name_of(who),
            why=reason,
            at=session.clock.now(),
            shops=settings.shops,
        )
    for one in positions:
        typer.echo(_shown(one))


@commands.command("skip")
def offsets_skip(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name in Kafka.")],
    *,
    partition: Annotated[int, typer.Option(min=0, help="The partition that is stopped.")],
    reason: Reason,
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Pass the record at which a partition stops because it cannot be read from Kafka.

    `offsets list` shows such a partition as record_unreadable: the compression, the checksum or the form of the record
    is wrong. A dead letter keeps what is known of the record. Records that are compressed together are passed together.

    \b
    Example:
      orderflow offsets skip oms.order-events --partition 2 --reason "the publisher wrote a broken header"
    """
    with opened_with_log(context, file) as (session, log):
        _require_consumed(topic, session.settings)
        ask(f"pass the unreadable record of {topic}/{partition}?", yes)
        passed = offsets.skip(
            session.store,
            session.order_writer(),
            log,
            session.group_id,
            Partition(topic, partition),
            who=session.name_of(who),
            why=reason,
            at=session.clock.now(),
        )
    typer.echo(_shown(passed))


def _shown(position: ResetPosition) -> str:
    partition, before, after = position
    return f"{partition.topic}/{partition.number}: {before} -> {after}"


def _require_consumed(topic: str, settings: Settings) -> None:
    """Raise BadParameter if the consumer does not read this topic."""
    if topic not in _consumed(settings):
        raise typer.BadParameter(f"one of {', '.join(_consumed(settings))}", param_hint="TOPIC")


def _consumed(settings: Settings) -> tuple[str, str]:
    """The topics that the consumer reads."""
    return settings.topics.snapshots, settings.topics.oms_events
