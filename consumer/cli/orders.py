"""`orderflow orders`: look at orders, and decide about them."""

import json
from dataclasses import asdict, replace
from typing import Annotated, Any, Final

import typer

from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store.commands import CommandRow
from adapters.store.facts_json import facts_to_json
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from consumer import config, wiring
from consumer.apply import OrderWriter
from consumer.cli import opening
from consumer.cli.opening import opened
from consumer.cli.options import FILE, Config, Json, Limit, OfShop, OrderId, Reason, Who, Yes, group
from consumer.cli.output import (
    BAD_ANSWER,
    BAD_USE,
    ask,
    at_most,
    cell,
    fail,
    print_bytes,
    print_json,
    print_pairs,
    print_rows,
    printable,
    text,
)
from consumer.config import Settings
from consumer.operations.explain import explain, known, timeline
from consumer.operations.orders import act
from consumer.operations.verify import differences, redecided
from statemachine.commands import Policy
from statemachine.facts import DecisionKind, Facts
from statemachine.states import State

commands = group("Orders: look at them, and decide about them.")


@commands.command("list")
def orders_list(
    *,
    file: Config = FILE,
    shop: Annotated[str | None, typer.Option(help="Of this shop alone.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="In this state; may be given several times.")] = None,
    attention: Annotated[bool, typer.Option("--attention", help="Only what needs a person.")] = False,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List orders, the latest change first.

    \b
    Examples:
      orderflow orders list --attention
      orderflow orders list --shop alpha --state shipping --state imported --json
    """
    for one in sorted(set(state or ()) - set(State)):
        raise typer.BadParameter(f"{one} is no state; these are: {', '.join(State)}", param_hint="--state")
    with opened(file) as (_, store):
        rows = order_rows.latest(store, shop=shop, states=state or (), attention=attention, limit=limit + 1)
    print_rows(at_most(limit, [_summary(row) for row in rows]), as_json)


@commands.command("show")
def orders_show(
    order_id: OrderId,
    file: Config = FILE,
    shop: OfShop = None,
    received: Annotated[
        bool, typer.Option("--received", help="Also the order as received and the remotes' words: personal data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what is known of an order, its calls, and everything that happened to it.

    \b
    Example:
      orderflow orders show 5f4dcc3b-A --received
    """
    with opened(file) as (_, store):
        row = _order(store, order_id, shop)
        calls = [_call(command) for command in command_rows.of_order(store, row.key)]
        events = [asdict(event) for event in timeline(journal_rows.of_order(store, row.key))]
        body = snapshot_rows.find(store, row.key, row.digest) if received else None
    concerns = [asdict(one) for one in row.attention]
    words = _words(row.facts) if received else []
    if as_json:
        facts = json.loads(facts_to_json(_without_words(row.facts)))
        more = {"received": text(body), "words": words} if received else {}
        print_json(_summary(row) | {"concerns": concerns, "facts": facts, "commands": calls, "timeline": events} | more)
        return
    print_pairs(_summary(row) | known(row.facts))
    for title, rows in (("Attention", concerns), ("Calls", calls), ("Timeline", events), ("Words", words)):
        if rows:
            typer.echo(f"\n{title}")
            print_rows(rows)
    if received:
        typer.echo("\nAs received")
        print_bytes(body)


@commands.command("explain")
def orders_explain(order_id: OrderId, file: Config = FILE, shop: OfShop = None, as_json: Json = False) -> None:
    """Say why an order is where it is, since when, what it waits for, and what a person can do.

    \b
    Example:
      orderflow orders explain 5f4dcc3b-A
    """
    with opened(file) as (settings, store):
        _explain(settings, store, _order(store, order_id, shop), as_json)


def _explain(settings: Settings, store: Store, row: OrderRow, as_json: bool = False) -> None:
    found = explain(
        row,
        journal_rows.of_order(store, row.key),
        command_rows.of_order(store, row.key),
        shop=next((one for one in shop_rows.list_all(store) if one.name == row.shop), None),
        policy=config.policies(settings).get(row.shop, Policy()),
        now=opening.CLOCK.now(),
    )
    if as_json:
        print_json(asdict(found))
        return
    pairs = asdict(found)
    for number, look in enumerate(pairs.pop("attention"), start=1):
        pairs[f"attention {number}"] = f"{look['reason']} {look['detail']}".strip() + f", since {cell(look['since'])}"
        pairs[f"  meaning {number}"], pairs[f"  cure {number}"] = look["meaning"], look["cure"]
    print_pairs(pairs)


@commands.command("verify")
def orders_verify(
    order_id: Annotated[str | None, typer.Argument(metavar="[ORDER]", help="Mirakl's order id.")] = None,
    *,
    file: Config = FILE,
    shop: OfShop = None,
    every: Annotated[bool, typer.Option("--all", help="Every order.")] = False,
    redecide: Annotated[bool, typer.Option("--redecide", help="Also what today's code would decide.")] = False,
    as_json: Json = False,
) -> None:
    """Rebuild an order from its journal and compare it with what is stored. Exit code 1 where they differ.

    \b
    Examples:
      orderflow orders verify 5f4dcc3b-A
      orderflow orders verify --all --redecide
    """
    if every == (order_id is not None):
        raise typer.BadParameter("give an ORDER or --all")
    with opened(file) as (settings, store):
        policies = config.policies(settings) if redecide else {}
        rows = order_rows.latest(store, shop=shop, limit=_ALL) if order_id is None else [_order(store, order_id, shop)]
        found = []
        for row in rows:
            entries = journal_rows.of_order(store, row.key)
            today = redecided(row, entries, policies.get(row.shop, Policy())) if redecide else []
            found.append((row, differences(row, entries) + today))
    bad = sum(bool(wrong) for _, wrong in found)
    if as_json:
        print_json(
            [
                {"shop": row.shop, "order_id": row.order_id, "ok": not wrong, "differences": wrong}
                for row, wrong in found
            ]
        )
    else:
        for row, wrong in found:
            for difference in wrong:
                typer.echo(printable(f"{row.shop} {row.order_id}: {difference}"))
        typer.echo(f"{len(found)} verified, {bad} differ")
    if bad:
        raise typer.Exit(BAD_ANSWER)


_ALL: Final = 2**31


def _summary(row: OrderRow) -> dict[str, Any]:
    return {
        "shop": row.shop,
        "order_id": row.order_id,
        "state": row.state,
        "attention": list(dict.fromkeys(one.reason for one in row.attention)),
        "entered_at": row.entered_at,
        "updated_at": row.updated_at,
    }


def _call(command: CommandRow) -> dict[str, Any]:
    """A command without its payload, which holds personal data."""
    names = ("kind", "carries", "round", "state", "attempts", "next_at", "give_up_at", "last_outcome")
    return {name: getattr(command, name) for name in names}


def _words(facts: Facts) -> list[dict[str, Any]]:
    """What the remotes said to calls that they refused."""
    refused = [(no.kind, no.round, no.words) for no in facts.rejections]
    refused += [(end.kind, end.round, end.words) for end in facts.given_up]
    return [{"command": kind, "round": round_, "words": words} for kind, round_, words in refused]


def _without_words(facts: Facts) -> Facts:
    """A remote's words may quote the order."""
    return replace(
        facts,
        rejections=tuple(replace(no, words="") for no in facts.rejections),
        given_up=tuple(replace(end, words="") for end in facts.given_up),
    )


# -- Deciding about orders ---------------------------------------------------------------------------------------

_ACTS: Final = {
    DecisionKind.ACCEPT: "Accept an order, whatever the shop's policy says.",
    DecisionKind.REFUSE: "Refuse every line of an order. Mirakl tells the customer.",
    DecisionKind.HOLD: "Hold an order: nothing is sent until it is settled.",
    DecisionKind.SETTLE: "Mark all that needs attention now as seen to; a held order goes on.",
    DecisionKind.RETRY: "Make a refused or given-up call once more, and one that waits for its next try at once.",
}


def _add_act(kind: DecisionKind, purpose: str) -> None:
    def command(
        order_id: OrderId,
        *,
        reason: Reason,
        file: Config = FILE,
        shop: OfShop = None,
        who: Who = None,
        yes: Yes = False,
    ) -> None:
        with opened(file) as (settings, store):
            row = _order(store, order_id, shop)
            ask(f"{kind} {row.shop} {row.order_id}, which is {row.state}?", yes)
            orders = OrderWriter(store, config.policies(settings), opening.CLOCK, outbox=wiring.outbox_of(settings))
            after = act(
                store,
                orders,
                row,
                kind,
                shops=settings.shops,
                who=who or opening.user(),
                why=reason,
                at=opening.CLOCK.now(),
            )
            _explain(settings, store, after)

    command.__doc__ = f"""{purpose}

    \b
    Example:
      orderflow orders {kind} 5f4dcc3b-A --reason "agreed with the warehouse"
    """
    commands.command(kind)(command)


for _kind, _text_of_kind in _ACTS.items():
    _add_act(_kind, _text_of_kind)


def _order(store: Store, order_id: str, shop: str | None) -> OrderRow:
    """The one order of this id. Ends the command where there is none."""
    rows = order_rows.find(store, order_id, shop)
    if not rows:
        fail(f"there is no order {order_id}" + (f" of shop {shop}" if shop else ""), BAD_ANSWER)
    if len(rows) > 1:
        fail(f"{order_id} is an order of {' and '.join(sorted(row.shop for row in rows))}: say --shop", BAD_USE)
    return rows[0]
