"""The worker against the simulators: acceptances, leases, switches, failures of our own. Rule N is docs/rules.md N."""

import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from adapters.errors import Duplicate, OutcomeUnknown, Rejected
from adapters.store.commands import LEASE
from consumer.calling.last_looks import LeaseLost
from consumer.operations import orders
from statemachine.commands import Policy
from statemachine.facts import Attempt, DecisionKind
from tests.consumer.calling.test_worker_shipments import dispatched
from tests.consumer.rig import GRACE, Rig

pytestmark = pytest.mark.usefixtures("lines")


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
