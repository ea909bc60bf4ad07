"""`orderflow orders`: looking orders up, and deciding about them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.errors import Rejected
from adapters.store import orders as order_rows
from adapters.store.orders import OrderChange
from consumer.applying.apply import OrderWriter
from consumer.cli.output import BAD_ANSWER
from consumer.operations import verify
from statemachine.commands import CommandKind
from statemachine.events import Event, Trigger
from statemachine.facts import Cancellation, DecisionKind, Facts, Part
from statemachine.states import State
from tests.consumer.cli.runner import (
    error_of,
    json_of,
    output_of,
    run,
)
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import answered, event, parcel, read, sent, snapshot_event

RECEIVED = b'{"order_id": "O-1", "customer": "Erika \xc3\x9cber", "price": 1.10}'


@pytest.mark.parametrize(
    "command",
    [
        ("orders", "show", "O-9"),
        ("orders", "explain", "O-9"),
        ("orders", "verify", "O-9"),
        ("orders", "hold", "O-9", "--reason", "x", "--yes"),
    ],
    ids=" ".join,
)
def test_an_unknown_order_is_a_bad_answer(desk: Desk, command: tuple[str, ...]) -> None:
    assert error_of(*command, code=BAD_ANSWER) == (
        "orderflow: there is no order O-9; `orderflow orders list --text O-9` looks for it in longer ids and "
        "in references\n"
    )
    assert "O-9 of shop beta" in error_of(*command, "--shop", "beta", code=BAD_ANSWER)
    unknown = error_of(*command, "--shop", "btea", code=BAD_ANSWER)
    assert unknown == "orderflow: there is no shop btea; these are: alpha, beta\n"


@pytest.mark.parametrize("command", ["show", "explain", "verify"])
def test_an_order_id_that_two_shops_have_needs_a_shop(desk: Desk, command: str) -> None:
    desk.shows("SHIPPED")
    OrderWriter(desk.store, {}, desk.clock).apply([_of_beta()])
    assert error_of("orders", command, "O-1") == "orderflow: O-1 is an order of alpha and beta: say --shop\n"
    assert output_of("orders", command, "O-1", "--shop", "beta")


def _of_beta() -> Event:
    return replace(snapshot_event(read("SHIPPED")), shop="beta", event_id="of beta")


def test_an_unknown_state_names_the_known_ones(desk: Desk) -> None:
    error = " ".join(error_of("orders", "list", "--state", "lost").split())
    assert "lost is no state" in error
    assert "waiting_acceptance" in error


def test_a_decision_that_is_not_possible_is_a_bad_answer(desk: Desk) -> None:
    desk.shows("CANCELED")
    error = error_of("orders", "hold", "O-1", "--reason", "x", "--yes", code=BAD_ANSWER)
    assert error == "orderflow: alpha O-1 is canceled, which is final\n"


def test_a_decision_that_is_not_confirmed_changes_nothing(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    result = run("orders", "accept", "O-1", "--reason", "x", answers="n\n")
    assert result.exit_code == BAD_ANSWER
    assert result.stdout.strip() == "n", "only the answer, as a terminal shows it"
    question = "accept alpha O-1, which is waiting_acceptance: OR21 accepts every line; this ends needs_decision?"
    assert question in result.stderr
    assert run("orders", "accept", "O-1", "--reason", "x").exit_code == BAD_ANSWER, "nobody is there to ask"
    assert desk.row.version == 1


def test_orders_are_listed_for_people_and_scripts(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    assert json_of("orders", "list") == [
        {
            "shop": "alpha",
            "order_id": "O-1",
            "state": "waiting_acceptance",
            "attention": ["needs_decision"],
            "do": "deadline",
            "since": "2026-03-01T12:00:00+00:00",
            "deadline": "2026-03-03T00:00:00+00:00",
            "entered_at": "2026-03-01T12:00:00+00:00",
            "updated_at": "2026-03-01T12:00:00+00:00",
        }
    ]
    assert [line.split() for line in output_of("orders", "list").splitlines()] == [
        ["shop", "order_id", "state", "updated", "deadline", "since", "attention"],
        ["alpha", "O-1", "waiting_acceptance", "0", "min", "in", "36", "h", "0", "min", "needs_decision"],
    ]


def test_orders_are_listed_by_shop_state_and_attention(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    OrderWriter(desk.store, {}, desk.clock).apply([_of_beta()])

    def listed(*filters: str) -> list[str]:
        return [row["shop"] for row in json_of("orders", "list", *filters)]

    assert listed() == ["beta", "alpha"]  # of the same instant: the one stored last comes first
    assert listed("--shop", "beta") == ["beta"]
    assert listed("--state", "shipped", "--state", "waiting_acceptance") == ["beta", "alpha"]
    assert listed("--state", "canceled") == []
    assert listed("--attention") == ["alpha"]


def test_a_list_that_reaches_its_limit_says_so(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    OrderWriter(desk.store, {}, desk.clock).apply([_of_beta()])
    result = run("orders", "list", "--limit", "1", "--json")
    assert len(json.loads(result.stdout)) == 1
    place = "2026-03-01T12:00:00.000000/2"
    assert result.stderr == f"orderflow: there are more than 1; --after {place} shows the next\n"


def _refused(desk: Desk) -> None:
    """An order whose acceptance Mirakl refused, with a text that names its customer."""
    snapshot = read("WAITING_ACCEPTANCE")
    desk.apply(replace(snapshot_event(snapshot), raw=RECEIVED, digest=snapshot.digest))
    output_of("orders", "accept", "O-1", "--reason", "fine", "--yes")
    desk.work(Rejected("OR21", "400", status=400, code="BAD", words="Erika is unknown"))


def test_an_order_is_shown_without_personal_data(desk: Desk) -> None:
    _refused(desk)
    for text in (output_of("orders", "show", "O-1"), json.dumps(json_of("orders", "show", "O-1"))):
        assert "accept_order" in text
        assert "BAD" in text
        assert "ops: accept (fine)" in text
        assert "Erika" not in text


def test_the_table_of_attention_reasons_fits_a_terminal(desk: Desk) -> None:
    desk.shows("SHIPPING")
    output_of("orders", "hold", "O-1", "--reason", "fine", "--yes")
    shown = output_of("orders", "show", "O-1")
    assert "\nAttention\n" in shown
    assert "told_at" not in shown  # what an occurrence came after is in --json alone
    assert "after" in json_of("orders", "show", "O-1")["attention"][0]


def test_an_order_is_shown_with_the_words_of_explain_for_its_times(desk: Desk) -> None:
    desk.shows("SHIPPED")
    shown = output_of("orders", "show", "O-1").splitlines()
    first = {name: value for name, _, value in (line.partition("  ") for line in shown if "  " in line)}
    assert first["in this state since"].strip() == "2026-03-01 12:00:00 UTC"
    assert first["deadline"].strip() == "none"
    assert "needs you since" not in first, "nobody is needed"
    assert "updated_at" in json_of("orders", "show", "O-1")  # programs keep the names


def test_the_table_of_attention_reasons_says_what_each_rests_on(desk: Desk) -> None:
    """The detail of a canceled part is for programs; a person reads its cause, as in `explain` (OM 25)."""
    desk.shows("SHIPPING")
    desk.apply(event(Trigger.OMS_EVENT, "canceled", Facts(cancellations=(Cancellation(1, (("L1", 1),)),))))
    detail = json_of("orders", "show", "O-1")["attention"][0]["detail"]
    shown = output_of("orders", "show", "O-1")
    assert "*1" in detail
    assert detail not in shown
    assert "1 of L1 (MUG)" in " ".join(shown.split())


def test_an_order_is_shown_as_received_when_asked_for(desk: Desk) -> None:
    _refused(desk)
    result = run("orders", "show", "O-1", "--received")
    assert RECEIVED in result.stdout_bytes
    assert "Erika is unknown" in result.stdout
    found = json_of("orders", "show", "O-1", "--received")
    assert found["received"] == RECEIVED.decode()
    words = {"command": "accept_order", "carries": "accept", "round": 0, "words": "Erika is unknown"}
    assert found["words"] == [words]


def test_the_json_of_an_order_holds_all_that_is_known(desk: Desk) -> None:
    _refused(desk)
    found = json_of("orders", "show", "O-1")
    assert found["facts"]["snapshot"]["state"] == "WAITING_ACCEPTANCE"
    (command,) = found["commands"]
    assert command["kind"] == "accept_order"
    assert command["state"] == "rejected"
    assert found["attention"] == [], "Mirakl's next read decides whether a person is asked"
    assert "concerns" not in found
    assert [row["kind"] for row in found["timeline"]] == ["snapshot", "act", "call"]
    assert "received" not in found


def test_an_order_is_explained(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    text = output_of("orders", "explain", "O-1")
    assert "why here" in text
    assert "a person: accept or refuse it" in text
    assert "`orderflow orders accept O-1 --shop alpha --reason WHY`" in text
    assert 'the shop has acceptance = "hold"' in text
    found = json_of("orders", "explain", "O-1")
    assert found["state"] == "waiting_acceptance"
    assert found["attention"][0]["reason"] == "needs_decision"


def test_a_cure_names_the_configuration_if_it_is_not_in_its_usual_place(desk: Desk, tmp_path: Path) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    file = (tmp_path / "orderflow.toml").rename(tmp_path / "other.toml")
    text = output_of("orders", "explain", "O-1", "--config", str(file))
    assert f"`orderflow orders accept O-1 --shop alpha --config {file} --reason WHY`" in text


def test_the_cure_in_a_refusal_names_the_configuration(desk: Desk, tmp_path: Path) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    file = Path("orderflow.toml").rename(tmp_path / "other.toml")
    text = error_of("orders", "settle", "O-1", "--reason", "seen", "--config", str(file), code=BAD_ANSWER)
    assert f"`orderflow orders accept O-1 --shop alpha --config {file} --reason WHY`" in text


def test_the_command_that_looks_for_an_unknown_order_names_the_configuration(desk: Desk, tmp_path: Path) -> None:
    file = (tmp_path / "orderflow.toml").rename(tmp_path / "other.toml")
    text = error_of("orders", "explain", "O-9", "--config", str(file), code=BAD_ANSWER)
    assert f"`orderflow orders list --text O-9 --config {file}` looks for it" in text


def test_explain_says_what_to_do_and_by_when(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    pairs = dict(line.split("  ", 1) for line in output_of("orders", "explain", "O-1").splitlines())
    found = {name.strip(): value.strip() for name, value in pairs.items()}
    listed = json_of("orders", "list", "--attention")[0]
    assert found["do"] == listed["do"] == "deadline"
    assert found["deadline"] == f"{listed['deadline'][:19].replace('T', ' ')} UTC (your answer)"
    assert found["needs you since"] == f"{listed['since'][:19].replace('T', ' ')} UTC"
    assert found["in this state since"].endswith(" UTC")


def test_explain_says_that_no_deadline_runs_and_that_nobody_is_needed(desk: Desk) -> None:
    desk.shows("SHIPPED")
    text = output_of("orders", "explain", "O-1")
    assert "deadline             none" in text
    assert "needs you since" not in text
    assert "\ndo " not in text


def test_show_says_whose_tracking_it_is(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT), parcel("L1", 2), parcel("L2", 2))
    assert "\ntracking (OMS) " in output_of("orders", "show", "O-1")


def test_verify_finds_no_difference_in_a_healthy_store(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    assert output_of("orders", "verify", "--all", "--redecide") == "1 verified, 0 differ\n"
    assert json_of("orders", "verify", "O-1") == [{"shop": "alpha", "order_id": "O-1", "ok": True, "differences": []}]


def test_verify_finds_an_order_that_differs_from_its_journal(desk: Desk) -> None:
    row = desk.shows("WAITING_ACCEPTANCE")
    with desk.store.transaction() as tx:
        order_rows.save(tx, [OrderChange(replace(row, state=State.SHIPPED), row.version)])
    result = run("orders", "verify", "--all")
    assert result.exit_code == BAD_ANSWER
    assert "alpha O-1: state: stored shipped, the journal's last is waiting_acceptance" in result.stdout
    assert json.loads(run("orders", "verify", "O-1", "--json").stdout)[0]["ok"] is False


def test_verify_looks_only_at_orders_that_changed_since(desk: Desk) -> None:
    desk.clock.advance(-2 * 3600)
    desk.shows("WAITING_ACCEPTANCE")
    desk.clock.advance(2 * 3600)
    desk.apply(replace(snapshot_event(read("WAITING_ACCEPTANCE")), event_id="2", order_id="O-2"))
    assert output_of("orders", "verify", "--all", "--since", "1h") == "1 verified, 0 differ\n"
    assert output_of("orders", "verify", "--all", "--since", "3h") == "2 verified, 0 differ\n"
    assert "--all" in run("orders", "verify", "O-1", "--since", "1h").stderr


def test_verify_prints_the_orders_of_all_pages_as_one_list(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "PAGE", 2)
    assert output_of("orders", "verify", "--all", "--json") == "[]\n"
    read_once = snapshot_event(read("WAITING_ACCEPTANCE"))
    desk.apply(*(replace(read_once, event_id=f"{number}", order_id=f"O-{number}") for number in (1, 2, 3)))
    wanted = [{"shop": "alpha", "order_id": f"O-{n}", "ok": True, "differences": []} for n in (1, 2, 3)]
    assert output_of("orders", "verify", "--all", "--json") == json.dumps(wanted, indent=2) + "\n"
    assert json_of("orders", "verify", "--all", "--shop", "beta") == []


def test_a_decision_is_stored_with_who_and_why(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    explanation = output_of("orders", "accept", "O-1", "--reason", "customer called", answers="y\n")
    assert "a worker: accept_order is due" in explanation
    (decision,) = desk.row.facts.decisions
    assert decision.kind == DecisionKind.ACCEPT
    assert decision.who == "ops"
    assert decision.why == "customer called"


def test_who_decides_can_be_named(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    output_of("orders", "refuse", "O-1", "--reason", "sold out", "--yes", "--who", "ana")
    assert desk.row.facts.decisions[0].who == "ana as ops"


def test_an_order_is_held_released_and_retried(desk: Desk) -> None:
    desk.shows("SHIPPING")
    assert "a person holds this order" in output_of("orders", "hold", "O-1", "--reason", "x", "--yes")
    assert "import_order is due" in output_of("orders", "release", "O-1", "--reason", "x", "--yes")
    desk.work()  # the import is refused: the bytes of the order are not in the store
    assert "import_order is due" in output_of("orders", "retry", "O-1", "--reason", "x", "--yes")


def test_the_question_of_a_settle_says_what_ends_and_what_becomes_due(desk: Desk) -> None:
    desk.shows("SHIPPING")
    facts = Facts(parts=(Part(1),), cancellations=(Cancellation(1),))
    desk.apply(sent(), event(Trigger.OMS_EVENT, "canceled", facts))
    result = run("orders", "settle", "O-1", "--only", "oms_canceled", "--reason", "made again", answers="n\n")
    assert result.exit_code == BAD_ANSWER
    assert "OR23 gives Mirakl the tracking DPD T1; then OR24 tells Mirakl that the order is shipped" in result.stderr
    assert "this ends oms_canceled?" in result.stderr
    text = output_of("orders", "settle", "O-1", "--only", "oms_canceled", "--reason", "made again", answers="y\n")
    assert "send_tracking is due" in text


def test_a_person_vouches_that_the_goods_left(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    text = output_of("orders", "sent", "O-1", "--reason", "the parcel left", "--yes")
    assert "confirm_shipment is due" in text
    assert desk.row.state is State.DISPATCHED


def test_the_question_of_a_hold_says_that_the_oms_goes_on(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    result = run("orders", "hold", "O-1", "--reason", "x", answers="n\n")
    assert "no call of the order is made until `orders release`; the OMS has the order and goes on" in result.stderr


def test_the_word_of_a_cure_is_no_reason(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    error = error_of("orders", "accept", "O-1", "--reason", "WHY", code=BAD_ANSWER)  # before anything is asked
    assert error == "orderflow: --reason WHY: put your own reason for the word WHY\n"
    assert desk.row.version == 1


def test_a_call_that_a_person_did_says_who_and_when(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.work(Rejected("POST /order", "400", status=400))
    output_of("orders", "handled", "O-1", "--yes", "--who", "ana", "--reason", "keyed in")
    (call,) = json_of("orders", "show", "O-1")["commands"]
    assert call["last_outcome"] == "done by hand (ana as ops, 2026-03-01 12:00:00)"
