"""`orderflow orders messages`: what the customer wrote, read from Mirakl now."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import typer

from adapters.ports import Marketplace
from adapters.store import commands as command_rows
from consumer.cli.opening import Session, opened
from consumer.cli.options import FILE, Config, Json, OfShop, OrderId
from consumer.cli.output import cell, note, print_json, print_rows
from consumer.operations.messages import compared, read_messages
from consumer.operations.orders import find


def orders_messages(
    context: typer.Context, order_id: OrderId, file: Config = FILE, shop: OfShop = None, as_json: Json = False
) -> None:
    """Read from Mirakl what the customer wrote about an order, and say what the OMS has of it: personal data.

    A message after the import makes a reason only if it is the customer's first of all. Look here, or in Mirakl's
    portal, for any other.

    \b
    Example:
      orderflow orders messages 5f4dcc3b-A
    """
    with opened(context, file) as session:
        row = find(session.store, order_id, shop)
        commands = command_rows.of_order(session.store, row.key)
        with _mirakl(session, row.shop) as mirakl:
            found = read_messages(mirakl, row.order_id)
    messages = [asdict(one) for one in compared(found, commands)]
    if as_json:
        print_json({"messages": messages, "has_attachments": found.has_attachments})
        return
    print_rows([_in_words(one) for one in messages])
    if not messages and row.facts.snapshot is not None and row.facts.snapshot.has_messages:
        note("Mirakl says that the customer wrote, and shows no message: look in Mirakl's portal.")
    if found.has_attachments:
        note(
            "A message has a file, a picture or a part that cannot be read, which the OMS does not get: look in "
            "Mirakl's portal."
        )


def _in_words(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": f"{cell(one['at'])} UTC" if one["at"] else "not known",
        "from": "customer",  # no message of anybody else is read
        "in_oms": "not known" if one["in_oms"] is None else one["in_oms"],
        "text": one["text"],
    }


@contextmanager
def _mirakl(session: Session, shop: str) -> Iterator[Marketplace]:
    """A client of the shop at Mirakl, which is closed at the end."""
    from consumer import clients  # noqa: PLC0415 - it imports the clients of the remotes

    table, key = session.shop_with_key(shop)
    http = session.settings.http
    client = clients.mirakl_client(
        table, key, session.clock, lambda *_, **__: None, session.transport, http=http, connections=1
    )
    try:
        yield client
    finally:
        client.close()
