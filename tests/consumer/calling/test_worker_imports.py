"""Imports into the OMS by the worker, and the messages that an import carries. Rule N is docs/rules.md N."""

import json
import sqlite3
from pathlib import Path

import httpx
import pytest

from consumer.calling.circuit import CIRCUIT_OPENS_AFTER
from statemachine.facts import Attempt
from tests.consumer.rig import ALPHA_MIRAKL, ALPHA_OMS, Rig

pytestmark = pytest.mark.usefixtures("lines")


def test_rule_20_payload_and_attempt_are_stored_before_the_first_post(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    found = []

    def look(request: httpx.Request) -> None:
        command = rig.command()
        found.append((command.payload == request.content, command.maybe_sent, rig.row().facts.attempts))

    rig.oms_net.hook = look
    rig.work()
    assert found == [(True, True, (Attempt("import_order", ""),))]
    assert rig.state() == "imported"
    assert rig.effects() == ["imported"]
    (part,) = rig.row().facts.parts
    assert part.lines == ("1-A-1",)
    assert part.oms_id > 0


def test_a_payload_is_made_again_until_a_try_may_have_arrived_and_stays_the_same_from_then_on(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=3)
    rig.poll()

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    rig.oms_net.hook = refuse
    rig.work()
    assert rig.command().last_outcome == "retry"
    assert not rig.command().maybe_sent
    rig.mirakl["alpha"].cancel_line("1-A", "1-A-2")
    rig.poll()
    rig.oms_net.hook = lambda _request: None
    rig.fail("order", "timeout_before")
    rig.work(seconds=60)
    assert rig.command().last_outcome == "unknown"
    rig.mirakl["alpha"].cancel_line("1-A", "1-A-3")
    rig.poll()
    rig.work(seconds=60)
    refs = [[item["external_ref"] for item in json.loads(body)["items"]] for body in rig.oms_net.bodies]
    assert refs == [["1-A-1", "1-A-2", "1-A-3"], ["1-A-1", "1-A-3"], ["1-A-1", "1-A-3"]]
    assert rig.oms_net.bodies[1] == rig.oms_net.bodies[2]
    assert len(rig.commands()) == 1
    assert rig.effects() == ["imported"]
    assert rig.attention() == ["lines_canceled_after_import"], "the payload of the first try had the line"


def test_a_payload_stays_the_same_after_an_unknown_outcome_and_a_certain_failure(rig: Rig) -> None:
    """The answer to the first try was lost. If the second try finds no connection, the first may still have arrived."""
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.fail("order", "timeout_after")
    rig.work()

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    rig.oms_net.hook = refuse
    rig.work(seconds=10)
    assert rig.command().last_outcome == "retry"
    assert rig.command().maybe_sent
    rig.oms_net.hook = lambda _request: None
    rig.work(seconds=60)
    assert rig.results[-1] == ("import_order", "already_done")
    assert rig.state() == "imported"


def test_a_duplicate_after_an_unknown_outcome_is_our_own_import(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.fail("order", "timeout_after")
    rig.work()
    assert rig.state() == "shipping"
    rig.work(seconds=5)
    assert rig.state() == "imported"
    assert rig.attention() == []
    assert [result for _, result in rig.results] == ["unknown", "already_done"]
    assert rig.effects() == ["imported"]


def test_a_duplicate_on_a_first_try_is_an_order_that_is_not_ours(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Rig(tmp_path / "other")
    for one in (rig, other):
        one.add("1-A", state="SHIPPING")
    other.poll()
    other.work()
    assert rig.oms_net.bodies == []
    posted = httpx.Client(transport=rig.oms_net, base_url="https://oms.example")
    posted.post("/order", content=other.oms_net.bodies[0], headers=other_headers())
    rig.poll()
    rig.work()
    assert rig.state() == "shipping"
    assert rig.attention() == ["already_in_oms"]
    assert rig.work(seconds=100_000) == 0
    assert rig.command().state == "rejected"


def other_headers() -> httpx.Headers:
    request = httpx.Request("GET", "https://oms.example")
    auth = next(httpx.BasicAuth("99001", "oms-key").auth_flow(request))
    return httpx.Headers({"Authorization": auth.headers["Authorization"], "Content-Type": "application/json"})


@pytest.mark.parametrize("status", [404, 400, 500])
def test_an_import_waits_until_the_messages_are_read(rig: Rig, status: int) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "<p>Happy 40th &amp; cheers</p>")
    rig.poll()
    rig.nets["alpha"].hook = lambda request: httpx.Response(status) if "threads" in request.url.path else None
    rig.work()
    assert rig.results == [("import_order", "retry")]
    assert rig.oms.requests["order"] == 0
    assert rig.command().state == "open"
    assert rig.attention() == ["retrying"], "told from the start"
    rig.nets["alpha"].hook = lambda _request: None
    rig.work(seconds=5)
    attributes = {one["name"]: one["value"] for one in json.loads(rig.oms_net.bodies[0])["attributes"]}
    assert attributes[":MiraklOrderMessage"] == "About my order\n\nHappy 40th & cheers"
    assert rig.state() == "imported"


def refuse_messages(rig: Rig, status: int) -> list[str]:
    """Let Mirakl answer every M11 of alpha with this status. The list grows with the path of each such request."""
    asked: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if "threads" not in request.url.path:
            return None
        asked.append(request.url.path)
        return httpx.Response(status)

    rig.nets["alpha"].hook = refuse
    return asked


def test_a_401_for_messages_pauses_the_account_at_mirakl_and_not_the_one_at_the_oms(rig: Rig) -> None:
    for number in range(3):
        rig.add(f"{number}-A", state="SHIPPING")
    for number in range(2):
        rig.mirakl["alpha"].post_message(f"{number}-A", "Hello")
    rig.poll()
    asked = refuse_messages(rig, 401)
    rig.work()
    assert len(asked) == 1, "a paused account is not asked again"
    assert rig.worker.accounts.by_key[ALPHA_MIRAKL].is_paused(rig.clock.now())
    assert not rig.worker.accounts.by_key[ALPHA_OMS].is_paused(rig.clock.now())
    assert [rig.state(f"{number}-A") for number in range(3)] == ["shipping", "shipping", "imported"]
    rig.nets["alpha"].hook = lambda _request: None
    rig.work(seconds=61)
    assert [rig.state(f"{number}-A") for number in range(3)] == ["imported"] * 3
    assert {rig.command(f"{number}-A").attempts for number in range(3)} == {1}


def test_a_403_for_messages_stops_no_order_that_does_not_need_them(rig: Rig) -> None:
    """The key has no right to M11. Six orders without messages are still accepted or imported (docs/mirakl.md 2.3)."""
    for number in range(2):
        rig.add(f"{number}-A", state="SHIPPING")
        rig.mirakl["alpha"].post_message(f"{number}-A", "Hello")
    for number in range(2, 5):
        rig.add(f"{number}-A")
    for number in range(5, 8):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.poll()
    asked = refuse_messages(rig, 403)
    rig.work()
    assert len(asked) == 1, "a paused operation is not asked again"
    assert [rig.effects(f"{number}-A") for number in range(2, 8)] == [["accepted"]] * 3 + [["imported"]] * 3
    assert not rig.worker.accounts.by_key[ALPHA_MIRAKL].is_paused(rig.clock.now())
    rig.work(seconds=61)
    assert len(asked) == 2, "it is asked once in each pause"
    rig.nets["alpha"].hook = lambda _request: None
    rig.work(seconds=61)
    assert [rig.state(f"{number}-A") for number in range(2)] == ["imported"] * 2


def test_a_403_of_one_call_pauses_that_call_only(rig: Rig) -> None:
    for number in range(3):
        rig.imported(f"{number}-A")
        rig.oms.dispatch(f"{number}-A", tracking=f"T{number}", carrier="Yodel")
    rig.consume()
    rig.nets["alpha"].hook = lambda request: httpx.Response(403) if request.url.path.endswith("/tracking") else None
    rig.add("7-A")
    rig.poll()
    rig.work()
    assert rig.results.count(("send_tracking", "account_fault")) == 1
    assert rig.effects("7-A") == ["accepted"]
    rig.nets["alpha"].hook = lambda _request: None
    rig.work(seconds=61)
    assert all("shipped" in rig.effects(f"{number}-A") for number in range(3))


@pytest.mark.parametrize("status", [404, 500])
def test_messages_that_cannot_be_read_stop_no_other_call_of_the_account(rig: Rig, status: int) -> None:
    """A fault belongs to the account and the operation: acceptances go on."""
    rig.add("0-B")
    for number in range(CIRCUIT_OPENS_AFTER + 1):
        rig.add(f"{number}-A", state="SHIPPING")
        rig.mirakl["alpha"].post_message(f"{number}-A", "Hello")
    rig.poll()
    rig.nets["alpha"].hook = lambda request: httpx.Response(status) if "threads" in request.url.path else None
    rig.work()
    circuits = [one for account in rig.worker.accounts.by_key.values() for one in account.circuits.items()]
    assert [operation for operation, circuit in circuits if circuit.is_open()] == ["M11"]
    assert not any(account.is_paused(rig.clock.now()) for account in rig.worker.accounts.by_key.values())
    assert rig.state("0-B") == "accepted"


def test_an_order_that_the_oms_stored_with_an_error_needs_attention(rig: Rig) -> None:
    rig.oms.knobs.skus_with_error = frozenset({"MUG-11OZ-WHT"})
    rig.imported()
    assert rig.attention() == ["held_in_oms"]


def test_an_order_without_a_sku_is_not_sent_and_the_rejection_names_the_field(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", sku="")
    rig.poll()
    rig.work()
    (rejection,) = rig.row().facts.rejections
    assert rejection.code == "INCOMPLETE"
    assert rejection.words == "missing: order_lines[0].offer_sku"
    assert rig.attention() == ["import_rejected"]
    assert rig.command().state == "rejected"
    assert rig.oms.requests["order"] == 0


def test_an_order_with_an_unreadable_number_is_rejected_and_the_others_go_on(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.add("2-A", state="SHIPPING")
    listing = rig.mirakl["alpha"].listing
    absurd = listing.body("1-A").replace(b'"price_unit":12.0', b'"price_unit":1e99999999999999999999')
    listing.set_body("1-A", absurd)
    rig.poll()
    rig.work()
    assert rig.attention("1-A") == ["import_rejected"]
    assert rig.command("1-A").state == "rejected"
    assert rig.row("1-A").facts.rejections[0].code == "UNREADABLE"
    assert rig.state("2-A") == "imported"


def test_an_import_without_the_received_order_is_rejected_and_says_why(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    with sqlite3.connect(rig.path) as connection:
        connection.execute("DELETE FROM snapshots")
    connection.close()
    rig.work()
    assert rig.row().facts.rejections[0].words == "missing: the order as received"
