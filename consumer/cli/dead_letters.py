"""`orderflow dead-letters`: look at them, publish them once more, or close them."""

from typing import Any

import typer

from adapters.store import dead_letters as dead_letter_rows
from adapters.store.dead_letters import StoredDeadLetter
from adapters.store.headers_json import headers_to_json
from consumer import config
from consumer.cli import dead_letters_bulk
from consumer.cli.dead_letters_bulk import Chosen
from consumer.cli.opening import opened, opened_with_log
from consumer.cli.options import (
    FILE,
    AllOfDeadLetters,
    BulkLimit,
    Config,
    DeadLetterId,
    DryRun,
    Json,
    Limit,
    MaybeDeadLetterIds,
    OfReason,
    OfSource,
    Raw,
    Reason,
    SetAside,
    Who,
    Yes,
    group,
)
from consumer.cli.output import at_most, print_bytes, print_json, print_pairs, print_table, text
from consumer.operations import dead_letters

commands = group("Dead letters: records that could not be used, as they were received.")


@commands.command("list")
def dead_letters_list(
    context: typer.Context,
    *,
    of_reason: OfReason = None,
    of_source: OfSource = None,
    file: Config = FILE,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List dead letters, the newest first, without their content.

    \b
    Examples:
      orderflow dead-letters list --json
      orderflow dead-letters list --of-reason bad_json
    """
    with opened(context, file) as session:
        found = dead_letter_rows.newest(session.store, limit + 1, reason=of_reason, source=of_source)
    content = ("record_key", "headers")
    rows = [{name: value for name, value in _shown(each).items() if name not in content} for each in found]
    print_table(at_most(limit, rows), as_json, ["source", "place", "reason", "detail"])


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
    all_of: AllOfDeadLetters = None,
    of_reason: OfReason = None,
    of_source: OfSource = None,
    set_aside: SetAside = None,
    limit: BulkLimit = 1000,
    dry_run: DryRun = False,
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Publish dead letters once more, byte for byte, after their cause is fixed.

    Name their ids, a file with ids, their reason and source, or a shop with --set-aside. --set-aside publishes every
    record of this shop that was set aside. Records are set aside when too many of one shop cannot be used.
    A record that still cannot be used becomes a dead letter again.

    \b
    Examples:
      orderflow dead-letters replay 17 18 --reason "beta is in the configuration now"
      orderflow dead-letters replay --of-reason unknown_company --reason "beta is known now" --dry-run
      orderflow dead-letters replay --all-of ids.txt --reason "the publisher is repaired"
      orderflow dead-letters replay --set-aside beta --reason "beta's publisher is repaired"
    """
    chosen = Chosen(dead_letter_ids or (), all_of, set_aside, of_reason, of_source, limit)
    with opened_with_log(context, file) as (session, log):
        shops, topics = config.shop_ids(session.settings), session.settings.topics
        ids = dead_letters_bulk.ids_of(session, chosen, answered=yes or dry_run)

        def replay(found: StoredDeadLetter) -> str:
            who_decides = session.name_of(who)
            topic = dead_letters.replay(
                session.store, log, session.clock, found, shops=shops, topics=topics, who=who_decides, why=reason
            )
            return f"published to {topic}"

        dead_letters_bulk.act_on_each(
            session.store,
            ids,
            "replay",
            shown=chosen.is_unseen,
            preview=lambda found: f"is published to {dead_letters.topic_of(found, shops, topics)}",
            act=replay,
            yes=yes,
            dry_run=dry_run,
        )


@commands.command("discard")
def dead_letters_discard(
    context: typer.Context,
    dead_letter_ids: MaybeDeadLetterIds = None,
    *,
    reason: Reason,
    all_of: AllOfDeadLetters = None,
    of_reason: OfReason = None,
    of_source: OfSource = None,
    limit: BulkLimit = 1000,
    dry_run: DryRun = False,
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Close dead letters without using them. They are kept, and no longer count as open.

    Name their ids, a file with ids, or their reason and source.

    \b
    Examples:
      orderflow dead-letters discard 17 --reason "a test of the OMS team"
      orderflow dead-letters discard --of-reason bad_json --of-source callback:beta --reason "a test" --dry-run
    """
    chosen = Chosen(dead_letter_ids or (), all_of, None, of_reason, of_source, limit)

    def discarded(found: StoredDeadLetter) -> str:
        dead_letters.require_open(found)
        return "is discarded"

    with opened(context, file) as session:

        def discard(found: StoredDeadLetter) -> str:
            dead_letters.discard(session.store, session.clock, found, who=session.name_of(who), why=reason)
            return "discarded"

        dead_letters_bulk.act_on_each(
            session.store,
            dead_letters_bulk.ids_of(session, chosen, answered=yes or dry_run),
            "discard",
            shown=chosen.is_unseen,
            preview=discarded,
            act=discard,
            yes=yes,
            dry_run=dry_run,
        )
