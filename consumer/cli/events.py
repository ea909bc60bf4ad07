"""`orderflow events`: check events in files, and publish them."""

from pathlib import Path
from typing import Annotated

import typer

from consumer import config
from consumer.cli.opening import opened_with_log
from consumer.cli.options import FILE, Config, EventFiles, Json, Yes, group
from consumer.cli.output import BAD_ANSWER, BAD_USE, ask, fail, print_json, printable
from consumer.config import TopicsTable

commands = group("Events, as other teams publish and read them (docs/events).")


@commands.command("publish")
def events_publish(
    context: typer.Context,
    names: EventFiles,
    *,
    file: Config = FILE,
    yes: Yes = False,
) -> None:
    """Publish events to the log, as the OMS or the poller would. If one of them is wrong, none is published.

    An event that was applied before counts as a repeat and changes nothing, so all events of a day can be published
    again.

    \b
    Example:
      orderflow events publish dispatched.json --config orderflow.toml
    """
    from consumer.operations import events as checks  # noqa: PLC0415 - building its models takes long, and --help need not wait

    with opened_with_log(context, file) as (session, log):
        shops, topics = config.shop_ids(session.settings), session.settings.topics
        records = [record for name in names for record in checks.records(_bytes(name), shops, topics)]
        ask(f"publish {len(records)} events?", yes)
        log.publish(records)
    typer.echo(f"published: {len(records)}")


@commands.command("check")
def events_check(
    names: EventFiles,
    *,
    file: Annotated[Path | None, typer.Option("--config", help="Look up the shops in this configuration.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat a warning as wrong.")] = False,
    as_json: Json = False,
) -> None:
    """Read events as the service would, and say what is wrong with each. Nothing is sent or stored.

    A file holds an event, an array of events, or one event in each line: CloudEvents in structured JSON, of any topic.
    Wrong: the service would dead-letter the event; a transition, which it never reads, does not follow its schema. A
    warning: the service takes the event, although it breaks the contract.

    \b
    Examples:
      orderflow events check dispatched.json
      orderflow events check --config orderflow.toml --strict --json events.jsonl
      jq -c .value captured.json | orderflow events check -
    """
    from consumer.operations import events as checks  # noqa: PLC0415 - its models take long to build

    settings = config.load(file) if file else None
    topics = (settings.topics if settings else TopicsTable()).model_dump()
    checker = checks.Checker(config.shop_ids(settings) if settings else None)
    found = [(name, one) for name in names for one in checker.check(_bytes(name))]
    if as_json:
        print_json([{"file": name, **checks.summary(one, topics)} for name, one in found])
    else:
        for name, one in found:
            for line in checks.lines(one, topics):
                typer.echo(printable(f"{name} {one.number}: {line}"))
        wrong, warned = sum(bool(one.error) for _, one in found), sum(bool(one.warnings) for _, one in found)
        typer.echo(f"checked: {len(found)}, wrong: {wrong}, with warnings: {warned}")
    if any(one.error or (strict and one.warnings) for _, one in found):
        raise typer.Exit(BAD_ANSWER)


def _bytes(name: str) -> bytes:
    """The content of a file, or of standard input. Ends the command if it cannot be read, or is empty."""
    try:
        content = typer.get_binary_stream("stdin").read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        fail(f"{name} cannot be read ({type(error).__name__})", BAD_USE)
    if not content.strip():
        fail(f"{name} holds no event", BAD_USE)
    return content
