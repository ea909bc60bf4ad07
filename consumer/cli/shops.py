"""`orderflow shops`: the shops, and the switches of their effects."""

from dataclasses import asdict

import typer

from adapters.store import shops as shop_rows
from consumer.cli.opening import opened
from consumer.cli.options import FILE, Config, Json, Only, Reason, ShopName, Who, Yes, group
from consumer.cli.output import ask, print_pairs, print_rows
from consumer.operations import shops

commands = group("Shops, and the switches of their effects.")


@commands.command("list")
def shops_list(context: typer.Context, file: Config = FILE, as_json: Json = False) -> None:
    """List the shops, their switches, and how far their polls have come.

    \b
    Example:
      orderflow shops list
    """
    with opened(context, file) as session:
        print_rows([asdict(shop) for shop in shop_rows.list_all(session.store)], as_json)


@commands.command("pause")
def shops_pause(
    context: typer.Context,
    shop: ShopName,
    *,
    reason: Reason,
    file: Config = FILE,
    only: Only = None,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Pause a shop's effects: its orders are still read and decided, but nothing is sent.

    \b
    Example:
      orderflow shops pause alpha --only import --reason "the OMS is being moved"
    """
    with opened(context, file) as session:
        ask(f"pause {only or 'every effect'} of {shop}?", yes)
        paused = shops.pause(session.store, session.clock, shop, only=only, who=who or session.user, why=reason)
        print_pairs(asdict(paused))


@commands.command("resume")
def shops_resume(
    context: typer.Context,
    shop: ShopName,
    *,
    reason: Reason,
    file: Config = FILE,
    only: Only = None,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Resume a shop's effects. A new shop, whose effects are off until then, begins to accept, import and ship.

    \b
    Example:
      orderflow shops resume alpha --reason "looked at what it would do"
    """
    with opened(context, file) as session:
        table = session.settings.shops.get(shop)
        ask(f"resume {only or 'every effect'} of {shop}?", yes)
        resumed = shops.resume(
            session.store,
            session.clock,
            shop,
            only=only,
            who=who or session.user,
            why=reason,
            configured=table.effects if table else None,
        )
        print_pairs(asdict(resumed))
