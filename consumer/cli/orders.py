"""`orderflow orders`: look orders up, and decide about them."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from inspect import Signature, signature
from typing import Annotated, Any, Literal

import typer

from adapters.store import journal as journal_rows
from adapters.store.orders import OrderRow
from consumer.cli.opening import opened
from consumer.cli.options import FILE, AllOf, Config, Json, MaybeOrderId, OfShop, OrderId, Reason, Who, Yes, group
from consumer.cli.orders_bulk import STDIN, decide_all, decide_now, orders_of
from consumer.cli.orders_list import orders_list
from consumer.cli.orders_messages import orders_messages
from consumer.cli.orders_show import orders_explain, orders_show, prefix_of, print_explanation
from consumer.cli.output import BAD_ANSWER, ask, print_json_items, printable
from consumer.cli.spans import instant_of
from consumer.operations.orders import Act, find, question_of, replan
from consumer.operations.verify import verified, verify
from consumer.operations.what_first import names_in_turn
from statemachine.commands import Policy
from statemachine.facts import DecisionKind, Tracking

commands = group("Orders: look them up, and decide about them.")


commands.command("list")(orders_list)
commands.command("messages")(orders_messages)
commands.command("show")(orders_show)
commands.command("explain")(orders_explain)


@commands.command("verify")
def orders_verify(
    context: typer.Context,
    order_id: Annotated[str | None, typer.Argument(metavar="[ORDER]", help="Mirakl's order id.")] = None,
    *,
    file: Config = FILE,
    shop: OfShop = None,
    every: Annotated[bool, typer.Option("--all", help="Every order; with --shop, every order of this shop.")] = False,
    since: Annotated[
        str, typer.Option(metavar="SPAN|TIME", help="With --all: only orders that changed after this.")
    ] = "",
    redecide: Annotated[
        bool, typer.Option("--redecide", help="Compare also with what this version would decide.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild an order from its journal and compare it with what is stored. Exit code 1 if they differ.

    \b
    Examples:
      orderflow orders verify 5f4dcc3b-A
      orderflow orders verify --all --redecide
      orderflow orders verify --all --since 2d
    """
    if every == (order_id is not None):
        raise typer.BadParameter("give an ORDER or --all")
    if since and not every:
        raise typer.BadParameter("it selects among --all orders", param_hint="--since")
    with opened(context, file) as session:
        store = session.store
        policies = session.policies() if redecide else None
        orders: Iterable[tuple[OrderRow, list[str]]]
        if order_id is None:
            orders = verified(store, shop, policies, instant_of("--since", since, session.clock.now()))
        else:
            row = find(store, order_id, shop)
            orders = [(row, verify(row, journal_rows.of_order(store, row.key), policies))]
        tally = Counter[bool]()
        results = (_verified(row, found, tally) for row, found in orders)
        if as_json:
            print_json_items(results)
        else:
            for one in results:
                for difference in one["differences"]:
                    typer.echo(printable(f"{one['shop']} {one['order_id']}: {difference}"))
            typer.echo(f"{tally.total()} verified, {tally[False]} differ")
    if tally[False]:
        raise typer.Exit(BAD_ANSWER)


@commands.command("replan")
def orders_replan(context: typer.Context, order_id: OrderId, *, file: Config = FILE, shop: OfShop = None) -> None:
    """Plan an order again from what is stored of it. A quarantined order goes on, if this version can read and plan it.

    One of the workers does this for every open order when it takes the housekeeping over, and every six hours.

    \b
    Example:
      orderflow orders replan 5f4dcc3b-A
    """
    with opened(context, file) as session:
        order = replan(session.store, session.order_writer(), find(session.store, order_id, shop))
    reasons = ", ".join(names_in_turn(order)) or "no attention reason"
    typer.echo(printable(f"{order.shop} {order.order_id}: {order.state}, {reasons}"))


def _verified(row: OrderRow, found: list[str], tally: Counter[bool]) -> dict[str, Any]:
    """An order and its differences as `--json` shows them. Counts the order in `tally`: True if nothing differs."""
    tally[not found] += 1
    return {"shop": row.shop, "order_id": row.order_id, "ok": not found, "differences": found}


# -- Deciding about orders ---------------------------------------------------------------------------------------


def _shape(context: typer.Context, order_id: MaybeOrderId = None, *, reason: Reason) -> None:
    """The first parameters of every decision."""


def _shape_end(
    *, all_of: AllOf = None, file: Config = FILE, shop: OfShop = None, who: Who = None, yes: Yes = False
) -> None:
    """The last parameters of every decision."""


def _decision(kind: DecisionKind) -> Callable[[Callable[..., dict[str, Any]]], None]:
    """Make the command of a decision: it asks, applies the decision, and explains the order as it is after that.

    The decorated function has the parameters that only this command has, and its help. It returns the fields of `Act`
    that they fill.
    """

    def register(options: Callable[..., dict[str, Any]]) -> None:
        own = signature(options).parameters

        def command(context: typer.Context, order_id: str | None, *, reason: str, **more: Any) -> None:
            fields, all_of = options(**{name: more[name] for name in own}), more["all_of"]
            _require_one_way(order_id, all_of, fields, yes=more["yes"])
            with opened(context, more["file"]) as session:
                act = Act(kind, session.name_of(more["who"]), reason, session.clock.now(), **fields)
                if order_id is None:
                    rows = orders_of(session, all_of, more["shop"])
                    decide_all(session, rows, act, yes=more["yes"], prefix=partial(prefix_of, session))
                    return
                row = find(session.store, order_id, more["shop"])
                policy = session.policies().get(row.shop, Policy())
                ask(question_of(session.store, row, act, policy, prefix=prefix_of(session, row)), more["yes"])
                after = decide_now(session, row, act, was_asked=not more["yes"])
                print_explanation(session, after)

        shape = [*signature(_shape).parameters.values(), *own.values(), *signature(_shape_end).parameters.values()]
        command.__doc__ = options.__doc__
        command.__signature__ = Signature(shape)  # type: ignore[attr-defined]  # typer reads both
        command.__annotations__ = {one.name: one.annotation for one in shape}
        commands.command(kind.value)(command)

    return register


