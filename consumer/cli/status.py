"""`orderflow status`: what goes on now, on one screen."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime

import typer

from adapters.store.counts import Waiting
from consumer.cli.opening import opened_with_log
from consumer.cli.options import FILE, Config, Json
from consumer.cli.output import BAD_ANSWER, cell, folded, print_json, span
from consumer.config.types import place
from consumer.operations.status import ShopStatus, Status


def status(context: typer.Context, file: Config = FILE, as_json: Json = False) -> None:
    """Show what goes on now: what stands still (PROBLEM), each shop, dead letters, the log, the leases, the loops.

    Loops and pauses of accounts are those of the process that answers at [web] port on this machine.

    Exit code 0: nothing stands still; 1: something does, the first lines say what; 2: the store does not answer.

    \b
    Example:
      orderflow status
    """
    from consumer.operations.process import asked  # noqa: PLC0415 - `--help` need not wait for it
    from consumer.operations.status import status as read  # noqa: PLC0415 - as above

    with opened_with_log(context, file) as (session, log):
        settings = session.settings
        process = asked(settings.web.host, settings.web.port)
        found = read(settings, session.store, log, session.group_id, now=session.clock.now(), process=process)
    if as_json:
        print_json(asdict(found))
    else:
        for line in _lines(found, place(settings.web.host, settings.web.port)):
            name = re.match(r" *\S+(?: \S+)?  +", shown := cell(line))
            typer.echo(folded(shown[name.end() :], name[0]) if name else shown.rstrip())
    if found.still:
        raise typer.Exit(BAD_ANSWER)


def _lines(found: Status, web: str) -> Iterator[str]:
    """`web`: the address of [web], at which the process on this machine was asked."""
    yield from (f"PROBLEM  {one}" for one in found.still)
    for shop in found.shops:
        yield from _of_shop(shop, found.at)
    letters = ", ".join(f"{reason} {count} ({source})" for source, reason, count in found.dead_letters)
    yield f"dead letters  {letters or 'none'}"
    lags: dict[str, int] = {}
    for one in found.partitions:
        lags[one.topic] = lags.get(one.topic, 0) + one.lag
    yield f"log           {', '.join(f'{topic} {lag} to apply' for topic, lag in lags.items()) or 'not known'}"
    if found.outbox:
        yield f"outbox        {_waiting(found.outbox, found.at)}"
    yield f"leases        {', '.join(f'{name} {holder}' for name, holder in found.leases.items()) or 'none'}"
    if found.process is None:
        yield f"loops         no orderflow answers at {web}; ORDERFLOW_WEB__PORT names the port of another process"
    else:
        beats = (f"{loop} {found.at.timestamp() - beat:.0f} s" for loop, beat in sorted(found.process.beats.items()))
        yield f"loops         {', '.join(beats)} ago"


def _of_shop(shop: ShopStatus, at: datetime) -> Iterator[str]:
    effects = (
        "effects off" if not shop.effects else "effects on" if not shop.paused else "paused: " + " ".join(shop.paused)
    )
    yield f"{shop.name}  {shop.endpoint} shop {shop.shop_id}, {effects}"
    yield from (f"  paused      {one}" for one in shop.pauses)
    polled = f"{_ago(shop.polled_at, at)} ago, by {shop.poller or 'nobody'}" if shop.polled_at else "never"
    yield f"  polled      {polled}"
    yield f"  orders      {_waiting(shop.states, at) or 'none open'}"
    yield f"  attention   {_waiting(shop.attention, at) or 'none'}"
    calls = (
        f"{one.kind} {one.live} ({one.due} due, {one.failing} tried, oldest {_ago(one.oldest, at)})"
        for one in shop.calls
    )
    yield f"  calls       {', '.join(calls) or 'none wait'}"


def _waiting(found: Mapping[str, Waiting], at: datetime) -> str:
    return ", ".join(f"{name} {one.count} (oldest {_ago(one.oldest, at)})" for name, one in found.items())


def _ago(since: datetime | None, at: datetime) -> str:
    return "?" if since is None else span(at - since)
