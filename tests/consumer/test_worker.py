"""The worker against the simulators: calls, their failures, leases, accounts. Rule N is docs/rules.md N."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from adapters.errors import ConfigError, Duplicate, OutcomeUnknown, Rejected, Retryable
from adapters.simulators.orders import MARKETPLACES
from adapters.store.commands import LEASE
from consumer.circuit import CIRCUIT_OPENS_AFTER, CIRCUIT_PAUSE_SECONDS
from consumer.last_looks import LeaseLost
from consumer.operations import orders
from statemachine.commands import Policy
from statemachine.facts import Attempt, DecisionKind, Tracking
from tests.consumer.rig import ALPHA_MIRAKL, ALPHA_OMS, GRACE, Rig, mandatory

#: Parts of the simulators' error texts, and the name that all their invented people have.
WORDS = ("canary", "unauthorized", "rate limit", "already exists", "not in the expected", "gateway", "mandatory for")


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[dict[str, object]]]:
    """Every log line of the test. None may hold words of a remote or personal data."""
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]
    text = json.dumps(captured, default=str).lower()
    assert [word for word in WORDS if word in text] == []


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Rig:
    return Rig(tmp_path, shops=("alpha", "beta"))


# -- Acceptance ---------------------------------------------------------------------------------------------------


def test_an_acceptance_leaves_facts_a_journal_and_a_command_that_is_done(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    assert rig.state() == "waiting_acceptance"
    assert rig.command().state == "open"
    assert rig.worker.turn()
    assert not rig.worker.turn()
    facts, command = rig.row().facts, rig.command()
    (answer,) = facts.answers
    assert facts.attempts == (Attempt("accept_order", "accept"),)
    assert answer.kind == "accept_order"
    assert answer.at == rig.clock.now()
    assert answer.proof_after == rig.clock.now() + GRACE
    assert rig.state() == "accepted"
    assert command.state == "done"
    assert command.last_outcome == "done"
    assert command.lease_token is None
    _, claimed, result = rig.journal()
    assert [entry.event.source for entry in (claimed, result)] == ["/orderflow/worker"] * 2
    assert [entry.event.event_id.split(":")[::2] for entry in (claimed, result)] == [["1", "claimed"], ["1", "result"]]
    assert result.before == "waiting_acceptance"
    assert result.after == "accepted"
    assert result.event.note["result"] == "done"
    assert rig.effects() == ["accepted"]
    rig.poll()
    assert rig.state() == "awaiting_payment"


def test_rule_19_a_call_whose_answer_was_lost_is_repeated_and_a_400_waits_for_the_next_read(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "timeout_after")
    rig.work()
    command = rig.command()
    assert command.state == "open"
    assert command.last_outcome == "unknown"
    assert command.maybe_sent
    assert command.attempts == 1
    assert command.next_at == rig.clock.now() + timedelta(seconds=5)
    assert rig.state() == "waiting_acceptance"
    assert rig.row().facts.answers == ()
    assert rig.work(seconds=5) == 1
    assert rig.mirakl["alpha"].requests["OR21"] == 2
    assert rig.command().state == "rejected"
    assert rig.attention() == []
    assert rig.row().read_after == rig.clock.now(), "the next read shows what happened"
    rig.poll()
    assert rig.state() == "awaiting_payment"
    assert rig.attention() == []
    assert rig.work() == 0
    assert rig.effects() == ["accepted"]


def test_rule_16_a_204_that_was_not_applied_is_tried_again_after_the_grace_and_a_read(rig: Rig) -> None:
    """Also docs/rules.md 17: the read that disproves the answer shows an order that has not changed."""
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "204_not_applied")
    rig.work()
    rig.poll(GRACE.total_seconds())
    assert rig.state() == "accepted", "the read began within the grace"
    assert rig.work() == 0, "the read began within the grace"
    rig.poll(1)
    assert rig.state() == "waiting_acceptance"
    assert rig.command().round == 1
    rig.work()
    rig.poll()
    assert rig.state() == "awaiting_payment"
    assert rig.effects() == ["accepted"]


def test_rule_13_a_command_that_is_no_longer_needed_is_not_claimed(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.mirakl["alpha"].cancel("1-A")
    rig.poll()
    assert rig.worker.claim() is None
    assert rig.command().state == "obsolete"
    assert rig.state() == "canceled"
    assert rig.mirakl["alpha"].requests["OR21"] == 0


def test_rule_13_a_command_whose_lease_ran_out_is_not_called_while_it_is_not_needed(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    assert rig.worker.claim() is not None  # the worker dies
    rig.policies["alpha"] = Policy("hold")
    rig.orders.replan([("alpha", "1-A")])
    rig.clock.advance(LEASE.total_seconds() + 1)
    assert rig.worker.claim() is None
    assert rig.command().state == "obsolete"
    rig.policies["alpha"] = Policy("all")
    rig.orders.replan([("alpha", "1-A")])
    rig.work()
    assert rig.effects() == ["accepted"]


def test_rules_18_and_21_a_leased_command_that_became_obsolete_is_not_sent(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    claim = rig.worker.claim()
    assert claim is not None
    rig.mirakl["alpha"].cancel("1-A")
    rig.poll()
    assert rig.command().state == "leased", "docs/rules.md 12: it stays with its holder"
    assert rig.command().unwanted
    with pytest.raises(LeaseLost):
        rig.worker.call(claim)
    rig.worker.not_called(claim)
    assert rig.command().state == "obsolete"
    assert rig.oms.requests["order"] == 0
    assert rig.attention() == ["canceled_after_import"], "docs/rules.md 20: claimed, so maybe called"


@pytest.mark.parametrize(("waited", "sent"), [(89, 1), (91, 0)])
def test_rule_18_a_call_is_made_only_under_a_valid_lease_which_then_starts_again(
    rig: Rig, waited: int, sent: int
) -> None:
    """Reading the catalogue or the messages may take long, so the lease starts again just before the call."""
    rig.add("1-A", state="SHIPPING", person=1)
    rig.mirakl["alpha"].post_message("1-A", "<p>Hello</p>")
    rig.poll()

    def slow(request: httpx.Request) -> None:
        rig.clock.advance(waited if "threads" in request.url.path else 0)

    rig.nets["alpha"].hook = slow
    assert rig.worker.turn()
    assert rig.oms.requests["order"] == sent
    command = rig.command()
    assert command.state == ("done" if sent else "open")
    assert command.attempts == sent


@pytest.mark.parametrize(
    ("kind", "operation"),
    [("accept_order", "OR21"), ("import_order", "order"), ("send_tracking", "OR23"), ("confirm_shipment", "OR24")],
)
def test_rule_18_no_call_is_made_under_a_lease_that_ran_out(rig: Rig, kind: str, operation: str) -> None:
    if kind in ("accept_order", "import_order"):
        rig.add("1-A", state="WAITING_ACCEPTANCE" if kind == "accept_order" else "SHIPPING")
        rig.poll()
    else:
        rig.imported()
        dispatched(rig, "T1" if kind == "send_tracking" else "")
    simulator = rig.oms if operation == "order" else rig.mirakl["alpha"]
    claim = rig.worker.claim()
    assert claim is not None
    assert claim.command.kind == kind
    rig.clock.advance(LEASE.total_seconds())
    with pytest.raises(LeaseLost):
        rig.worker.call(claim)
    assert simulator.requests[operation] == 0


# -- Import -------------------------------------------------------------------------------------------------------


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


# -- Tracking and shipment ----------------------------------------------------------------------------------------


def dispatched(rig: Rig, number: str, order_id: str = "1-A", **more: object) -> None:
    rig.oms.dispatch(order_id, tracking=number, carrier="DPD UK" if number else "", **more)  # type: ignore[arg-type]
    rig.consume()


def test_the_shop_s_name_of_a_carrier_reaches_mirakl(tmp_path: Path) -> None:
    rig = Rig(tmp_path, shop_table={"carriers": {"Deutscher Paketdienst": "DPD UK"}})
    rig.imported()
    rig.oms.dispatch("1-A", tracking="T1", carrier="deutscher paketdienst")
    rig.consume()
    rig.work()
    rig.poll()
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert rig.ours()[1].detail == {"tracking": "T1", "carrier": "DPDUK"}
    assert rig.attention() == []


@pytest.mark.parametrize("carrier", ["letter-post", "Brief"])
def test_a_carrier_without_a_number_is_sent_once_where_only_registered_carriers_are_allowed(
    tmp_path: Path, carrier: str
) -> None:
    """Mirakl shows the registered label and code, and not the name that the OMS or the shop's map has."""
    rig = Rig(tmp_path, shop_table={"carriers": {"Brief": "POST"}})
    mirakl = rig.mirakl["alpha"]
    mirakl.marketplace = replace(mirakl.marketplace, alternative_carriers=False)
    rig.imported()
    rig.oms.dispatch("1-A", carrier=carrier)
    rig.consume()
    rig.work()
    for _ in range(5):
        rig.clock.advance(300)
        rig.poll()
        rig.work()
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert rig.attention() == []


