"""`orderflow status`: what goes on now, and what stands still."""

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from adapters.engines.processes import free_port
from adapters.store import cursors, leases
from adapters.store import shops as shop_rows
from adapters.store.cursors import Cursor
from adapters.store.shops import WRONG_ACCOUNT
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_ANSWER, BAD_USE
from consumer.hooks import BEAT_SECONDS
from consumer.leases import poll_lease
from consumer.metrics.recorder import Recorder
from consumer.operations.process import asked
from consumer.service import Beats
from consumer.web.app import application, watch_routes
from consumer.web.server import WebServer
from tests.consumer.cli.runner import add_dead_letter
from tests.consumer.operations.desk import Desk
from tests.support import LONG


@pytest.fixture
def going(desk: Desk) -> Desk:
    """A service in which nothing stands still: both shops were polled now, under a lease."""
    port = free_port()
    file = Path("orderflow.toml")
    file.write_text(f"{file.read_text()}[web]\nport = {port}\n")
    goes_on(desk)
    return desk


def goes_on(desk: Desk) -> None:
    """Both shops are polled now, by pod-1, which holds their leases."""
    now = desk.clock.now()
    with desk.store.transaction() as tx:
        for shop in ("alpha", "beta"):
            taken = leases.take(tx, poll_lease(shop), "pod-1", now + timedelta(seconds=30), now)
            assert taken is not None
            cursors.save(tx, shop, Cursor(now, now, now), taken)


def run(desk: Desk, *arguments: str) -> Result:
    """Run the command at the time of the desk."""
    environment = Environment(desk.clock, "ops")
    return CliRunner().invoke(app, ["status", *arguments], obj=environment, catch_exceptions=False)


def found(desk: Desk, code: int = 0) -> Any:
    result = run(desk, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_where_everything_goes_on_nothing_stands_still(going: Desk) -> None:
    status = found(going)
    assert status["still"] == []
    alpha, beta = status["shops"]
    assert (alpha["name"], alpha["effects"], alpha["poller"]) == ("alpha", True, "pod-1")
    assert beta["effects"] is False
    assert status["process"] is None


def test_orders_calls_and_attention_are_shown_by_shop(going: Desk) -> None:
    going.shows("SHIPPING")
    add_dead_letter(going, b"{")
    text = run(going).stdout
    assert "alpha  https://alpha.mirakl.net shop 2104, effects on" in text
    assert "  polled      0 min ago, by pod-1" in text
    assert "  orders      shipping 1 (oldest 0 min)" in text
    assert "  calls       import_order 1 (1 due, 0 tried, oldest 0 min)" in text
    assert "dead letters  bad_json 1 (oms.order-events)" in text
    assert "leases        poll/alpha pod-1, poll/beta pod-1" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_shop_that_was_never_polled_stands_still(desk: Desk) -> None:
    still = found(desk, BAD_ANSWER)["still"]
    assert "alpha: never polled" in still
    assert "alpha: no process polls it" in still


def test_a_shop_whose_polls_fail_stands_still(going: Desk) -> None:
    going.clock.advance(601)
    with going.store.transaction() as tx:
        now = going.clock.now()
        for shop in ("alpha", "beta"):
            leases.take(tx, poll_lease(shop), "pod-1", now + timedelta(seconds=30), now)
    assert found(going, BAD_ANSWER)["still"] == [
        f"{shop}: no poll has succeeded for 10 min" for shop in ("alpha", "beta")
    ]


def test_a_shop_whose_lease_has_ended_stands_still(going: Desk) -> None:
    going.clock.advance(31)
    assert "alpha: no process polls it" in found(going, BAD_ANSWER)["still"]


def test_a_call_that_nobody_makes_stands_still_but_not_one_that_is_off(going: Desk) -> None:
    going.shows("SHIPPING")
    going.clock.advance(16 * 60)
    goes_on(going)
    assert found(going, BAD_ANSWER)["still"] == ["alpha: import_order has been due for 16 min"]
    with going.store.transaction() as tx:
        shop_rows.set_switches(tx, "alpha", paused={"import"})
    assert found(going)["still"] == []


def test_a_shop_with_the_key_of_another_stands_still(going: Desk) -> None:
    with going.store.transaction() as tx:
        shop_rows.set_switches(tx, "alpha", paused={WRONG_ACCOUNT})
    assert "another shop" in found(going, BAD_ANSWER)["still"][0]


def test_the_status_says_who_paused_a_shop_and_why(going: Desk) -> None:
    paused = ["shops", "pause", "alpha", "--only", "import", "--reason", "the OMS is moved", "--yes"]
    CliRunner().invoke(app, paused, obj=Environment(going.clock, "ops"), catch_exceptions=False)
    assert "  paused      import by ops since 2026-03-01 12:00 UTC: the OMS is moved" in run(going).stdout
    assert '  paused      every effect: effects = "off" in the configuration' in run(going).stdout
    assert [one["why"] for one in found(going)["shops"][0]["pauses"]] == ["the OMS is moved"]


def test_open_orders_of_a_shop_that_left_the_configuration_stand_still(going: Desk) -> None:
    going.shows("SHIPPING")
    file = Path("orderflow.toml")
    text = file.read_text()
    begin = text.index("[shops.alpha]")
    file.write_text(text[:begin] + text[text.index("[shops.beta]") :])
    assert found(going, BAD_ANSWER)["still"] == ["alpha: is not in the configuration, and 1 order of it is open"]


def test_without_a_store_the_command_ends_with_2(desk: Desk) -> None:
    desk.store.close()
    Path("orderflow.db").unlink()
    assert run(desk).exit_code == BAD_USE


# -- The process of this machine ---------------------------------------------------------------------------------


def test_the_loops_of_the_process_on_this_machine_are_shown(going: Desk) -> None:
    recorder = Recorder({"alpha": 60, "beta": 60}, "1", going.clock)
    beats = Beats(going.clock)
    recorder.watch_loops(beats.oldest)
    for loop, number in (("consumer", ""), ("worker", "0"), ("worker", "1")):
        beats.loop_turned(loop, number)
    routes = watch_routes(registry=recorder.registry, what_is_stuck=lambda: "", what_is_not_ready=lambda: "")
    port = int(Path("orderflow.toml").read_text().rpartition("port = ")[2])
    server = WebServer("web", application(routes), "127.0.0.1", port)
    server.listen()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert found(going)["process"]["beats"].keys() == {"consumer", "worker"}
        going.clock.advance(BEAT_SECONDS + 1)
        beats.loop_turned("consumer")
        beats.loop_turned("worker", "0")  # the other thread is stuck
        goes_on(going)
        still = found(going, BAD_ANSWER)["still"]
    finally:
        server.stop()
        thread.join(LONG)
    assert still == [f"a thread of the loop worker of this machine has had no turn for {BEAT_SECONDS + 1} s"]


def test_another_program_at_the_port_is_no_process_of_ours() -> None:
    assert asked("127.0.0.1", free_port()) is None
