"""What a person reads beside orders and decisions if calls are not made: no worker runs, or a shop is paused."""

from pathlib import Path

import pytest

from adapters.errors import Rejected
from adapters.store import leases as lease_rows
from adapters.store import shops as shop_rows
from consumer.operations.at_work import NO_WORKER
from tests.consumer.cli.runner import json_of, output_of, run
from tests.consumer.operations.desk import Desk

HOLD = ("orders", "hold", "--reason", "the customer called", "--yes")
PAUSE = ("shops", "pause", "alpha", "--reason", "the OMS is being moved", "--yes")


def stop_the_workers(desk: Desk) -> None:
    with desk.store.transaction() as tx:
        lease_rows.revoke(tx, "relay")


@pytest.mark.parametrize(
    "command",
    [
        ("orders", "list"),
        ("orders", "list", "--attention"),
        ("orders", "explain", "O-1"),
        (*HOLD, "O-1"),
        (*HOLD, "--all-of", "ids"),
    ],
    ids=" ".join,
)
def test_a_stopped_service_is_named_beside_orders_and_after_decisions(desk: Desk, command: tuple[str, ...]) -> None:
    Path("ids").write_text("O-1\n")
    desk.shows("SHIPPING")
    assert NO_WORKER not in run(*command).stderr
    if command[1] == "hold":
        output_of("orders", "release", "O-1", "--reason", "x", "--yes")
    stop_the_workers(desk)
    result = run(*command)
    assert result.exit_code == 0
    assert result.stderr.splitlines().count(NO_WORKER) == 1
    assert "No worker" not in result.stdout, "a script reads the table alone"


@pytest.mark.parametrize("command", [("list",), ("list", "--shop", "alpha"), ("explain", "O-1")], ids=" ".join)
def test_a_shop_that_left_the_configuration_is_named_beside_its_orders(desk: Desk, command: tuple[str, ...]) -> None:
    """`explain` says of such an order that a read or a call comes next, and none will come."""
    desk.shows("SHIPPING")
    assert "is not in the configuration" not in run("orders", *command).stderr
    file = Path("orderflow.toml")
    head, _, rest = file.read_text().partition("[shops.alpha]")
    file.write_text(f"{head}[shops.beta]{rest.partition('[shops.beta]')[2]}")
    said = "alpha is not in the configuration: it is not read at Mirakl, and no call is made for its orders."
    assert run("orders", *command).stderr.splitlines().count(said) == 1
    assert run("orders", *command, "--json").stderr == ""


def test_programs_read_no_remark(desk: Desk) -> None:
    desk.shows("SHIPPING")
    stop_the_workers(desk)
    for command in (("list", "--json"), ("explain", "O-1", "--json"), ("list", "--count")):
        assert run("orders", *command).stderr == ""


def test_the_list_of_those_that_need_a_person_names_paused_shops_and_what_waits(desk: Desk) -> None:
    desk.shows("SHIPPING")
    output_of(*PAUSE, "--only", "import")
    says = (
        "alpha is paused (import by ops since 2026-03-01 12:00 UTC: the OMS is being moved). Waiting: 1 import_order.\n"
    )
    for command in (("--attention",), ("--reason", "held"), ("--attention", "--shop", "alpha")):
        assert says in run("orders", "list", *command).stderr
    assert "paused" not in run("orders", "list", "--attention", "--shop", "beta").stderr
    assert "paused" not in run("orders", "list").stderr
    assert json_of("orders", "list", "--attention") == []


def test_a_pause_for_which_nothing_waits_is_named_too(desk: Desk) -> None:
    output_of(*PAUSE)
    stderr = run("orders", "list", "--attention").stderr
    assert "alpha is paused (accept import ship by ops since" in stderr
    assert "Waiting: no call." in stderr


def test_a_shop_that_the_configuration_switches_off_is_named_if_calls_wait(desk: Desk) -> None:
    assert "beta" not in run("orders", "list", "--attention").stderr, "beta is off, and has no order"


def test_a_shop_whose_key_belongs_to_another_shop_is_named(desk: Desk) -> None:
    with desk.store.transaction() as tx:
        shop_rows.set_switches(tx, "alpha", paused={"accept", "import", "ship", shop_rows.WRONG_ACCOUNT})
    assert "alpha is paused (its key belongs to another shop). Waiting: no call." in (
        run("orders", "list", "--attention").stderr
    )


def test_an_order_that_needs_nobody_is_shown_without_empty_rows(desk: Desk) -> None:
    desk.shows("SHIPPED")
    names = [line.split("  ")[0] for line in output_of("orders", "show", "O-1").splitlines()]
    assert "state" in names
    assert {"do", "needs you since"}.isdisjoint(names)


def test_an_order_that_needs_a_person_says_since_when_in_show(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.work(Rejected("POST /order", "400", status=400))
    names = [line.split("  ")[0] for line in output_of("orders", "show", "O-1").splitlines()]
    assert {"do", "needs you since"} <= {*names}
