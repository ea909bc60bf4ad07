"""`orderflow dead-letters`: look at them, publish them once more, or close them."""

from typing import Annotated, Any

import typer

from adapters.store import dead_letters as dead_letter_rows
from adapters.store.dead_letters import StoredDeadLetter
from adapters.store.headers_json import headers_to_json
from consumer import config
from consumer.cli import opening
from consumer.cli.opening import opened, opened_with_log
from consumer.cli.options import FILE, Config, DeadLetterIds, Json, Limit, Reason, Who, Yes, group
from consumer.cli.output import BAD_ANSWER, ask, at_most, fail, print_bytes, print_json, print_pairs, print_rows, text
from consumer.operations import dead_letters

commands = group("What could not be used, as received.")


@commands.command("list")
def letters_list(file: Config = FILE, limit: Limit = 100, as_json: Json = False) -> None:
    """List what could not be used, the newest first, without its content.

    \b
    Example:
      orderflow dead-letters list --json
    """
    with opened(file) as (_, store):
        found = dead_letter_rows.newest(store, limit=limit + 1)
    content = ("record_key", "headers")
    rows = [{name: value for name, value in _shown(each).items() if name not in content} for each in found]
    print_rows(at_most(limit, rows), as_json)


@commands.command("show")
def letters_show(
    letter_id: Annotated[int, typer.Argument(metavar="ID")], file: Config = FILE, as_json: Json = False
) -> None:
    """Show one dead letter with its content, which may hold personal data.

    \b
    Example:
      orderflow dead-letters show 17
    """
    with opened(file) as (_, store):
        found = dead_letter_rows.find(store, letter_id)
    if found is None:
        fail(f"there is no dead letter {letter_id}", BAD_ANSWER)
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
def letters_replay(
    letter_ids: DeadLetterIds,
    *,
    reason: Reason,
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Publish dead letters once more, byte for byte, after what was wrong has been mended.

    What still cannot be used is set aside again, under its old number.

    \b
    Example:
      orderflow dead-letters replay 17 18 --reason "beta is in the configuration now"
    """
    with opened_with_log(file) as (settings, store, log):
        ask(f"replay {len(letter_ids)}?", yes)
        for letter_id in letter_ids:
            topic = dead_letters.replay(
                store,
                log,
                opening.CLOCK,
                letter_id,
                shops=config.shop_ids(settings),
                topics=settings.topics,
                who=who or opening.user(),
                why=reason,
            )
            typer.echo(f"{letter_id} is published to {topic}")


@commands.command("discard")
def letters_discard(
    letter_ids: DeadLetterIds,
    *,
    reason: Reason,
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Mark dead letters as seen to. They stay, and count as open no more.

    \b
    Example:
      orderflow dead-letters discard 17 --reason "a test of the OMS team"
    """
    with opened(file) as (_, store):
        ask(f"discard {len(letter_ids)}?", yes)
        for letter_id in letter_ids:
            dead_letters.discard(store, opening.CLOCK, letter_id, who=who or opening.user(), why=reason)
            typer.echo(f"{letter_id} is discarded")