def _require_one_way(order_id: str | None, all_of: str | None, fields: dict[str, Any], *, yes: bool) -> None:
    """Raise BadParameter unless either one order or a file of orders is named, with what fits it."""
    if (order_id is None) == (all_of is None):
        raise typer.BadParameter("give an ORDER or --all-of FILE")
    if all_of is not None and (fields.get("tracking") or fields.get("lines")):
        raise typer.BadParameter("lines and trackings belong to one order, not to --all-of")
    if all_of == STDIN and not yes:
        raise typer.BadParameter("--all-of - needs --yes, because standard input holds the list and no answer")


_Lines = Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this line; may be given again.")]


@_decision(DecisionKind.ACCEPT)
def _accept(*, line: _Lines = None) -> dict[str, Any]:
    """Accept an order, even if the shop's policy does not. With --line all other lines are refused.

    \b
    Examples:
      orderflow orders accept 5f4dcc3b-A --reason "agreed with the warehouse"
      orderflow orders accept 5f4dcc3b-A --line 5f4dcc3b-A-1 --reason "the other mug is sold out"
    """
    return {"lines": line or ()}


@_decision(DecisionKind.REFUSE)
def _refuse(*, line: _Lines = None) -> dict[str, Any]:
    """Refuse every line of an order. Mirakl informs the customer. With --line all other lines are accepted.

    \b
    Examples:
      orderflow orders refuse 5f4dcc3b-A --reason "agreed with the warehouse"
      orderflow orders refuse 5f4dcc3b-A --line 5f4dcc3b-A-2 --reason "sold out"
    """
    return {"lines": line or ()}


@_decision(DecisionKind.HOLD)
def _hold() -> dict[str, Any]:
    """Hold an order: nothing is sent until it is released.

    \b
    Example:
      orderflow orders hold 5f4dcc3b-A --reason "agreed with the warehouse"
    """
    return {}


@_decision(DecisionKind.SETTLE)
def _settle(
    *,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="The attention reason; may be given again.")
    ] = None,
) -> dict[str, Any]:
    """Mark attention reasons as seen, if their cure names `orders settle`. Where several stand, --only names which.

    Any other reason ends as its cure says (`orders explain`).

    \b
    Examples:
      orderflow orders settle 5f4dcc3b-A --reason "agreed with the warehouse"
      orderflow orders settle 5f4dcc3b-A --only foreign_tracking --reason "the portal is right"
      orderflow orders settle --all-of ids.txt --only attachment --reason "the files are with the OMS"
    """
    return {"only": only or ()}


@_decision(DecisionKind.RELEASE)
def _release(
    *,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="The attention reason; may be given again.")
    ] = None,
) -> dict[str, Any]:
    """End a hold, or let calls be made that wait for a person's release. Where several wait, --only names which.

    \b
    Examples:
      orderflow orders release 5f4dcc3b-A --reason "agreed with the marketplace"
      orderflow orders release 5f4dcc3b-A --only held --reason "the customer has paid"
    """
    return {"only": only or ()}


@_decision(DecisionKind.SENT)
def _sent(
    *,
    carrier: Annotated[str, typer.Option(help="The carrier of the parcel, if it is known.")] = "",
    tracking: Annotated[str, typer.Option(help="The tracking number, if there is one.")] = "",
) -> dict[str, Any]:
    """Vouch that all goods of an order have left, though the OMS does not report it. Mirakl is then notified.

    \b
    Examples:
      orderflow orders sent 5f4dcc3b-A --reason "the warehouse saw the parcel leave"
      orderflow orders sent 5f4dcc3b-A --carrier DPD --tracking 0998877 --reason "number from the carrier's portal"
    """
    return {"tracking": Tracking(carrier, tracking)}


@_decision(DecisionKind.HANDLED)
def _handled(
    *,
    call: Annotated[
        Literal["accept_order", "import_order", "send_tracking", "confirm_shipment"] | None,
        typer.Option(help="The call, if several are due or failed."),
    ] = None,
) -> dict[str, Any]:
    """Say that a person did by hand what a call should have done. The call is not made any more.

    accept_order: Mirakl has the answer. import_order: the OMS has the order as Mirakl shows it. send_tracking: Mirakl
    has the tracking. confirm_shipment: Mirakl has the shipment. If the next read of Mirakl does not show it, the reason
    for a person comes back.

    \b
    Example:
      orderflow orders handled 5f4dcc3b-A --call import_order --reason "keyed in by ana as order 4711"
    """
    return {"call": call or ""}


@_decision(DecisionKind.RETRY)
def _retry() -> dict[str, Any]:
    """Make a refused or given-up call once more. One that waits for its next try is made at once.

    \b
    Example:
      orderflow orders retry 5f4dcc3b-A --reason "agreed with the warehouse"
    """
    return {}
