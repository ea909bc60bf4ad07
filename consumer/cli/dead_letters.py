"""`orderflow dead-letters`: look at them, publish them once more, or close them."""

from typing import Any

import typer

from adapters.store import dead_letters as dead_letter_rows
from adapters.store.dead_letters import StoredDeadLetter
from adapters.store.headers_json import headers_to_json
from consumer import config
from consumer.cli.opening import opened, opened_with_log
from consumer.cli.options import (
    FILE,
    Config,
    DeadLetterId,
    DeadLetterIds,
    Json,
    Limit,
    MaybeDeadLetterIds,
    Raw,
    Reason,
    SetAside,
    Who,
    Yes,
    group,
)
from consumer.cli.output import ask, at_most, print_bytes, print_json, print_pairs, print_rows, text
from consumer.operations import dead_letters
from consumer.operations.errors import NotPossible

commands = group("Dead letters: records that could not be used, as they were received.")


@commands.command("list")
def dead_letters_list(context: typer.Context, file: Config = FILE, limit: Limit = 100, as_json: Json = False) -> None:
    """List dead letters, the newest first, without their content.

    \b
    Example:
      orderflow dead-letters list --json
    """
    with opened(context, file) as session:
        found = dead_letter_rows.newest(session.store, limit=limit + 1)
    content = ("record_key", "headers")
    rows = [{name: value for name, value in _shown(each).items() if name not in content} for each in found]
    print_rows(at_most(limit, rows), as_json)


@commands.command("show")
def dead_letters_show(
    context: typer.Context,
    dead_letter_id: DeadLetterId,
    *,
    file: Config = FILE,
    raw: Raw = False,
    as_json: Json = False,
) -> None:
    """Show one dead letter with its content, which may hold personal data.

    \b
    Examples:
      orderflow dead-letters show 17
      orderflow dead-letters show 17 --raw > record
    """
    with opened(context, file) as session:
        found = dead_letters.find(session.store, dead_letter_id)
    if raw:
        print_bytes(found.value, raw=True)
        return
    if as_json:
        print_json(_shown(found) | {"value": text(found.value)})
        return
    print_pairs(_shown(found))
    typer.echo()
    print_bytes(found.value)


def _shown(dead_letter: StoredDeadLetter) -> dict[str, Any]:
    """A dead letter without its value, by the names that the JSON has."""
    return {
        "id": dead_letter.id,
        "source": dead_letter.source,
        "place": dead_letter.place,
        "reason": dead_letter.reason,
        "detail": dead_letter.detail,
        "record_key": text(dead_letter.key),
        "headers": headers_to_json(dead_letter.headers),
        "first_at": dead_letter.first_at,
        "last_at": dead_letter.last_at,
        "times": dead_letter.times,
        "state": dead_letter.state,
    }


@commands.command("replay")
def dead_letters_replay(
    context: typer.Context,
    dead_letter_ids: MaybeDeadLetterIds = None,
    *,
    reason: Reason,
    set_aside: SetAside = None,
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Publish dead letters once more, byte for byte, after their cause is fixed.

    Name their ids, or a shop with --set-aside. --set-aside publishes every record of this shop that was set aside.
    Records are set aside when too many of one shop cannot be used.
    A record that still cannot be used becomes a dead letter again.

    \b
    Example:
      orderflow dead-letters replay 17 18 --reason "beta is in the configuration now"
      orderflow dead-letters replay --set-aside beta --reason "beta's publisher is mended"
    """
    with opened_with_log(context, file) as (session, log):
        if bool(dead_letter_ids) == bool(set_aside):
            raise NotPossible("name ids, or a shop with --set-aside")
        shops = config.shop_ids(session.settings)
        if set_aside:
            dead_letter_ids = dead_letters.set_aside(session.store, shops, set_aside)
        dead_letter_ids = dead_letter_ids or []
        ask(f"replay {len(dead_letter_ids)}?", yes)
        for dead_letter_id in dead_letter_ids:
            topic = dead_letters.replay(
                session.store,
                log,
                session.clock,
                dead_letters.find(session.store, dead_letter_id),
                shops=shops,
                topics=session.settings.topics,
                who=session.name_of(who),
                why=reason,
            )
            typer.echo(f"{dead_letter_id} is published to {topic}")


@commands.command("discard")
def dead_letters_discard(
    context: typer.Context,
    dead_letter_ids: DeadLetterIds,
    *,
    reason: Reason,
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Close dead letters without using them. They are kept, and no longer count as open.

    \b
    Example:
      orderflow dead-letters discard 17 --reason "a test of the OMS team"
    """
    with opened(context, file) as session:
        ask(f"discard {len(dead_letter_ids)}?", yes)
        for dead_letter_id in dead_letter_ids:
            found = dead_letters.find(session.store, dead_letter_id)
            dead_letters.discard(session.store, session.clock, found, who=session.name_of(who), why=reason)
            typer.echo(f"{dead_letter_id} is discarded")
