"""`orderflow shops`: the shops, and the switches of their effects."""

from dataclasses import asdict

from adapters.store import shops as shop_rows
from consumer.cli import opening
from consumer.cli.opening import opened
from consumer.cli.options import FILE, Config, Json, Only, Reason, ShopName, Who, Yes, group
from consumer.cli.output import ask, print_pairs, print_rows
from consumer.operations import shops

commands = group("Shops, and the switches of their effects.")


@commands.command("list")
def shops_list(file: Config = FILE, as_json: Json = False) -> None:
    """List the shops, their switches, and how far their polls have come.

    \b
    Example:
      orderflow shops list
    """
    with opened(file) as (_, store):
        print_rows([asdict(shop) for shop in shop_rows.list_all(store)], as_json)


@commands.command("pause")
def shops_pause(
    shop: ShopName, *, reason: Reason, file: Config = FILE, only: Only = None, who: Who = None, yes: Yes = False
) -> None:
    """Let a shop's effects rest: it is read, decided and shown, and nothing is sent.

    \b
    Example:
      orderflow shops pause alpha --only import --reason "the OMS is being moved"
    """
    with opened(file) as (_, store):
        ask(f"pause {only or 'every effect'} of {shop}?", yes)
        paused = shops.pause(store, opening.CLOCK, shop, only=only, who=who or opening.user(), why=reason)
        print_pairs(asdict(paused))


@commands.command("resume")
def shops_resume(
    shop: ShopName, *, reason: Reason, file: Config = FILE, only: Only = None, who: Who = None, yes: Yes = False
) -> None:
    """Let a shop's effects go on. A shop that began with its effects off begins to accept, import and ship.

    \b
    Example:
      orderflow shops resume alpha --reason "looked at what it would do"
    """
    with opened(file) as (settings, store):
        table = settings.shops.get(shop)
        ask(f"resume {only or 'every effect'} of {shop}?", yes)
        resumed = shops.resume(
            store,
            opening.CLOCK,
            shop,
            only=only,
            who=who or opening.user(),
            why=reason,
            configured=table.effects if table else None,
        )
        print_pairs(asdict(resumed))
