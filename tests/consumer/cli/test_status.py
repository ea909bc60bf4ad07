"""`orderflow status`: what goes on now, and what stands still."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from adapters.engines.processes import free_port
from adapters.store import backlog, cursors, leases
from adapters.store import shops as shop_rows
from adapters.store.cursors import Cursor
from adapters.store.shops import WRONG_ACCOUNT
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_ANSWER, BAD_USE
from consumer.hooks import BEAT_SECONDS, CallbackResult
from consumer.leases import poll_lease
from consumer.metrics.recorder import Recorder
from consumer.operations.process import Process, asked
from consumer.operations.standstill import near_deadlines
from consumer.service import Beats
from consumer.web.app import application, watch_routes
from consumer.web.server import WebServer
from statemachine.events import Trigger
from statemachine.facts import Decision, DecisionKind, Facts
from tests.consumer.cli.runner import add_dead_letter
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import event
from tests.support import serving


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


def test_each_line_of_what_stands_still_begins_with_a_word_that_everybody_knows(desk: Desk) -> None:
    text = run(desk).stdout
    assert text.startswith("PROBLEM  alpha: never polled\n")


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


def accepted_by_a_person(desk: Desk, hours: float) -> None:
    """An order that a person accepted, and for whose answer Mirakl waits so many hours from now."""
    desk.shows("WAITING_ACCEPTANCE", accept_by=desk.clock.now() + timedelta(hours=hours))
    decision = Decision(desk.clock.now(), DecisionKind.ACCEPT, "ana", "checked")
    desk.apply(event(Trigger.DECISION, "accept", Facts(decisions=(decision,))))


def test_an_order_that_expires_behind_a_pause_stands_still(going: Desk) -> None:
    accepted_by_a_person(going, hours=3)
    assert found(going)["still"] == []
    paused = ["shops", "pause", "alpha", "--only", "accept", "--reason", "a holiday", "--yes"]
    CliRunner().invoke(app, paused, obj=Environment(going.clock, "ops"), catch_exceptions=False)
    assert found(going, BAD_ANSWER)["still"] == [
        "alpha: accept_order is not made, and the deadline at Mirakl is nearer than 4 h for 1 order (the first: "
        "2026-03-01 15:00 UTC): paused, accept by ops since 2026-03-01 12:00 UTC: a holiday"
    ]
    going.clock.advance(3 * 3600)
    goes_on(going)
    assert "for 1 order, 1 already over (the first" in found(going, BAD_ANSWER)["still"][0]


def test_an_order_that_expires_later_does_not(going: Desk) -> None:
    accepted_by_a_person(going, hours=5)
    with going.store.transaction() as tx:
        shop_rows.set_switches(tx, "alpha", paused={"accept"})
    assert found(going)["still"] == []


def test_an_order_that_expires_behind_an_account_that_rests_stands_still(going: Desk) -> None:
    accepted_by_a_person(going, hours=3)
    (alpha, _), now = shop_rows.list_all(going.store), going.clock.now()
    calls = backlog.backlogs(going.store, now)
    assert list(near_deadlines(alpha, calls, [], Process(resting=(("oms", "alpha", "paused"),)), now)) == []
    rests = Process(resting=(("mirakl", "alpha", "paused"),))
    (still,) = near_deadlines(alpha, calls, [], rests, now)
    assert still.endswith("(the first: 2026-03-01 15:00 UTC): the account at mirakl rests, paused")


def test_an_order_that_expires_while_no_worker_runs_stands_still(going: Desk) -> None:
    accepted_by_a_person(going, hours=3)
    going.clock.advance(6 * 60)
    goes_on(going)
    assert found(going, BAD_ANSWER)["still"][0].endswith("no worker has made it for 6 min")


def test_without_a_store_the_command_ends_with_2(desk: Desk) -> None:
    desk.store.close()
    Path("orderflow.db").unlink()
    assert run(desk).exit_code == BAD_USE


# -- The process of this machine ---------------------------------------------------------------------------------


@contextmanager
def process(desk: Desk) -> Iterator[Recorder]:
    """The process of this machine, which answers at the port of [web]. Yields what counts in it."""
    recorder = Recorder({"alpha": 60, "beta": 60}, "1", desk.clock)
    routes = watch_routes(registry=recorder.registry, what_is_stuck=lambda: "", what_is_not_ready=lambda: "")
    port = int(Path("orderflow.toml").read_text().rpartition("port = ")[2])
    server = WebServer("web", application(routes), "127.0.0.1", port)
    with serving(server):
        yield recorder


def test_the_loops_of_the_process_on_this_machine_are_shown(going: Desk) -> None:
    with process(going) as recorder:
        beats = Beats(going.clock)
        recorder.watch_loops(beats.oldest)
        for loop, number in (("consumer", ""), ("worker", "0"), ("worker", "1")):
            beats.loop_turned(loop, number)
        assert found(going)["process"]["beats"].keys() == {"consumer", "worker"}
        going.clock.advance(BEAT_SECONDS + 1)
        beats.loop_turned("consumer")
        beats.loop_turned("worker", "0")  # the other thread is stuck
        goes_on(going)
        still = found(going, BAD_ANSWER)["still"]
    assert still == [f"a thread of the loop worker of this machine has had no turn for {BEAT_SECONDS + 1} s"]


def test_where_no_process_answers_the_way_to_another_one_is_named(going: Desk) -> None:
    """Each process of a machine has a port of its own, and a person who is called looks for one of them."""
    port = Path("orderflow.toml").read_text().rpartition("port = ")[2].strip()
    assert f"no orderflow answers at 127.0.0.1:{port}; ORDERFLOW_WEB__PORT names" in run(going).stdout


@pytest.mark.parametrize("answer", [CallbackResult.NOT_AUTHENTIC, CallbackResult.UNVERIFIABLE])
def test_callbacks_that_are_refused_stand_still_until_one_is_taken(going: Desk, answer: CallbackResult) -> None:
    with process(going) as recorder:
        recorder.callback_answered("alpha", CallbackResult.TAKEN)
        going.clock.advance(60)
        goes_on(going)
        recorder.callback_answered("alpha", answer)
        (still,) = found(going, BAD_ANSWER)["still"]
        going.clock.advance(1)
        recorder.callback_answered("alpha", CallbackResult.TAKEN)
        goes_on(going)
        assert found(going)["still"] == []
    assert still.startswith(f"alpha: callbacks are refused ({answer}: ")
    assert "the last one was taken at 2026-03-01 12:00 UTC" in still


def test_a_callback_that_was_refused_long_ago_says_nothing_of_now(going: Desk) -> None:
    with process(going) as recorder:
        recorder.callback_answered("alpha", CallbackResult.NOT_AUTHENTIC)
        assert "and none was taken by the process" in found(going, BAD_ANSWER)["still"][0]
        going.clock.advance(10 * 3600 + 1)
        goes_on(going)
        assert found(going)["still"] == []


def test_another_program_at_the_port_is_no_process_of_ours() -> None:
    assert asked("127.0.0.1", free_port()) is None
