"""Reads that a call needs and that fail: the customer's messages before an import, the carriers before a tracking."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders
from statemachine.commands import Policy
from statemachine.facts import DecisionKind
from tests.consumer.calling.test_call_faults import details, dispatched, refusing
from tests.consumer.rig import ALPHA_MIRAKL, Rig

# -- Messages that cannot be read ---------------------------------------------------------------------------------


def written_to(rig: Rig) -> None:
    """An order whose customer wrote, while Mirakl refuses to show messages."""
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "<p>Happy 40th</p>")
    rig.nets["alpha"].hook = refusing(403, "threads", code=None)
    rig.poll()
    rig.work()


def released(rig: Rig) -> None:
    act = orders.Act(DecisionKind.RELEASE, "ana", "read in the portal", rig.clock.now())
    orders.decide(rig.store, rig.orders, rig.row(), act, shops=["alpha"])


def test_messages_that_cannot_be_read_hold_the_import_for_an_hour_then_a_person_decides(rig: Rig) -> None:
    written_to(rig)
    assert details(rig) == ["import_order#0 M11 403"], "told from the start"
    rig.pass_time(minutes=55)
    assert rig.attention() == ["retrying"]
    rig.pass_time(minutes=10)
    assert "messages_not_read" in rig.attention()
    assert rig.state() == "shipping"
    released(rig)
    rig.pass_time(minutes=2)
    assert rig.state() == "imported"
    assert b"Happy" not in rig.oms_net.bodies[-1]
    assert rig.attention() == ["messages_not_found"]


def test_mirakl_s_wish_to_be_called_later_is_told_only_if_it_lasts(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "<p>Happy 40th</p>")
    rig.poll()
    rig.nets["alpha"].hook = refusing(429, "threads", code=None)
    rig.work()
    assert (rig.results[-1][0], rig.attention()) == ("import_order", [])
    rig.pass_time(minutes=15)
    assert details(rig) == ["import_order#0 M11 429"]
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=30)
    assert (rig.state(), rig.attention()) == ("imported", [])


def test_a_release_takes_the_messages_along_if_they_can_be_read_by_then(rig: Rig) -> None:
    written_to(rig)
    rig.pass_time(minutes=65)
    rig.nets["alpha"].hook = lambda _request: None
    released(rig)
    rig.pass_time(minutes=2)
    assert b"Happy 40th" in rig.oms_net.bodies[-1]
    assert rig.attention() == []


def test_a_shop_imports_without_messages_if_it_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path, policies={"alpha": Policy(without_messages="import")})
    written_to(rig)
    rig.pass_time(minutes=55)
    assert rig.state() == "shipping"
    rig.pass_time(minutes=10)
    assert rig.state() == "imported"
    assert rig.attention() == ["messages_not_found"]


def test_messages_that_come_in_time_are_imported(rig: Rig) -> None:
    written_to(rig)
    rig.pass_time(minutes=5)
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=2)
    assert b"Happy 40th" in rig.oms_net.bodies[-1]
    assert rig.attention() == []


def test_a_customer_who_wrote_and_messages_that_nobody_finds_hold_the_import_too(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    changes.set_fields(rig.mirakl["alpha"], "1-A", has_customer_message=True)
    rig.poll()
    rig.work()
    assert details(rig) == ["import_order#0 M11 NO_MESSAGE"]
    rig.pass_time(minutes=80)
    assert "messages_not_read" in rig.attention()
    assert rig.state() == "shipping"


def reads_of_messages(rig: Rig) -> list[httpx.Request]:
    """Every read of messages from now on, while Mirakl refuses to show them."""
    seen: list[httpx.Request] = []
    refuse = refusing(403, "threads", code=None)

    def hook(request: httpx.Request) -> httpx.Response | None:
        if "threads" in request.url.path:
            seen.append(request)
        return refuse(request)

    rig.nets["alpha"].hook = hook
    return seen


def test_messages_that_can_be_read_again_end_the_wait_by_themselves(rig: Rig) -> None:
    written_to(rig)
    rig.pass_time(hours=3)
    assert "messages_not_read" in rig.attention()
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=16)
    assert rig.state() == "imported"
    assert b"Happy 40th" in rig.oms_net.bodies[-1]
    assert rig.attention() == []


def test_messages_that_nobody_may_read_are_read_at_a_slow_pace(rig: Rig) -> None:
    written_to(rig)
    rig.pass_time(minutes=65)
    seen = reads_of_messages(rig)
    rig.pass_time(hours=2)
    assert 7 <= len(seen) <= 9


def test_an_order_whose_messages_cannot_be_read_is_tried_at_once_if_a_person_asks(rig: Rig) -> None:
    """The attention reason `retrying` names this cure."""
    written_to(rig)
    rig.pass_time(minutes=65)
    rig.nets["alpha"].hook = lambda _request: None
    act = orders.Act(DecisionKind.RETRY, "ana", "the key has the right now", rig.clock.now())
    orders.decide(rig.store, rig.orders, rig.row(), act, shops=["alpha"])
    rig.work(seconds=1)
    assert b"Happy 40th" in rig.oms_net.bodies[-1]


@pytest.mark.parametrize("policy", ["hold", "import"])
def test_a_failure_of_messages_that_is_long_over_decides_nothing(tmp_path: Path, policy: str) -> None:
    """Messages are read at the second try. The OMS fails for more than an hour."""
    rig = Rig(tmp_path, policies={"alpha": Policy(without_messages=policy)})
    rig.oms_net.hook = refusing(500)
    written_to(rig)
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=90)
    assert rig.attention() == ["retrying"]
    assert details(rig) == ["import_order#0 POST /order 500"]
    again = orders.Act(DecisionKind.RETRY, "ana", "the OMS works", rig.clock.now())
    orders.decide(rig.store, rig.orders, rig.row(), again, shops=["alpha"])
    rig.oms_net.hook = lambda _request: None
    rig.work()
    assert b"Happy 40th" in rig.oms_net.bodies[-1]
    assert rig.attention() == []


def test_messages_that_fail_again_are_waited_for_again(tmp_path: Path) -> None:
    """The first failure is over, because Mirakl showed the messages since. The OMS was never asked: it refused the
    connection."""
    rig = Rig(tmp_path, policies={"alpha": Policy(without_messages="import")})
    rig.oms_net.hook = unreachable
    written_to(rig)
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=70)
    rig.nets["alpha"].hook = refusing(500, "threads")
    rig.oms_net.hook = lambda _request: None
    rig.pass_time(minutes=50)
    assert rig.state() == "shipping", "the new wait is not over"
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=16)
    assert b"Happy 40th" in rig.oms_net.bodies[-1]


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def test_a_release_covers_the_failure_of_its_time_only(rig: Rig) -> None:
    """The OMS refused what the release let go. When the import is opened again, messages can be read, and then not."""
    rig.oms_net.hook = unreachable
    written_to(rig)
    rig.pass_time(minutes=65)
    rig.nets["alpha"].hook = lambda _request: None
    released(rig)
    rig.pass_time(minutes=20)
    rig.nets["alpha"].hook = refusing(500, "threads")
    rig.oms_net.hook = lambda _request: None
    rig.pass_time(minutes=90)
    assert rig.state() == "shipping"
    assert "messages_not_read" in rig.attention()
    released(rig)
    rig.pass_time(minutes=2)
    assert rig.state() == "imported"


def test_messages_that_mirakl_does_not_name_any_more_are_not_waited_for(rig: Rig) -> None:
    written_to(rig)
    rig.pass_time(minutes=65)
    changes.set_fields(rig.mirakl["alpha"], "1-A", has_customer_message=False)
    rig.pass_time(minutes=16)
    assert rig.state() == "imported"
    assert rig.attention() == []


# -- Carriers that cannot be read ---------------------------------------------------------------------------------


def without_free_text(rig: Rig) -> None:
    simulator = rig.mirakl["alpha"]
    simulator.marketplace = replace(simulator.marketplace, alternative_carriers=False)


def test_carriers_that_cannot_be_read_for_a_moment_cost_no_tracking(rig: Rig) -> None:
    without_free_text(rig)
    rig.imported()
    rig.nets["alpha"].hook = refusing(500, "/shipping/carriers")
    dispatched(rig, "T1", "DPD UK")
    rig.pass_time(minutes=1)
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=25)
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert rig.attention() == []


def test_carriers_that_nobody_may_read_are_told_and_the_order_is_shipped(rig: Rig) -> None:
    without_free_text(rig)
    rig.imported()
    rig.nets["alpha"].hook = refusing(403, "/shipping/carriers", code=None)
    dispatched(rig, "T1", "DPD UK")
    rig.pass_time(minutes=20)
    assert details(rig) == ["send_tracking#0 SH21 NOT_READ"]
    rig.pass_time(minutes=45)
    assert rig.effects() == ["imported", "shipped"]
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=30)
    assert rig.effects() == ["imported", "shipped", "tracking"]
    assert rig.attention() == []
    assert not rig.worker.accounts.by_key[ALPHA_MIRAKL].circuit_is_open()