def shown(rig: Rig, order_id: str = "1-A") -> str | None:
    return rig.mirakl["alpha"].tracking(order_id)


def test_the_tracking_is_sent_before_the_shipment_is_confirmed(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1")
    assert rig.state() == "dispatched"
    assert rig.worker.turn()
    assert rig.effects() == ["imported", "tracking"]
    assert rig.worker.turn()
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert rig.ours()[1].detail == {"tracking": "T1", "carrier": "DPDUK"}
    assert rig.nets["alpha"].bodies[-1] == b"", "OR24 has no body"
    rig.poll()
    assert rig.state() == "shipped"
    assert rig.attention() == []
    assert rig.work() == 0


def test_rules_12_14_and_15_an_order_has_one_leased_command_and_each_tracking_has_a_row(rig: Rig) -> None:
    """T2 arrives during the call for T1, waits, and is sent afterwards. The late result of T1 does not end its row."""
    rig.imported()
    dispatched(rig, "T1")
    slow = rig.worker.claim()
    assert slow is not None
    rig.clock.advance(1)
    dispatched(rig, "T2", status=64)
    first, second = rig.commands()[-2:]
    assert first.state == "leased"
    assert first.unwanted
    assert second.state == "open"
    assert rig.worker.claim() is None, "docs/rules.md 12: the order is not free"

    rig.clock.advance(LEASE.total_seconds() + 1)  # the worker of T1 hangs
    quick = rig.worker.claim()
    assert quick is not None
    assert "T2" in quick.command.carries
    rig.worker.succeeded(slow, ())
    assert rig.command().lease_token == quick.token, "docs/rules.md 15: the token has changed"
    assert any("T1" in answer.carries for answer in rig.row().facts.answers), "the answer is a fact all the same"
    rig.worker.succeeded(quick, rig.worker.call(quick))
    assert [(c.carries.split(" | ")[1], c.state) for c in rig.commands()[1:3]] == [("T1", "obsolete"), ("T2", "done")]
    assert shown(rig) == "T2"


def test_rule_12_a_result_in_time_frees_the_order_for_the_next_tracking(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1")
    slow = rig.worker.claim()
    assert slow is not None
    rig.clients["alpha"].send_tracking("1-A", Tracking("DPD UK", "T1"), rig.clients["alpha"].catalog())
    rig.clock.advance(1)
    dispatched(rig, "T2", status=64)
    rig.worker.succeeded(slow, ())
    rig.work()
    assert [effect.detail.get("tracking") for effect in rig.ours()][1:] == ["T1", "T2", "T2"]
    assert shown(rig) == "T2"
    assert rig.effects()[-1] == "shipped"


def test_rule_24_an_older_tracking_of_ours_that_arrives_late_is_replaced_again(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1")
    rig.fail("OR23", "timeout_before")
    rig.work()
    rig.clock.advance(1)
    dispatched(rig, "T2", status=64)
    rig.work()
    assert shown(rig) == "T2"
    rig.clients["alpha"].send_tracking("1-A", Tracking("DPD UK", "T1"), rig.clients["alpha"].catalog())  # it arrives
    rig.poll(GRACE.total_seconds() + 1)
    rig.work()
    assert shown(rig) == "T2"
    assert rig.command().round == 1
    assert rig.effects().count("shipped") == 1


def test_rule_23_tracking_that_comes_after_the_shipment_is_still_sent(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "")
    rig.work()
    assert rig.effects() == ["imported", "shipped"]
    rig.poll()
    rig.clock.advance(1)
    dispatched(rig, "T1", status=516)
    rig.work()
    assert rig.effects() == ["imported", "shipped", "tracking"]
    assert shown(rig) == "T1"


def test_rule_22_where_tracking_is_mandatory_the_shipment_waits_for_it(rig: Rig) -> None:
    mandatory(rig, "alpha")
    rig.imported()
    dispatched(rig, "")
    rig.work()
    (rejection,) = rig.row().facts.rejections
    assert rejection.kind == "confirm_shipment"
    assert rejection.code == "TRACKING_MANDATORY"
    assert rig.mirakl["alpha"].requests["OR24"] == 0
    rig.poll()
    assert rig.attention() == ["shipment_rejected"]
    assert rig.work() == 0
    rig.clock.advance(1)
    dispatched(rig, "T1", status=516)
    rig.work()
    assert rig.effects() == ["imported", "tracking", "shipped"], "with another basis it is another round"


def test_rule_22_a_tracking_that_mirakl_rejects_does_not_stop_the_shipment(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1")
    rig.nets["alpha"].hook = lambda request: httpx.Response(400) if "/tracking" in request.url.path else None
    rig.work()
    assert rig.effects() == ["imported", "shipped"]
    assert rig.attention() == ["tracking_rejected"]


def test_rule_15_the_late_answer_to_an_import_is_a_fact_and_leaves_the_row_alone(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    slow = rig.worker.claim()
    assert slow is not None
    made = rig.worker.call(slow)
    rig.clock.advance(LEASE.total_seconds() + 1)
    quick = rig.worker.claim()
    assert quick is not None
    assert quick.command.id == slow.command.id
    assert quick.command.maybe_sent
    rig.worker.succeeded(slow, made)
    assert rig.row().facts.parts == tuple(one.part for one in made), "the ids of the OMS are known"
    assert rig.command().state == "leased"
    assert rig.command().lease_token == quick.token
    with pytest.raises(LeaseLost):  # the import is known by now, so it is not sent again
        rig.worker.call(quick)
    assert rig.state() == "imported"
    assert rig.effects() == ["imported"]


def test_rule_15_a_late_failure_does_not_requeue_the_row_of_the_next_holder(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    slow = rig.worker.claim()
    assert slow is not None
    rig.clock.advance(LEASE.total_seconds() + 1)
    quick = rig.worker.claim()
    assert quick is not None
    rig.worker.failed(slow, Retryable("OR21", "429"))
    assert rig.command().state == "leased"
    assert rig.command().lease_token == quick.token


# -- Accounts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_fault_of_an_account_pauses_that_account_only_and_ends_by_itself(two: Rig, status: int) -> None:
    two.add("1-A")
    two.add("2-A")
    two.add("3-A", state="SHIPPING")
    two.add("9-B", "beta", sku="TASSE-33CL")
    two.poll()
    refusing = two.nets["alpha"]
    refusing.hook = lambda request: httpx.Response(status) if request.method == "PUT" else None
    before = len(refusing.bodies)
    two.work()
    assert len(refusing.bodies) == before + 1, "one call met the fault, and no other was made"
    assert two.effects("9-B") == ["accepted"], "another shop and another remote go on"
    assert two.effects("3-A") == ["imported"], "another shop and another remote go on"
    assert two.results.count(("accept_order", "account_fault")) == 1
    assert {two.command(order).attempts for order in ("1-A", "2-A")} == {0}
    assert two.work(seconds=59) == 0
    refusing.hook = lambda _request: None
    two.work(seconds=2)
    assert two.effects("1-A") == ["accepted"]
    assert two.effects("2-A") == ["accepted"]
    assert {two.command(order).attempts for order in ("1-A", "2-A")} == {1}


def test_a_400_for_a_spent_budget_of_the_oms_pauses_the_account(two: Rig) -> None:
    for number in range(3):
        two.add(f"{number}-A", state="SHIPPING")
    two.add("8-A")
    two.add("9-B", "beta", sku="TASSE-33CL", state="SHIPPING")
    two.poll()
    two.oms_net.hook = lambda request: _spent() if b'"company_ref_id": 99001' in request.content else None
    before = len(two.oms_net.bodies)
    two.work()
    assert len(two.oms_net.bodies) == before + 2, "one call for each shop"
    assert two.state("9-B") == "imported"
    assert two.effects("8-A") == ["accepted"]
    assert two.results.count(("import_order", "account_fault")) == 1
    assert not any(two.command(f"{number}-A").maybe_sent for number in range(3))
    two.oms_net.hook = lambda _request: None
    two.work(seconds=61)
    assert [two.state(f"{number}-A") for number in range(3)] == ["imported"] * 3
    assert {two.command(f"{number}-A").attempts for number in range(3)} == {1}


def _spent() -> httpx.Response:
    return httpx.Response(400, json={"error": {"message": "Rate limit exceeded", "code": 990002}})


def test_an_empty_key_file_is_a_fault_of_the_account(two: Rig) -> None:
    two.add("1-A")
    two.add("9-B", "beta", sku="TASSE-33CL")
    two.poll()
    keys, two.keys = two.keys, Emptied()
    two.work()
    assert two.results.count(("accept_order", "account_fault")) == 1
    assert two.effects("9-B") == ["accepted"]
    assert two.command("1-A").state == "open"
    assert two.command("1-A").attempts == 0
    two.keys = keys
    two.work(seconds=61)
    assert two.effects("1-A") == ["accepted"]


class Emptied(dict[str, str]):
    """Keys of which that of alpha cannot be read."""

    def __missing__(self, shop: str) -> str:
        if shop == "alpha":
            raise ConfigError("shops.alpha.api_key_file: alpha.key is empty")
        return MARKETPLACES[shop].api_key


def failing_shop(rig: Rig, orders: int) -> None:
    for number in range(orders):
        rig.add(f"{number}-A")
    rig.poll()
    rig.fail("OR21", "503", 1000)


def test_the_circuit_opens_after_several_orders_failed_and_other_accounts_go_on(two: Rig) -> None:
    two.add("9-B", "beta", sku="TASSE-33CL")
    failing_shop(two, CIRCUIT_OPENS_AFTER + 3)
    account, requests = two.worker.accounts.by_key[ALPHA_MIRAKL], two.mirakl["alpha"].requests
    two.work()
    assert account.circuit_is_open()
    assert requests["OR21"] == CIRCUIT_OPENS_AFTER
    assert two.effects("9-B") == ["accepted"]
    assert two.work(seconds=CIRCUIT_PAUSE_SECONDS - 1) == 0
    two.clock.advance(1)
    probe = two.worker.claim()
    assert probe is not None
    assert probe.order.order_id == f"{CIRCUIT_OPENS_AFTER}-A", "not an order that failed before"
    assert two.worker.claim() is None, "one probe at a time"
    two.worker.failed(probe, Retryable("OR21", "5xx", status=503))
    assert two.work() == 0
    two.mirakl["alpha"].knobs.faults.clear()
    two.work(seconds=CIRCUIT_PAUSE_SECONDS + 1)
    assert not account.circuit_is_open()
    assert all(two.effects(f"{number}-A") == ["accepted"] for number in range(CIRCUIT_OPENS_AFTER + 3))


def test_one_order_that_fails_often_does_not_open_the_circuit_of_its_account(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "503", 1000)
    for _ in range(CIRCUIT_OPENS_AFTER + 2):
        assert rig.work(seconds=1000) == 1
    assert not rig.worker.accounts.by_key[ALPHA_MIRAKL].circuit_is_open()


def test_a_rejection_of_our_own_does_not_close_the_circuit(rig: Rig) -> None:
    """The probe is an order that cannot be imported, so the OMS is not called, and the circuit stays open."""
    for number in range(CIRCUIT_OPENS_AFTER):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.poll()
    rig.fail("order", "503", 1000)
    rig.work()
    rig.clock.advance(CIRCUIT_PAUSE_SECONDS)
    probe = rig.worker.claim()
    assert probe is not None
    rig.worker.failed(probe, Rejected("POST /order", "not_sent", code="INCOMPLETE"))
    assert rig.worker.accounts.by_key[ALPHA_OMS].circuit_is_open()
    assert rig.worker.claim() is None
    rig.clock.advance(CIRCUIT_PAUSE_SECONDS)
    probe = rig.worker.claim()
    assert probe is not None
    rig.worker.failed(probe, Rejected("POST /order", "400", status=400))
    assert not rig.worker.accounts.by_key[ALPHA_OMS].circuit_is_open(), "a rejection is an answer"


def test_a_command_is_given_up_at_its_deadline_and_needs_attention(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "503", 10_000)
    for _ in range(400):
        rig.work(seconds=901)
    assert rig.command().state == "gave_up"
    assert rig.attention() == ["gave_up"]
    assert rig.command().attempts > 200
    given_up = rig.journal()[-1]
    first_try = next(entry for entry in rig.journal() if entry.event.trigger == "call")
    assert timedelta(hours=71) < given_up.event.at - first_try.event.at <= timedelta(hours=72)


def test_the_wait_of_retry_after_is_kept(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "429", retry_after_seconds=300)
    rig.work()
    assert rig.command().next_at == rig.clock.now() + timedelta(seconds=300)
    assert rig.work(seconds=299) == 0
    assert rig.work(seconds=1) == 1


# -- Switches -----------------------------------------------------------------------------------------------------


def test_with_effects_off_commands_are_opened_and_no_call_is_made(two: Rig) -> None:
    two.switch(effects=False)
    two.add("1-A")
    two.add("2-A", state="SHIPPING")
    two.add("9-B", "beta", sku="TASSE-33CL")
    two.poll()
    assert two.work() == 1
    assert two.effects("1-A") == []
    assert two.effects("2-A") == []
    assert two.effects("9-B") == ["accepted"]
    assert [two.command(order).state for order in ("1-A", "2-A")] == ["open", "open"]
    two.switch(effects=True)
    two.work()
    assert two.effects("1-A") == ["accepted"]
    assert two.effects("2-A") == ["imported"]


def test_a_duplicate_after_a_retry_by_hand_is_an_import_of_an_earlier_round(rig: Rig) -> None:
    """The first try reached the OMS, its answer was lost, and the command was given up."""
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    claim = rig.worker.claim()
    assert claim is not None
    rig.worker.call(claim)  # it arrives, and the answer is lost
    rig.clock.advance(30 * 86_400)
    rig.worker.failed(claim, OutcomeUnknown("POST /order", "timeout"))
    assert rig.command().state == "gave_up"
    assert rig.attention() == ["gave_up"]
    sent = rig.command().payload
    rig.policies["alpha"] = Policy("all")
    act = orders.Act(DecisionKind.RETRY, "ana", "it works again", rig.clock.now())
    orders.decide(rig.store, rig.orders, rig.row(), act, shops=["alpha"])
    assert rig.command().round == 1
    assert rig.command().payload == sent
    assert rig.command().maybe_sent
    rig.work(seconds=60)
    assert rig.state() == "imported"
    assert rig.attention() == []
    assert rig.effects() == ["imported"]


def test_the_words_of_a_remote_reach_no_note_and_no_log(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    claim = rig.worker.claim()
    assert claim is not None
    words = "Ann Canary of 8 Canary Row"
    with capture_logs() as lines:
        rig.worker.failed(claim, Rejected("OR21", "400", status=400, words=words))
    assert "Canary" not in json.dumps([entry.event.note for entry in rig.journal()]) + json.dumps(lines, default=str)
    assert rig.row().facts.rejections[0].words == words, "kept with the order as the remote wrote it"


def test_a_command_that_waited_weeks_for_effects_is_not_given_up_at_its_first_failure(rig: Rig) -> None:
    rig.switch(effects=False)
    rig.add("1-A")
    rig.poll()
    rig.clock.advance(14 * 86_400)
    rig.switch(effects=True)
    rig.fail("OR21", "503")
    rig.work()
    assert rig.command().state in ("open", "done")
    rig.work(seconds=60)
    assert rig.effects() == ["accepted"]


def test_a_pause_of_one_group_of_effects_leaves_the_others_on(rig: Rig) -> None:
    rig.imported("1-A")
    dispatched(rig, "T1")
    rig.switch(paused=("ship",))
    rig.add("2-A")
    rig.add("3-A", state="SHIPPING")
    rig.poll()
    rig.work()
    assert rig.effects("1-A") == ["imported"]
    assert rig.effects("2-A") == ["accepted"]
    assert rig.effects("3-A") == ["imported"]
    rig.switch()
    rig.work()
    assert rig.effects("1-A") == ["imported", "tracking", "shipped"]


# -- Failures of our own ------------------------------------------------------------------------------------------


def test_a_result_that_could_not_be_stored_is_kept_and_stored_before_the_next_claim(tmp_path: Path) -> None:
    """docs/rules.md 15: the OMS names its ids only in the answer to the import."""
    rig = Rig(tmp_path, busy_seconds=0.05)
    rig.add("1-A", state="SHIPPING")
    rig.add("2-A", state="SHIPPING")
    rig.poll()
    other = sqlite3.connect(rig.path, isolation_level=None, check_same_thread=False)

    def take_the_store(_request: httpx.Request) -> None:
        other.execute("BEGIN IMMEDIATE")

    rig.oms_net.hook = take_the_store
    for _ in range(2):  # while the store is unavailable nothing else is begun
        with pytest.raises(Exception, match="OperationalError"):
            rig.worker.turn()
    rig.oms_net.hook = lambda _request: None
    other.execute("ROLLBACK")
    other.close()
    assert rig.state("1-A") == "shipping"
    assert rig.oms.requests["order"] == 1
    rig.work()
    assert rig.oms.requests["order"] == 2, "one call for each order, and none repeated"
    assert len(rig.row("1-A").facts.parts) == 1
    assert [result for _, result in rig.results] == ["done", "done"]


def test_an_order_for_which_our_code_raises_is_tried_again_later_and_the_others_go_on(
    rig: Rig, lines: list[dict[str, object]]
) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.add("2-A", state="SHIPPING")
    rig.poll()

    def break_(request: httpx.Request) -> None:
        if b'"1-A"' in request.content:
            raise ZeroDivisionError("Canary")

    rig.oms_net.hook = break_
    rig.work()
    assert rig.command("1-A").last_outcome == "unknown"
    assert rig.command("1-A").maybe_sent
    assert rig.state("2-A") == "imported"
    assert [line["error"] for line in lines if line["event"] == "call_raised"] == ["ZeroDivisionError"]
    rig.oms_net.hook = lambda _request: None
    rig.work(seconds=5)
    assert rig.state("1-A") == "imported"


def test_a_log_line_names_order_and_outcome_and_quotes_no_words_of_a_remote(
    rig: Rig, lines: list[dict[str, object]]
) -> None:
    rig.add("1-A")
    rig.poll()
    words = {"message": "Order of Nora-Canary is not in the expected state", "status": 400}
    rig.nets["alpha"].hook = lambda request: httpx.Response(400, json=words) if request.method == "PUT" else None
    rig.work()
    (line,) = [line for line in lines if line["event"] == "command_failed"]
    assert line["shop"] == "alpha"
    assert line["order_id"] == "1-A"
    assert line["result"] == "rejected"
    assert line["outcome"] == "400"
    assert rig.row().facts.rejections[0].words == words["message"], "kept for the person who has to look"
    assert "Canary" not in str(Duplicate("POST /order", "400", words="Canary"))
